//! A weight file in memory without reading it: pages come from the disk as they are used, and are shared by all
//! processes that use the file.
//!
//! `unsafe` is needed because the operating system cannot promise that a mapped file stays as it is.
#![allow(unsafe_code)]

use super::atomic::{file_error, open_regular};
use super::{File as Gguf, FileError, GgufError};
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::path::Path;

/// A file mapped into memory, read-only.
///
/// While it is mapped, the file must not be truncated or written in place: a truncated file ends the process with
/// SIGBUS when a missing page is used, and a changed one no longer is what was checked. [`super::write_atomic`]
/// replaces a file without touching the mapped one.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// Names the path, if it cannot be opened or mapped, or is not a regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        Self::of(&open_regular(path)?, path)
    }

    /// Maps an open file, which may be closed then, and need no longer have a name. `path` is for errors.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of(file: &File, path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let metadata = file.metadata().map_err(file_error("open", path))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(file_error("open", path)(source));
        }
        // SAFETY: the map is read-only and only this value hands it out. That nobody truncates or rewrites the file
        // while it is mapped cannot be enforced here; it is the documented duty of the user, as with every mapped
        // format.
        let map = unsafe { Mmap::map(file) }.map_err(file_error("map", path))?;
        Ok(Self { map })
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The file, checked. Tensors that are copied to where they are used do not stay in this process's memory
    /// ([`Gguf::release`]).
    ///
    /// # Errors
    /// Those of [`Gguf::new_checked`].
    pub fn file(&self) -> Result<Gguf<'_>, GgufError> {
        let mut file = Gguf::new_checked(self.bytes())?;
        file.map = Some(self);
        Ok(file)
    }

    /// Takes the pages of `part`, and a few around it, out of this process's memory; where they are used again, they
    /// come back. What is no part of the file is left alone.
    pub fn release(&self, part: &[u8]) {
        let Some(start) = part.as_ptr().addr().checked_sub(self.map.as_ptr().addr()) else { return };
        let end = start.saturating_add(part.len());
        if end > self.map.len() {
            return;
        }
        // Whoever uses a page is given its neighbours, too: those that were released a moment ago among them.
        const AROUND: usize = 1 << 20;
        let start = start / AROUND * AROUND;
        let len = end.next_multiple_of(AROUND).min(self.map.len()) - start;
        // SAFETY: read-only pages of a file: what is there afterwards is what was there before. That the system does
        // not want to is no error: then they stay.
        #[cfg(unix)]
        let _ = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
        #[cfg(not(unix))]
        let _ = (start, len);
    }
}
