//! A weight file in memory without reading it: pages come from the disk as they are used, and are shared by all
//! processes that use the file.
//!
//! `unsafe` is needed because the operating system cannot promise that a mapped file stays as it is.
#![allow(unsafe_code)]

use super::FileError;
use super::atomic::file_error;
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use std::fs::File;
use std::io;
use std::path::Path;

/// A multiple of the pages of every system (16 KiB on Apple's, 64 KiB on some of ARM's).
#[cfg(unix)]
const PAGE: usize = 1 << 16;

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
        let file = File::open(path).map_err(file_error("open", path))?;
        let metadata = file.metadata().map_err(file_error("open", path))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(file_error("open", path)(source));
        }
        // SAFETY: the map is read-only and only this value hands it out. That nobody truncates or rewrites the file
        // while it is mapped cannot be enforced here; it is the documented duty of the user, as with every mapped
        // format.
        let map = unsafe { Mmap::map(&file) }.map_err(file_error("map", path))?;
        Ok(Self { map })
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Gives the pages of `part` back, of those that lie wholly in it; they come from the disk again when they are used.
    /// What is not of this file, and where the system has no such call, nothing happens.
    pub fn release(&self, part: &[u8]) {
        let (whole, part) = (self.map.as_ptr_range(), part.as_ptr_range());
        if part.start < whole.start || part.end > whole.end {
            return;
        }
        #[cfg(unix)]
        {
            let from = (part.start as usize - whole.start as usize).next_multiple_of(PAGE);
            let to = (part.end as usize - whole.start as usize) / PAGE * PAGE;
            if from < to {
                // SAFETY: the pages of a read-only map of a file hold what the file holds, before and after: no reference
                // sees other bytes (of a private map that was written to, the changes would be lost).
                // A system that does not do it has lost nothing.
                let _ = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, from, to - from) };
            }
        }
    }
}
