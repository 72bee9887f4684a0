//! TEMPORARY: f32 only, replaced on merge.
#![allow(missing_docs)]
use alloc::vec::Vec;
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum DType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q8_0 = 8,
    BF16 = 30,
}
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("quant")]
pub struct QuantError;
pub fn encode(_: DType, x: &[f32], out: &mut Vec<u8>) -> Result<(), QuantError> {
    out.extend(x.iter().flat_map(|v| v.to_le_bytes()));
    Ok(())
}
pub fn decode(_: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    if bytes.len() != out.len() * 4 {
        return Err(QuantError);
    }
    for (o, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
        *o = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    }
    Ok(())
}
