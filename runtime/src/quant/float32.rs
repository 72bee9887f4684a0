//! IEEE 754 binary32: stored as it is.

use super::Overflow;
use alloc::vec::Vec;

pub(super) fn encode(x: &[f32], out: &mut Vec<u8>) -> Result<(), Overflow> {
    let start = out.len();
    out.resize(start + 4 * x.len(), 0);
    for (b, v) in out[start..].as_chunks_mut().0.iter_mut().zip(x) {
        *b = v.to_le_bytes();
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (v, &b) in out.iter_mut().zip(bytes.as_chunks().0) {
        *v = f32::from_le_bytes(b);
    }
}
