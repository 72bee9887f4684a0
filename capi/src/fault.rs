//! What can go wrong, by whose fault it is, and that no panic crosses the border.

use nijimi_import::ImportError;
use nijimi_runtime::{Error, error};
use std::ffi::{CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// What a function returns.
pub type Status = c_int;

/// It did what it was asked.
pub const OK: Status = 0;
/// All steps are made.
pub const DONE: Status = -1;

/// Whose fault it is; the numbers are the program's exit codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Fail {
    /// Of this library.
    Internal = 1,
    /// Of what was asked for.
    Usage = 2,
    /// Of a file, its weights, or a word of the prompt.
    File = 3,
    /// Of a device.
    Device = 4,
}

/// A message, and its kind.
#[derive(Clone, PartialEq, Debug)]
pub struct Fault {
    kind: Fail,
    text: String,
}

impl Fault {
    /// With this message.
    pub fn new(kind: Fail, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// Of what was asked for.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Fail::Usage, text)
    }

    fn of(fault: error::Fault, text: String) -> Self {
        let kind = match fault {
            error::Fault::Request => Fail::Usage,
            error::Fault::Input => Fail::File,
            error::Fault::Device => Fail::Device,
            error::Fault::Internal => Fail::Internal,
        };
        Self::new(kind, text)
    }

    /// With the file that it is of before its message, if it is of one.
    pub fn about_file(self, path: &str) -> Self {
        match self.kind {
            Fail::File if !self.text.starts_with(path) => Self { text: format!("{path}: {}", self.text), ..self },
            _ => self,
        }
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Self::of(e.fault(), e.to_string())
    }
}

impl From<ImportError> for Fault {
    fn from(e: ImportError) -> Self {
        Self::of(e.fault(), e.to_string())
    }
}

/// The last error of a context.
#[derive(Default)]
pub struct LastError(Mutex<CString>);

impl LastError {
    /// Keeps the message, and returns its number.
    fn set(&self, Fault { kind, text }: Fault) -> Status {
        // A zero would end it.
        let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
        kind as Status
    }

    /// Calls `look` with the message: of the last call that failed, or empty.
    pub fn see<T>(&self, look: impl FnOnce(&CString) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Does `work`, whatever happens in it: a panic becomes an internal error. What went wrong is kept in `errors`, if they are known.
pub fn guard(errors: Option<&LastError>, work: impl FnOnce() -> Result<Status, Fault>) -> Status {
    let fault = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(status)) => return status,
        Ok(Err(fault)) => fault,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Fault::new(Fail::Internal, format!("{said}: this is an error of the library, please report it"))
        }
    };
    match errors {
        Some(errors) => errors.set(fault),
        None => fault.kind as Status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with the panic not caught.
    #[test]
    fn a_panic_is_an_internal_error() {
        let errors = LastError::default();
        let status = guard(Some(&errors), || panic!("number {}", 7));
        assert_eq!(status, Fail::Internal as Status);
        errors.see(|text| assert!(text.to_string_lossy().starts_with("number 7: this is an error of the library")));
        assert_eq!(guard(None, || Err(Fault::usage("x"))), 2);
        assert_eq!(guard(None, || Ok(OK)), 0);
    }
}
