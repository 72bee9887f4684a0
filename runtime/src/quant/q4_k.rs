//! ggml's q4_K: blocks of 256 values as two f16, `d` and `dmin`, eight scales and eight minima of 6 bits in 12 bytes, and
//! 256 nibbles; a value of part `i` of 32 is decoded as `(d * scale[i]) * q - dmin * min[i]`.
//!
//! Of each 32 bytes of nibbles, the low ones are one part and the high ones the next. Scales and minima are searched
//! (`quant/search.rs`) for the least error, where larger values weigh more.

use super::DType;
use super::search::{Minima, with_minima};
use super::super_block::{self, LEN, PART, Part};

/// Values in a block.
pub const BLOCK_LEN: usize = LEN;
/// Bytes of a block: two factors, scales and minima, codes.
pub const BLOCK_BYTES: usize = 4 + SCALES + LEN / 2;
/// Bytes of the scales and minima.
pub(super) const SCALES: usize = 12;

/// Encodes one block of finite values; `None` if a scale is beyond f16.
pub fn encode_block(x: &[f32; BLOCK_LEN]) -> Option<[u8; BLOCK_BYTES]> {
    let Minima { header, codes } = with_minima(x, 15, -1.0, 20)?;
    let mut block = [0; BLOCK_BYTES];
    block[..4 + SCALES].copy_from_slice(&header);
    nibbles(&codes, &mut block[4 + SCALES..]);
    Some(block)
}

/// Decodes one block.
pub fn decode_block(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    super_block::decode_with_minima(DType::Q4K, block, out);
}

/// The lower halves of codes: in each 32 bytes two parts.
pub(super) fn nibbles(codes: &[u8; LEN], out: &mut [u8]) {
    for (codes, out) in codes.chunks_exact(2 * PART).zip(out.chunks_exact_mut(PART)) {
        let (low, high) = codes.split_at(PART);
        out.iter_mut().zip(low.iter().zip(high)).for_each(|(out, (l, h))| *out = l & 15 | h << 4);
    }
}

/// The nibbles of part `i`, as [`nibbles`] lays them.
pub(super) fn part_of_nibbles(bytes: &[u8], i: usize) -> [u8; PART] {
    let bytes = &bytes[i / 2 * PART..][..PART];
    core::array::from_fn(|k| bytes[k] >> (i % 2 * 4) & 15)
}

/// The scale and the minimum of part `i`, of 6 bits each: four of either whole, then nibbles, whose upper bits are those
/// that the first eight leave.
pub(super) fn scale_and_min(b: &[u8], i: usize) -> [u8; 2] {
    match i {
        0..4 => [b[i] & 63, b[i + 4] & 63],
        _ => [b[i + 4] & 15 | b[i - 4] >> 6 << 4, b[i + 4] >> 4 | b[i] >> 6 << 4],
    }
}

pub(super) fn part(block: &[u8], i: usize) -> Part {
    let (header, codes) = block.split_at(4 + SCALES);
    Part { codes: part_of_nibbles(codes, i), scales: scale_and_min(&header[4..], i) }
}
