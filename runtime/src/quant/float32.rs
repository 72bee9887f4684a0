//! IEEE 754 binary32: stored as it is.

use super::Overflow;
use alloc::vec::Vec;

pub(super) fn encode(x: &[f32], out: &mut Vec<u8>) -> Result<(), Overflow> {
    out.extend(x.iter().flat_map(|v| v.to_le_bytes()));
    Ok(())
}

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (v, &b) in out.iter_mut().zip(bytes.as_chunks().0) {
        *v = f32::from_le_bytes(b);
    }
}
