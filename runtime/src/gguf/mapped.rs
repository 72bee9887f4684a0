//! A weight file in memory without reading it: pages come from the disk as they are used, and are shared by all processes
//! that use the file.
//!
//! `unsafe` is needed because the operating system cannot promise that a mapped file stays as it is.
#![allow(unsafe_code)]

use super::FileError;
use super::atomic::file_error;
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::path::Path;

/// A file mapped into memory, read-only.
///
/// While it is mapped, the file must not be truncated or written in place: a truncated file ends the process with SIGBUS
/// when a missing page is used, and a changed one no longer is what was checked. [`super::write_atomic`] replaces a file
/// without touching the mapped one.
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
        // SAFETY: the map is read-only and private to this value. That nobody truncates or rewrites the file meanwhile is
        // the documented duty of the user, as with every memory-mapped format; the reader holds no assumption on the
        // data of tensors, and `&[u8]` has no invalid values.
        let map = unsafe { Mmap::map(&file) }.map_err(file_error("map", path))?;
        Ok(Self { map })
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}
