//! ggml's q6_K: blocks of 256 values as codes of 6 bits, sixteen signed bytes and an f16 `d`; a value of part `i` of 16 is
//! decoded as `(d * scale[i]) * (q - 32)`.
//!
//! Either half of a block has 64 bytes for the lower four bits, of the values 0 to 63 in the low nibbles and of 64 to 127
//! in the high ones, and 32 for the upper two: of value `32 k + l` in bits `2 k` of byte `l`.

use super::search::symmetric;
use super::super_block::{LEN, PART, Part};
use half::f16;

/// Values in a block.
pub const BLOCK_LEN: usize = LEN;
/// Bytes of a block: lower bits, upper bits, scales, and what these are multiplied by.
pub const BLOCK_BYTES: usize = FACTOR + 2;
const UPPER: usize = LEN / 2;
const SCALES: usize = UPPER + LEN / 4;
/// Where `d` is.
pub(super) const FACTOR: usize = SCALES + LEN / 16;

/// Encodes one block of finite values; `None` if the scale is beyond f16.
pub fn encode_block(x: &[f32; BLOCK_LEN]) -> Option<[u8; BLOCK_BYTES]> {
    let (d, scales, codes) = symmetric(x)?;
    let mut block = [0; BLOCK_BYTES];
    for (i, codes) in codes.chunks_exact(PART).enumerate() {
        let (half, quarter) = (i / 4, i % 4);
        let (low, upper) = (half * 64 + quarter % 2 * PART, UPPER + half * PART);
        for (l, code) in codes.iter().enumerate() {
            block[low + l] |= (code & 15) << (quarter / 2 * 4);
            block[upper + l] |= code >> 4 << (2 * quarter);
        }
    }
    block[SCALES..FACTOR].iter_mut().zip(scales).for_each(|(b, scale)| *b = scale.cast_unsigned());
    block[FACTOR..].copy_from_slice(&d.to_le_bytes());
    Some(block)
}

/// Decodes one block.
pub fn decode_block(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::from_le_bytes([block[FACTOR], block[FACTOR + 1]]).to_f32();
    for (i, out) in out.as_chunks_mut::<PART>().0.iter_mut().enumerate() {
        let Part { codes, scales } = part(block, i);
        let scales = scales.map(|scale| d * f32::from(scale.cast_signed()));
        for (k, (v, code)) in out.iter_mut().zip(codes).enumerate() {
            *v = scales[k / 16] * f32::from(code.cast_signed() - 32);
        }
    }
}

pub(super) fn part(block: &[u8], i: usize) -> Part {
    let (half, quarter) = (i / 4, i % 4);
    let low = &block[half * 64 + quarter % 2 * PART..][..PART];
    let upper = &block[UPPER + half * PART..][..PART];
    let code = |l: usize| low[l] >> (quarter / 2 * 4) & 15 | (upper[l] >> (2 * quarter) & 3) << 4;
    Part { codes: core::array::from_fn(code), scales: [block[SCALES + 2 * i], block[SCALES + 2 * i + 1]] }
}
