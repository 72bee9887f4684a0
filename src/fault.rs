//! What can go wrong, by whose fault it is.

use nijimi_cli::print::{Unprinted, tell};
use nijimi_cli::target::Refused;
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
    /// Writes the message to standard error; the exit code by whose fault it is.
    pub fn report(&self) -> ExitCode {
        let (code, message) = match self {
            Self::Internal(message) => (1, message),
            Self::Usage(message) => (2, message),
            Self::Input(message) => (3, message),
            Self::Device(message) => (4, message),
        };
        tell(&[format!("nijimi: {}", message.split_whitespace().collect::<Vec<_>>().join(" "))]);
        ExitCode::from(code)
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Usage(message) => Self::Usage(message),
            Refused::Place(message) => Self::Input(message),
        }
    }
}

impl From<Unprinted> for Fault {
    fn from(e: Unprinted) -> Self {
        Self::Internal(e.to_string())
    }
}

impl From<GpuError> for Fault {
    fn from(e: GpuError) -> Self {
        Self::Device(e.to_string().replace("draw on the CPU", "draw on the CPU (--backend cpu)"))
    }
}
