//! A weight file that a model can go back to, to load one part after the other.

use crate::gguf::{File, GgufError};
use alloc::vec::Vec;

/// A weight file that stays at hand: in memory, part of the program, or mapped.
pub trait Stored: Send + Sync {
    /// The whole file.
    fn bytes(&self) -> &[u8];

    /// The file, checked.
    ///
    /// # Errors
    /// Those of [`File::new_checked`].
    fn file(&self) -> Result<File<'_>, GgufError> {
        File::new_checked(self.bytes())
    }
}

impl Stored for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// These may stay where they are: [`File::new_static`].
impl Stored for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn file(&self) -> Result<File<'_>, GgufError> {
        File::new_static(self)
    }
}

/// What was copied to where it is used leaves this process's memory.
#[cfg(feature = "std")]
impl Stored for crate::gguf::MappedFile {
    fn bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn file(&self) -> Result<File<'_>, GgufError> {
        self.file()
    }
}
