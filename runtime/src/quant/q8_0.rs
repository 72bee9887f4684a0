//! ggml's q8_0: blocks of 32 values as an f16 scale `d = amax / 127` and 32 signed bytes `q = round(x / d)`, ties away
//! from zero; decoded as `q * d`.
//!
//! As in ggml, the bytes come from the scale before it is rounded to f16, so the error of a value is at most half a
//! scale and 2^-11 of the value itself.

use super::{Overflow, index_of_largest, inverse};
use alloc::vec::Vec;
use half::f16;

/// Values in a block.
pub const BLOCK_LEN: usize = 32;
/// Bytes of a block: the scale, then one byte a value.
pub const BLOCK_BYTES: usize = 2 + BLOCK_LEN;

/// Encodes one block of finite values; `None` if the scale is beyond f16.
pub fn encode_block(x: &[f32; BLOCK_LEN]) -> Option<[u8; BLOCK_BYTES]> {
    let d = x[index_of_largest(x)].abs() / 127.0;
    let id = inverse(d);
    let stored = f16::from_f32(d);
    if !stored.is_finite() {
        return None;
    }
    let mut block = [0; BLOCK_BYTES];
    block[..2].copy_from_slice(&stored.to_le_bytes());
    for (q, &v) in block[2..].iter_mut().zip(x) {
        *q = (libm::roundf(v * id) as i8).cast_unsigned();
    }
    Some(block)
}

/// Decodes one block.
pub fn decode_block(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
    for (v, &q) in out.iter_mut().zip(&block[2..]) {
        *v = f32::from(q.cast_signed()) * d;
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
