//! A weight file that a model can go back to, to load one part after the other.

use crate::cpu::Lend;
use crate::gguf::{File, GgufError};
use crate::sync::Arc;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// A weight file that stays at hand: in memory, part of the program, or mapped.
///
/// ```no_run
/// use nijimi_runtime::{Error, gguf::MappedFile, model::{OpenOptions, Stored, TextToImage}};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Error> {
/// let file: Arc<dyn Stored> = Arc::new(MappedFile::open("weights/emoji-q8_0.gguf")?);
/// let model = TextToImage::open(file, OpenOptions::default())?; // nothing is loaded yet
/// # Ok(())
/// # }
/// ```
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

    /// Says that some of the bytes are not used for now.
    fn release(&self, bytes: &[u8]) {
        let _ = bytes;
    }
}

/// A file whose matrices are read each time that they are used.
pub(super) struct Streaming(Arc<dyn Stored>);

impl Streaming {
    pub fn of(stored: &Arc<dyn Stored>) -> Arc<dyn Lend> {
        // By way of a box, which casts where the pointer is portable-atomic-util's.
        Arc::from(Box::new(Self(stored.clone())) as Box<dyn Lend>)
    }
}

impl Lend for Streaming {
    fn lend(&self, range: Range<usize>, to: &mut dyn FnMut(&[u8])) {
        let bytes = &self.0.bytes()[range];
        to(bytes);
        self.0.release(bytes);
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

    fn release(&self, bytes: &[u8]) {
        self.release(bytes);
    }
}
