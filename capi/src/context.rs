//! A context: where a program asks what went wrong, and which devices there are.
#![allow(unsafe_code)] // the functions' names, which are the header's, and nothing else: a test looks

use crate::border::{Out, Place, Text, put, required, structs};
use crate::fault::{Fault, LastError, OK, Status, guard};
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};

/// A program's `nijimi_context`. Models and runs that it made may live longer.
#[derive(Default)]
pub struct Context {
    pub(crate) errors: Arc<LastError>,
    /// As they were listed last.
    devices: Mutex<Vec<Device>>,
}

/// A GPU, in words that last as long as the list.
struct Device {
    name: CString,
    kind: CString,
    api: CString,
    driver: CString,
    software: bool,
}

structs! {
    /// A GPU.
    DeviceInfo as "nijimi_device_info" {
        name: Text,
        kind: Text,
        api: Text,
        driver: Text,
        software: u64,
    }
}

/// A text for C: a zero within would end it.
pub fn text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

impl Context {
    /// Does `work` for a function of the header.
    pub fn guard(this: Option<&Self>, work: impl FnOnce(&Self) -> Result<Status, Fault>) -> Status {
        guard(this.map(|context| &*context.errors), || work(required(this, "context")?))
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no zero within"),
    };
    VERSION.as_ptr()
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_context_new(context: Place<'_, Context>) -> Status {
    guard(None, || put(context, || Ok(Context::default())).map(|()| OK))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_context_free(context: Option<Box<Context>>) {
    guard(None, || {
        drop(context);
        Ok(OK)
    });
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_last_error(context: Option<&Context>) -> *const c_char {
    context.map_or(c"context is null".as_ptr(), |context| context.errors.see(|text| text.as_ptr()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_device_count(
    context: Option<&Context>,
    count: Option<&mut MaybeUninit<usize>>,
) -> Status {
    Context::guard(context, |context| {
        let count = count.ok_or_else(|| Fault::usage("count is null"))?;
        let mut devices = context.devices.lock().unwrap_or_else(PoisonError::into_inner);
        *devices = found();
        count.write(devices.len());
        Ok(OK)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_device(context: Option<&Context>, index: usize, mut info: Out<DeviceInfo>) -> Status {
    Context::guard(context, |context| {
        let devices = context.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let none = || Fault::usage(format!("no device {index}: nijimi_device_count found {}", devices.len()));
        let Device { name, kind, api, driver, software } = devices.get(index).ok_or_else(none)?;
        info.fill(&DeviceInfo {
            size: 0,
            name: Text::of(name),
            kind: Text::of(kind),
            api: Text::of(api),
            driver: Text::of(driver),
            software: u64::from(*software),
        })?;
        Ok(OK)
    })
}

#[cfg(feature = "gpu")]
fn found() -> Vec<Device> {
    let words = |adapter: nijimi_runtime::gpu::Adapter| Device {
        name: text(&adapter.name),
        kind: text(adapter.kind),
        api: text(&adapter.api),
        driver: text(&adapter.driver),
        software: adapter.software,
    };
    nijimi_runtime::gpu::adapters().into_iter().map(words).collect()
}

#[cfg(not(feature = "gpu"))]
fn found() -> Vec<Device> {
    Vec::new()
}
