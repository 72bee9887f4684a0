//! ggml's q4_0: blocks of 32 values as an f16 scale `d = m / -8`, where `m` is the value of largest magnitude with its
//! sign, and 32 nibbles `q = min(15, trunc(x / d + 8.5))`; decoded as `(q - 8) * d`.
//!
//! Byte `i` of a block holds value `i` in its low nibble and value `i + 16` in its high one. The value `m` is exact up
//! to the rounding of the scale; a value of the opposite sign may be clipped to `7 d`, so the error is at most one
//! scale there and half a scale elsewhere.

use super::{Overflow, index_of_largest, inverse};
use alloc::vec::Vec;
use half::f16;

/// Values in a block.
pub const BLOCK_LEN: usize = 32;
/// Bytes of a block: the scale, then one byte for two values.
pub const BLOCK_BYTES: usize = 2 + BLOCK_LEN / 2;

/// Encodes one block of finite values; `None` if the scale is beyond f16.
pub fn encode_block(x: &[f32; BLOCK_LEN]) -> Option<[u8; BLOCK_BYTES]> {
    // ggml's search for the largest starts at +0, so a block of zeros has the scale -0 whatever their signs.
    let d = (x[index_of_largest(x)] + 0.0) / -8.0;
    let id = inverse(d);
    let stored = f16::from_f32(d);
    if !stored.is_finite() {
        return None;
    }
    // The cast truncates; x / d is at least -8, so the sum is positive.
    let nibble = |v: f32| ((v * id + 8.5) as u8).min(15);
    let mut block = [0; BLOCK_BYTES];
    block[..2].copy_from_slice(&stored.to_le_bytes());
    let (low, high) = x.split_at(BLOCK_LEN / 2);
    for (b, (&l, &h)) in block[2..].iter_mut().zip(low.iter().zip(high)) {
        *b = nibble(l) | nibble(h) << 4;
    }
    Some(block)
}

/// Decodes one block.
pub fn decode_block(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let value = |q: u8| f32::from(q.cast_signed() - 8) * d;
    let (low, high) = out.split_at_mut(BLOCK_LEN / 2);
    for (&b, (l, h)) in block[2..].iter().zip(low.iter_mut().zip(high)) {
        *l = value(b & 0x0f);
        *h = value(b >> 4);
    }
}

pub(super) fn encode(x: &[f32], out: &mut Vec<u8>) -> Result<(), Overflow> {
    for (i, block) in x.as_chunks().0.iter().enumerate() {
        let bytes = encode_block(block).ok_or_else(|| Overflow { index: i * BLOCK_LEN + index_of_largest(block) })?;
        out.extend_from_slice(&bytes);
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (v, block) in out.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0) {
        decode_block(block, v);
    }
}
