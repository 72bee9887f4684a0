//! Bytes of a weight file that a model can go back to, to load one part after the other.

use alloc::vec::Vec;

/// A weight file that stays at hand: in memory, part of the program, or mapped.
pub trait Stored: Send + Sync {
    /// The whole file.
    fn bytes(&self) -> &[u8];

    /// Says that `part`, of [`Self::bytes`], was read and is not needed for now. A mapped file gives its pages back; what
    /// is read again comes from the disk again.
    fn release(&self, part: &[u8]) {
        let _ = part;
    }
}

impl Stored for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Stored for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

#[cfg(feature = "std")]
impl Stored for crate::gguf::MappedFile {
    fn bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn release(&self, part: &[u8]) {
        self.release(part);
    }
}
