//! Number formats of stored weights: f32, f16, bf16 and ggml's blocks, of 32 values (q8_0, q4_0) and of 256 (q4_K, q5_K,
//! q6_K), bit for bit as ggml's reference quantizers define them.
//!
//! A format cuts a row into blocks of [`DType::block_len`] values; each block is [`DType::block_bytes`] bytes, all
//! numbers little-endian. Every file of this room is one format.

use alloc::vec::Vec;
use core::fmt;

mod bfloat16;
mod float16;
mod float32;
pub mod q4_0;
pub mod q4_k;
pub mod q5_k;
pub mod q6_k;
pub mod q8_0;
mod search;
pub(crate) mod super_block;

#[cfg(test)]
mod tests;

/// Value of the metadata key `general.quantization_version`: the revision of ggml's block formats written here.
pub const QUANTIZATION_VERSION: u32 = 2;

/// How the numbers of a tensor are stored; the discriminants are ggml's type ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum DType {
    /// IEEE 754 binary32.
    F32 = 0,
    /// IEEE 754 binary16.
    F16 = 1,
    /// Blocks of 32: an f16 scale and 32 nibbles, 4.5 bits a weight.
    Q4_0 = 2,
    /// Blocks of 32: an f16 scale and 32 signed bytes, 8.5 bits a weight.
    Q8_0 = 8,
    /// Blocks of 256: eight parts of 32 nibbles, each with a scale and a minimum of 6 bits, 4.5 bits a weight.
    Q4K = 12,
    /// As [`Self::Q4K`], with codes of 5 bits, 5.5 bits a weight.
    Q5K = 13,
    /// Blocks of 256: sixteen parts of 16 codes of 6 bits, each with a scale of 8, 6.56 bits a weight.
    Q6K = 14,
    /// The upper half of a binary32.
    BF16 = 30,
}

impl DType {
    /// Every supported format, by id.
    pub const ALL: [Self; 8] =
        [Self::F32, Self::F16, Self::Q4_0, Self::Q8_0, Self::Q4K, Self::Q5K, Self::Q6K, Self::BF16];

    /// Values in a block: 1, 32 or 256.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => super_block::LEN,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => q4_0::BLOCK_BYTES,
            Self::Q8_0 => q8_0::BLOCK_BYTES,
            Self::Q4K => q4_k::BLOCK_BYTES,
            Self::Q5K => q5_k::BLOCK_BYTES,
            Self::Q6K => q6_k::BLOCK_BYTES,
        }
    }

    /// ggml's type id, as a GGUF file stores it.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// The format with this ggml type id; `None` for ids that are unknown or not supported.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.id() == id)
    }

    /// Whether values are codes with scales.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// What rows of `n` values are stored as where this is asked for: as this where they are whole blocks; else q8_0 in
    /// place of blocks of 256, and f16 where q8_0 does not fit either.
    pub const fn of_rows(self, n: usize) -> Self {
        if n.is_multiple_of(self.block_len()) {
            self
        } else if self.block_len() == super_block::LEN && n.is_multiple_of(q8_0::BLOCK_LEN) {
            Self::Q8_0
        } else {
            Self::F16
        }
    }

    /// ggml's name: `f32`, `f16`, `bf16`, `q8_0`, `q6_K`, `q5_K`, `q4_K` or `q4_0`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q4_0 => "q4_0",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_K",
            Self::Q5K => "q5_K",
            Self::Q6K => "q6_K",
            Self::BF16 => "bf16",
        }
    }

    /// The inverse of [`DType::name`], in upper or lower case: both `q4_K` and `q4_k` are common.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name().eq_ignore_ascii_case(name))
    }

    /// Value of the metadata key `general.file_type` for a file whose matrices are mostly of this format.
    pub fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            // ggml's small mixtures, which are all of one type but for what does not fit it.
            Self::Q4K => 14,
            Self::Q5K => 16,
            Self::Q6K => 18,
            Self::BF16 => 32,
        }
    }

    /// Bytes of `n` consecutive values; `None` if `n` is not a multiple of [`DType::block_len`] or the product
    /// overflows.
    pub fn row_bytes(self, n: usize) -> Option<usize> {
        if n.is_multiple_of(self.block_len()) { (n / self.block_len()).checked_mul(self.block_bytes()) } else { None }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why numbers could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// The number of values is not a whole number of blocks.
    #[error("{len} values are not whole blocks of {} in {dtype}: pad the row or use f16 or f32", dtype.block_len())]
    PartialBlock {
        /// The format asked for.
        dtype: DType,
        /// How many values were given.
        len: usize,
    },
    /// NaN or infinity in the input.
    #[error("value {index} is {value}: only finite numbers can be stored as {dtype}")]
    NonFinite {
        /// The format asked for.
        dtype: DType,
        /// Position of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A finite value whose own encoding, or its block's scale, would be infinite.
    #[error("value {index} is {value}, beyond the range of {dtype}: store this tensor as f32")]
    Overflow {
        /// The format asked for.
        dtype: DType,
        /// Position of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The bytes are not the encoding of as many values as the output holds.
    #[error("{bytes} bytes are not {len} values of {dtype}")]
    LengthMismatch {
        /// The format of the bytes.
        dtype: DType,
        /// How many bytes were given.
        bytes: usize,
        /// How many values the output holds.
        len: usize,
    },
}

/// Appends the encoding of `x` to `out`; the blocks lie along `x`.
///
/// # Errors
/// A partial block, a value that is not finite, or one beyond the format's range; `out` is then as it was.
pub fn encode(dtype: DType, x: &[f32], out: &mut Vec<u8>) -> Result<(), QuantError> {
    append(dtype, x, out, |x, out| match dtype {
        DType::F32 => float32::encode(x, out),
        DType::F16 => float16::encode(x, out),
        DType::BF16 => bfloat16::encode(x, out),
        DType::Q8_0 => q8_0::encode(x, out),
        DType::Q4_0 => q4_0::encode(x, out),
        DType::Q4K => super_block::encode(x, out, q4_k::encode_block),
        DType::Q5K => super_block::encode(x, out, q5_k::encode_block),
        DType::Q6K => super_block::encode(x, out, q6_k::encode_block),
    })
}

/// [`encode`] in `dtype` if that is f32 or bf16, else in f16; says which. Apart from it, so that the searches for codes are
/// not built into a program that only loads.
pub(crate) fn encode_float(dtype: DType, x: &[f32], out: &mut Vec<u8>) -> Result<DType, QuantError> {
    match dtype {
        DType::F32 => append(dtype, x, out, float32::encode)?,
        DType::BF16 => append(dtype, x, out, bfloat16::encode)?,
        _ => {
            append(DType::F16, x, out, float16::encode)?;
            return Ok(DType::F16);
        }
    }
    Ok(dtype)
}

/// Appends what `encoder` makes of finite values of whole blocks.
fn append(
    dtype: DType,
    x: &[f32],
    out: &mut Vec<u8>,
    encoder: impl FnOnce(&[f32], &mut Vec<u8>) -> Result<(), Overflow>,
) -> Result<(), QuantError> {
    let bytes = dtype.row_bytes(x.len()).ok_or(QuantError::PartialBlock { dtype, len: x.len() })?;
    if let Some(index) = x.iter().position(|v| !v.is_finite()) {
        return Err(QuantError::NonFinite { dtype, index, value: x[index] });
    }
    let start = out.len();
    out.reserve(bytes);
    encoder(x, out).map_err(|Overflow { index }| {
        out.truncate(start);
        QuantError::Overflow { dtype, index, value: x[index] }
    })
}

/// Decodes `bytes` into `out`. What is stored is what comes out, NaN and infinity included.
///
/// # Errors
/// If `bytes` is not exactly the encoding of `out.len()` values; `out` is then untouched.
pub fn decode(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    if dtype.row_bytes(out.len()) != Some(bytes.len()) {
        return Err(QuantError::LengthMismatch { dtype, bytes: bytes.len(), len: out.len() });
    }
    decode_blocks(dtype, bytes, out);
    Ok(())
}

/// [`decode`] for lengths that are known to match: surplus on either side is left alone.
pub(crate) fn decode_blocks(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        DType::F32 => float32::decode(bytes, out),
        DType::F16 => float16::decode(bytes, out),
        DType::BF16 => bfloat16::decode(bytes, out),
        DType::Q8_0 => q8_0::decode(bytes, out),
        DType::Q4_0 => q4_0::decode(bytes, out),
        DType::Q4K => super_block::decode(bytes, out, q4_k::decode_block),
        DType::Q5K => super_block::decode(bytes, out, q5_k::decode_block),
        DType::Q6K => super_block::decode(bytes, out, q6_k::decode_block),
    }
}

/// A format's own encoder met a finite value it cannot hold, at `index`.
#[derive(Debug)]
struct Overflow {
    index: usize,
}

/// Position of the value of largest magnitude, the first of equals, as ggml takes it.
fn index_of_largest(x: &[f32]) -> usize {
    let (mut at, mut amax) = (0, 0.0);
    for (i, v) in x.iter().enumerate() {
        if v.abs() > amax {
            (at, amax) = (i, v.abs());
        }
    }
    at
}

/// ggml's `1 / d`: zero for a zero scale, and for one so small that its inverse overflows, where ggml's is undefined.
/// Such a scale is zero as an f16, so the block decodes to zeros whatever its numbers are.
fn inverse(d: f32) -> f32 {
    let id = 1.0 / d;
    if id.is_finite() { id } else { 0.0 }
}
