//! What can go wrong, by whose fault it is.

use crate::print::tell;
use nijimi_runtime::gpu::GpuError;
use std::process::ExitCode;

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

impl Fault {
    /// Writes the message to stderr.
    pub fn report(&self) -> ExitCode {
        let (Self::Usage(message) | Self::Input(message) | Self::Device(message) | Self::Internal(message)) = self;
        let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        tell(&[format!("nijimi: {line}")]);
        match self {
            Self::Internal(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Input(_) => ExitCode::from(3),
            Self::Device(_) => ExitCode::from(4),
        }
    }
}

impl From<GpuError> for Fault {
    fn from(e: GpuError) -> Self {
        Self::Device(e.to_string().replace("draw on the CPU", "draw on the CPU (--backend cpu)"))
    }
}
