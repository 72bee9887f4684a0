//! bfloat16: the range of f32 with 8 bits of precision; rounded to nearest, ties to even.

use super::Overflow;
use alloc::vec::Vec;
use half::bf16;

pub(super) fn encode(x: &[f32], out: &mut Vec<u8>) -> Result<(), Overflow> {
    for (index, &v) in x.iter().enumerate() {
        let h = bf16::from_f32(v);
        // The largest f32 values round up to infinity.
        if !h.is_finite() {
            return Err(Overflow { index });
        }
        out.extend_from_slice(&h.to_le_bytes());
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (v, &b) in out.iter_mut().zip(bytes.as_chunks().0) {
        *v = bf16::from_le_bytes(b).to_f32();
    }
}
