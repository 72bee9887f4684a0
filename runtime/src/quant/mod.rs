//! Block formats of weights (a minimal stand-in until the room's own lands: the signatures are the agreed ones).

use alloc::vec::Vec;

/// Element type of a stored tensor; the numbers are ggml's.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DType {
    /// 32-bit float.
    F32 = 0,
    /// 16-bit float.
    F16 = 1,
    /// 4-bit codes, 32 to a block, one f16 scale.
    Q4_0 = 2,
    /// 8-bit codes, 32 to a block, one f16 scale.
    Q8_0 = 8,
    /// 16-bit brain float.
    BF16 = 30,
}

impl DType {
    /// Elements in a block.
    pub const fn block_len(self) -> usize {
        match self {
            DType::Q4_0 | DType::Q8_0 => 32,
            _ => 1,
        }
    }
    /// Bytes in a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q4_0 => 18,
            DType::Q8_0 => 34,
        }
    }
    /// The name used in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::Q4_0 => "q4_0",
            DType::Q8_0 => "q8_0",
        }
    }
    /// Bytes of a row of `n` elements; `None` if `n` is not whole blocks.
    pub fn row_bytes(self, n: usize) -> Option<usize> {
        if !n.is_multiple_of(self.block_len()) {
            return None;
        }
        (n / self.block_len()).checked_mul(self.block_bytes())
    }
}

/// Why a conversion was refused.
#[derive(Debug, thiserror::Error)]
#[error("{0} elements are not whole blocks")]
pub struct QuantError(usize);

/// Appends `x` in the format `dtype` to `out`.
pub fn encode(dtype: DType, x: &[f32], out: &mut Vec<u8>) -> Result<(), QuantError> {
    dtype.row_bytes(x.len()).ok_or(QuantError(x.len()))?;
    for b in x.chunks_exact(dtype.block_len()) {
        match dtype {
            DType::F32 => out.extend(b[0].to_le_bytes()),
            DType::F16 => out.extend(half::f16::from_f32(b[0]).to_le_bytes()),
            DType::BF16 => out.extend(half::bf16::from_f32(b[0]).to_le_bytes()),
            DType::Q8_0 => {
                let amax = b.iter().fold(0f32, |a, v| a.max(v.abs()));
                let d = amax / 127.0;
                let id = if d > 0.0 { 1.0 / d } else { 0.0 };
                out.extend(half::f16::from_f32(d).to_le_bytes());
                out.extend(b.iter().map(|v| libm::roundf(v * id) as i8 as u8));
            }
            DType::Q4_0 => {
                let m = b.iter().fold(0f32, |a, v| if v.abs() > a.abs() { *v } else { a });
                let d = m / -8.0;
                let id = if d != 0.0 { 1.0 / d } else { 0.0 };
                out.extend(half::f16::from_f32(d).to_le_bytes());
                let code = |v: f32| ((v * id + 8.5) as u8).min(15);
                out.extend((0..16).map(|i| code(b[i]) | code(b[i + 16]) << 4));
            }
        }
    }
    Ok(())
}

/// Fills `out` with the values of `bytes`.
pub fn decode(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    if dtype.row_bytes(out.len()) != Some(bytes.len()) {
        return Err(QuantError(out.len()));
    }
    let f16 = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
    for (b, y) in bytes.chunks_exact(dtype.block_bytes()).zip(out.chunks_exact_mut(dtype.block_len())) {
        match dtype {
            DType::F32 => y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            DType::F16 => y[0] = f16(b),
            DType::BF16 => y[0] = half::bf16::from_le_bytes([b[0], b[1]]).to_f32(),
            DType::Q8_0 => y.iter_mut().zip(&b[2..]).for_each(|(y, q)| *y = f16(b) * *q as i8 as f32),
            DType::Q4_0 => {
                for i in 0..16 {
                    y[i] = f16(b) * ((b[2 + i] & 15) as i32 - 8) as f32;
                    y[i + 16] = f16(b) * ((b[2 + i] >> 4) as i32 - 8) as f32;
                }
            }
        }
    }
    Ok(())
}
