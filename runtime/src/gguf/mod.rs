//! Weight files: GGUF version 3, little-endian, read without copying and written deterministically.
//!
//! [`File::new_checked`] examines the whole header of untrusted bytes once; after it, no accessor can fail on what the
//! file contains, only on what it does not (a missing key, a value of another type). A file is refused rather than
//! guessed at; each refusal is its own [`GgufError`]. `docs/format.md` describes the format and the keys of this
//! project.
//!
//! ```
//! use nijimi_runtime::{gguf::{File, Writer}, quant::DType};
//!
//! let mut writer = Writer::new();
//! writer.meta("general.architecture", "nijimi")?;
//! writer.tensor("out.weight", &[2, 3], DType::F32, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! let bytes = writer.finish();
//!
//! let file = File::new_checked(&bytes)?;
//! assert_eq!(file.str("general.architecture")?, "nijimi");
//! assert_eq!(file.tensor("out.weight")?.shape(), [2, 3]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod cursor;
mod error;
mod file;
mod tensor;
mod value;
mod writer;

#[cfg(feature = "std")]
mod atomic;
#[cfg(feature = "std")]
mod mapped;
#[cfg(feature = "std")]
mod signals;
#[cfg(feature = "std")]
mod unnamed;

#[cfg(test)]
mod refusals;

pub use error::GgufError;
pub use file::File;
pub use tensor::{ElementType, Tensor};
pub use value::{Array, Value, ValueType};
pub use writer::{MetaValue, WriteError, Writer};

#[cfg(feature = "std")]
pub use atomic::{AtomicFile, FileError, open_regular, write_atomic};
#[cfg(feature = "std")]
pub use mapped::MappedFile;
#[cfg(feature = "std")]
pub use signals::faults_of_files_are_errors;

/// First four bytes of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// The one version read and written. Version 2 has the same layout but predates the endianness rule; 1 has 32-bit
/// counts.
pub const VERSION: u32 = 3;
/// Alignment of the data section and of each tensor in it, unless the file says otherwise.
pub const DEFAULT_ALIGNMENT: u32 = 32;
/// The key by which a file may say otherwise: a power of two from 8 to [`MAX_ALIGNMENT`].
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// Largest alignment read; a larger one would only pad.
pub const MAX_ALIGNMENT: u32 = 65536;
/// Most metadata entries read or written.
pub const MAX_METADATA: usize = 65536;
/// Most tensors read or written; Stable Diffusion XL has some 2,600.
pub const MAX_TENSORS: usize = 65536;
/// Longest tensor name written, in bytes: stable-diffusion.cpp builds ggml with 128 for a name and its NUL, as diffusers'
/// names take up to 79. ggml as it is built elsewhere takes 63.
pub const MAX_TENSOR_NAME: usize = 127;
/// Most dimensions of a tensor.
pub const MAX_DIMS: usize = 4;

/// `n` rounded up to a multiple of `alignment`, a power of two. Positions in a slice and alignments are far below 2^63.
const fn align_up(n: u64, alignment: u32) -> u64 {
    let mask = alignment as u64 - 1;
    (n + mask) & !mask
}
