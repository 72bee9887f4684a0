//! What ggml's k-quants have in common: blocks of 256 values in eight parts of 32, whose own small scales are multiplied by
//! the block's.

use super::{DType, Overflow, index_of_largest, q4_k, q5_k, q6_k};
use alloc::vec::Vec;
use half::f16;

/// Values in a block.
pub const LEN: usize = 256;
/// Values in a part.
pub(crate) const PART: usize = 32;
/// Parts of a block.
pub(crate) const PARTS: usize = LEN / PART;

/// 32 neighbouring values of a block, unpacked.
pub(crate) struct Part {
    /// Unsigned; those of q6_K exceed what they stand for by 32.
    pub codes: [u8; PART],
    /// Of q4_K and q5_K the scale and the minimum; of q6_K the scales of either half, signed.
    pub scales: [u8; 2],
}

/// What all parts' scales and minima are multiplied by; q6_K has no minima.
pub(crate) fn factors(dtype: DType, block: &[u8]) -> [f16; 2] {
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]);
    if dtype == DType::Q6K { [half(q6_k::FACTOR), f16::ZERO] } else { [half(0), half(2)] }
}

/// Part `i` of a block of q4_K, q5_K or q6_K.
pub(crate) fn part(dtype: DType, block: &[u8], i: usize) -> Part {
    match dtype {
        DType::Q6K => q6_k::part(block, i),
        DType::Q5K => q5_k::part(block, i),
        _ => q4_k::part(block, i),
    }
}

/// Decodes a block of q4_K or q5_K: `(d * scale) * code - dmin * min`.
pub(super) fn decode_with_minima(dtype: DType, block: &[u8], out: &mut [f32; LEN]) {
    let [d, dmin] = factors(dtype, block).map(f16::to_f32);
    for (i, out) in out.as_chunks_mut::<PART>().0.iter_mut().enumerate() {
        let part = part(dtype, block, i);
        let (scale, min) = (d * f32::from(part.scales[0]), dmin * f32::from(part.scales[1]));
        out.iter_mut().zip(part.codes).for_each(|(v, code)| *v = scale * f32::from(code) - min);
    }
}

/// Appends blocks, each made by `block`, which gives none where its scale is beyond f16.
pub(super) fn encode<const BYTES: usize>(
    x: &[f32],
    out: &mut Vec<u8>,
    block: impl Fn(&[f32; LEN]) -> Option<[u8; BYTES]>,
) -> Result<(), Overflow> {
    for (i, x) in x.as_chunks().0.iter().enumerate() {
        out.extend_from_slice(&block(x).ok_or_else(|| Overflow { index: i * LEN + index_of_largest(x) })?);
    }
    Ok(())
}

/// Decodes blocks, each by `block`.
pub(super) fn decode<const BYTES: usize>(bytes: &[u8], out: &mut [f32], block: impl Fn(&[u8; BYTES], &mut [f32; LEN])) {
    out.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, bytes)| block(bytes, out));
}
