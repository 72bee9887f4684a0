//! What can go wrong with a device.

use super::first_line;
use alloc::string::{String, ToString};

/// Why a device cannot be had, or did not do what it was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// There is no adapter of the kind asked for.
    #[error("no {wanted}: {found}; install a Vulkan driver, or draw on the CPU")]
    NoAdapter {
        /// What was looked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// There is no adapter of that index.
    #[error("no adapter {index}: {found}; take one of these, as nijimi devices lists them")]
    NoIndex {
        /// What was asked for.
        index: usize,
        /// What there is.
        found: String,
    },
    /// An adapter refuses to be opened.
    #[error("{adapter} cannot be opened: {reason}; choose another adapter, or draw on the CPU")]
    Open {
        /// The adapter's name.
        adapter: String,
        /// What it said.
        reason: String,
    },
    /// A device lacks what every kernel needs.
    #[error("{adapter} lacks {what}: choose another adapter, or draw on the CPU")]
    Lacks {
        /// The adapter's name.
        adapter: String,
        /// What is missing.
        what: String,
    },
    /// The device is gone: unplugged, reset, or destroyed by its owner.
    #[error("the device was lost: {reason}; open it again, make a new session, and draw again")]
    Lost {
        /// What the driver says.
        reason: String,
    },
    /// The device's memory does not suffice.
    #[error(
        "the device has no memory for {what} ({bytes} bytes): close other programs, or use a smaller batch or picture"
    )]
    OutOfMemory {
        /// What was to be stored.
        what: String,
        /// How much it takes.
        bytes: u64,
    },
    /// More than the adapter can bind or allocate at once.
    #[error("{what} takes {needed} bytes, but the device allows {allowed} ({limit}): use another device, or the CPU")]
    TooLarge {
        /// What does not fit.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        allowed: u64,
        /// The name of the limit.
        limit: &'static str,
    },
    /// The device refused an operation: a fault of this library or of the driver.
    #[error("{what}: the device refused: {message}; please report it, with the output of nijimi self-test")]
    Refused {
        /// The operation.
        what: String,
        /// The message.
        message: String,
    },
    /// Objects of one device, used with another.
    #[error("the weights lie on another device than the session: load the model on the device that runs it")]
    OtherDevice,
    /// A form that waits, in a browser.
    #[error("nothing may wait for a device in a browser: await the form whose name ends in _async")]
    MayNotWait,
    /// A cache file cannot be written.
    #[error("{path}: {reason}; choose another folder for the cache, or none")]
    Cache {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl GpuError {
    /// What a device says of an operation.
    pub(super) fn said(what: &str, bytes: u64, error: &wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory { what: what.into(), bytes },
            // wgpu reports the use of a lost device as a validation error.
            e if e.to_string().contains("is lost") => Self::Lost { reason: first_line(&e.to_string()) },
            e => Self::Refused { what: what.into(), message: first_line(&e.to_string()) },
        }
    }
}
