//! What the program says. Results go to standard output, where every write is checked: who pipes them into a file on a full disk is
//! told so. A pipe that is closed is no error, and nothing that could not be said ends a training.
use crate::error::{Error, Result};
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;

/// The first write that failed.
static FAULT: Mutex<Option<io::Error>> = Mutex::new(None);

/// Keeps what went wrong, for [`done`].
fn checked(result: io::Result<()>) {
    if let Err(e) = result
        && e.kind() != ErrorKind::BrokenPipe
        && let Ok(mut fault) = FAULT.lock()
    {
        fault.get_or_insert(e);
    }
}

/// Writes to standard output.
pub fn out(text: Arguments<'_>) {
    checked(io::stdout().write_fmt(text));
}

/// Writes to standard error, if there is anyone to tell.
pub fn err(text: Arguments<'_>) {
    _ = io::stderr().write_fmt(text);
}

/// Whether all that was said has been written.
///
/// # Errors
/// The first write that failed.
pub fn done() -> Result<()> {
    checked(io::stdout().flush());
    let fault = FAULT.lock().ok().and_then(|mut fault| fault.take());
    fault.map_or(Ok(()), |e| Err(Error::io("standard output")(e)))
}

/// A line on standard output, checked.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::out(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use say;

/// A line on standard error.
macro_rules! tell {
    ($($text:tt)*) => { $crate::say::err(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use tell;
