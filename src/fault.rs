//! What can go wrong, by whose fault it is.

use std::io::{Write, stderr};
use std::process::ExitCode;

/// A message for the user, one line with the remedy, and its kind. Exit code 4 is reserved for devices.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// The command line is wrong.
    Usage(String),
    /// A file, a folder, or a word of the prompt is not what it must be.
    Input(String),
    /// None of the user's doing.
    Internal(String),
}

impl Fault {
    /// Writes the message to stderr.
    pub fn report(&self) -> ExitCode {
        let (Self::Usage(message) | Self::Input(message) | Self::Internal(message)) = self;
        let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        // Nobody to tell if stderr is closed.
        let _ = writeln!(stderr(), "nijimi: {line}");
        match self {
            Self::Internal(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Input(_) => ExitCode::from(3),
        }
    }
}
