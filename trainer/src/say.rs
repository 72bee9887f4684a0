//! What the program says. Results go to standard output, where every write is checked: who pipes them into a file on a full disk is
//! told so. A pipe that is closed is no error, and nothing that could not be said ends a training.
use crate::error::Result;
use nijimi_cli::print::{self, Unprinted};
use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::Mutex;

/// The first write that failed, for [`done`].
static FAULT: Mutex<Option<Unprinted>> = Mutex::new(None);

/// Writes to standard output.
pub fn out(text: Arguments<'_>) {
    if let Err(e) = print::print(&text.to_string())
        && let Ok(mut fault) = FAULT.lock()
    {
        fault.get_or_insert(e);
    }
}

/// Writes to standard error as it is, if there is anyone to tell: a line that is written over.
pub fn err(text: Arguments<'_>) {
    _ = io::stderr().write_fmt(text);
}

/// Whether all that was said has been written.
///
/// # Errors
/// The first write that failed.
pub fn done() -> Result<()> {
    let fault = FAULT.lock().ok().and_then(|mut fault| fault.take());
    fault.map_or(Ok(()), |e| Err(e.into()))
}

/// A line on standard output, checked.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::out(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use say;

/// A line on standard error.
macro_rules! tell {
    ($($text:tt)*) => { nijimi_cli::print::tell(&[format!($($text)*)]) };
}
pub(crate) use tell;
