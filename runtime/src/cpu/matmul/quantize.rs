//! Activations to int8, once for each layer and pixel, for the products with quantized weights.
#![allow(unsafe_code)] // compiled once more for wider vectors

use super::BLOCK;
use crate::cpu::Isa;

/// 32 activations: `x[i] ~ scale * codes[i]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ActBlock {
    /// Codes in -127..=127.
    pub codes: [i8; BLOCK],
    /// amax / 127; NaN if an activation is infinite or NaN, so that the product becomes NaN.
    pub scale: f32,
    /// Minus the weights' code offset times the sum of the codes: where an integer accumulator starts.
    pub start: i32,
}

impl ActBlock {
    /// What lies outside the picture.
    pub const ZERO: Self = ActBlock { codes: [0; BLOCK], scale: 0.0, start: 0 };
}

/// Quantizes whole blocks of `x` to `out`, for weights stored with `offset` added to their codes.
pub(crate) fn quantize(isa: Isa, x: &[f32], offset: i32, out: &mut [ActBlock]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a context holds only an instruction set that the machine has.
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { avx512(x, offset, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2(x, offset, out) },
        _ => portable(x, offset, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(x: &[f32], offset: i32, out: &mut [ActBlock]) {
    portable(x, offset, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(x: &[f32], offset: i32, out: &mut [ActBlock]) {
    portable(x, offset, out);
}

#[inline(always)]
fn portable(x: &[f32], offset: i32, out: &mut [ActBlock]) {
    for (x, b) in x.as_chunks::<BLOCK>().0.iter().zip(out) {
        *b = block(x, offset);
    }
}

/// One block.
#[inline(always)]
pub(super) fn block(x: &[f32; BLOCK], offset: i32) -> ActBlock {
    /// Added and subtracted, rounds a small number to the nearest integer, ties to even; its low bits hold it.
    const ROUND: f32 = 12_582_912.0;
    // As integers: exact in any order, and infinity and NaN come out on top.
    let amax = x.iter().fold(0u32, |a, v| a.max(v.to_bits() & 0x7fff_ffff));
    let amax = f32::from_bits(amax);
    if !amax.is_finite() {
        return ActBlock { scale: f32::NAN, ..ActBlock::ZERO };
    }
    // So small that 127 / amax would overflow: nothing that a picture could show.
    if amax < 1e-36 {
        return ActBlock::ZERO;
    }
    let (scale, inverse) = (amax / 127.0, 127.0 / amax);
    let mut codes = [0i8; BLOCK];
    let mut sum = 0i32;
    for (c, v) in codes.iter_mut().zip(x) {
        let q = (v * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
        *c = q as i8;
        sum += q;
    }
    ActBlock { codes, scale, start: -offset * sum }
}
