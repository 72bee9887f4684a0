//! What a session is for, and checks of what is asked of it.

use super::RequestError;
use alloc::format;
use alloc::string::{String, ToString};

/// The largest batch of a session.
pub(super) const MAX_BATCH: usize = 65536;

/// What a session is for.
///
/// ```no_run
/// use nijimi_runtime::model::SessionOptions;
///
/// let options = SessionOptions { threads: 4, memory_limit: Some(512 << 20), ..SessionOptions::default() };
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionOptions {
    /// The most pictures of one run, at least 1.
    pub batch: usize,
    /// Whether runs may use classifier-free guidance, which evaluates the network for twice as many pictures.
    pub guidance: bool,
    /// Threads; 0 for as many as the machine has cores.
    pub threads: usize,
    /// The most bytes of memory that the session may take, weights not counted.
    pub memory_limit: Option<u64>,
    /// How a device is used, if the model was loaded on one; the default suits it.
    #[cfg(feature = "gpu")]
    pub device: crate::gpu::ExecOptions,
}

impl Default for SessionOptions {
    /// One picture, guidance possible, all cores, any memory.
    fn default() -> Self {
        Self {
            batch: 1,
            guidance: true,
            threads: 0,
            memory_limit: None,
            #[cfg(feature = "gpu")]
            device: Default::default(),
        }
    }
}

pub(super) fn check(
    ok: bool,
    what: &'static str,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<(), RequestError> {
    if ok { Ok(()) } else { Err(RequestError::Range { what, found: found.to_string(), expected: expected.into() }) }
}

pub(super) fn in_range(what: &'static str, found: usize, min: usize, max: usize) -> Result<(), RequestError> {
    // Not through `check`, whose texts would be allocated for every request.
    if (min..=max).contains(&found) {
        return Ok(());
    }
    check(false, what, found, format!("{min} to {max}"))
}
