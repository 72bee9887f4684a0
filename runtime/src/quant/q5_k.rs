//! ggml's q5_K: as [`super::q4_k`], with a fifth bit of each code: bit `i` of byte `k` is that of value `k` of part `i`.

use super::DType;
use super::q4_k::{SCALES, nibbles, part_of_nibbles, scale_and_min};
use super::search::{Minima, with_minima};
use super::super_block::{self, LEN, PART, Part};

/// Values in a block.
pub const BLOCK_LEN: usize = LEN;
/// Bytes of a block: two factors, scales and minima, fifth bits, the lower four.
pub const BLOCK_BYTES: usize = CODES + LEN / 2;
/// Where the fifth bits are, and the lower four.
const FIFTH: usize = 4 + SCALES;
const CODES: usize = FIFTH + PART;

/// Encodes one block of finite values; `None` if a scale is beyond f16.
pub fn encode_block(x: &[f32; BLOCK_LEN]) -> Option<[u8; BLOCK_BYTES]> {
    let Minima { header, codes } = with_minima(x, 31, -0.5, 15)?;
    let mut block = [0; BLOCK_BYTES];
    block[..FIFTH].copy_from_slice(&header);
    for (i, part) in codes.chunks_exact(PART).enumerate() {
        block[FIFTH..CODES].iter_mut().zip(part).for_each(|(b, code)| *b |= code >> 4 << i);
    }
    nibbles(&codes, &mut block[CODES..]);
    Some(block)
}

/// Decodes one block.
pub fn decode_block(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    super_block::decode_with_minima(DType::Q5K, block, out);
}

pub(super) fn part(block: &[u8], i: usize) -> Part {
    let mut codes = part_of_nibbles(&block[CODES..], i);
    codes.iter_mut().zip(&block[FIFTH..CODES]).for_each(|(code, b)| *code |= (b >> i & 1) << 4);
    Part { codes, scales: scale_and_min(&block[4..FIFTH], i) }
}
