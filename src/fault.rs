//! What can go wrong, by whose fault it is.

use nijimi_runtime::gpu::GpuError;

/// A message for the user, one line with the remedy, and its kind.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// The command line is wrong.
    Usage(String),
    /// A file, a folder, or a word of the prompt is invalid.
    Input(String),
    /// No GPU was found, or it failed.
    Device(String),
    /// Not the user's fault.
    Internal(String),
}

impl From<GpuError> for Fault {
    fn from(e: GpuError) -> Self {
        Self::Device(e.to_string().replace("draw on the CPU", "draw on the CPU (--backend cpu)"))
    }
}
