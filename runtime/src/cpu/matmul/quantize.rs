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
    /// What [`Start`] says of the sum of the codes: where an integer accumulator starts, mostly.
    pub start: i32,
}

/// What weights of a format want to know of a block of activations beside its codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// The sum of the codes, times this.
    Times(i32),
    /// The sums of the codes of either half, for [`ActBlock::halves`].
    Halves,
}

impl ActBlock {
    /// What lies outside the picture.
    pub const ZERO: Self = ActBlock { codes: [0; BLOCK], scale: 0.0, start: 0 };

    /// The sums of the codes of either half, of 16 codes in -127..=127 each, where [`Start::Halves`] was asked for.
    #[inline(always)]
    pub const fn halves(&self) -> [i32; 2] {
        [(self.start as i16) as i32, self.start >> 16]
    }
}

/// Quantizes whole blocks of `x` to `out`, with what the weights' format wants to know of the sums.
pub(crate) fn quantize(isa: Isa, x: &[f32], start: Start, out: &mut [ActBlock]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a context holds only an instruction set that the machine has.
        Isa::Avx512 | Isa::Avx512Vnni | Isa::Amx => unsafe { avx512(x, start, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2(x, start, out) },
        _ => portable(x, start, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(x: &[f32], start: Start, out: &mut [ActBlock]) {
    portable(x, start, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(x: &[f32], start: Start, out: &mut [ActBlock]) {
    portable(x, start, out);
}

#[inline(always)]
fn portable(x: &[f32], start: Start, out: &mut [ActBlock]) {
    for (x, b) in x.as_chunks::<BLOCK>().0.iter().zip(out) {
        *b = block(x, start);
    }
}

/// One block.
#[inline(always)]
pub(super) fn block(x: &[f32; BLOCK], start: Start) -> ActBlock {
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
    let start = match start {
        Start::Times(factor) => factor * sum,
        Start::Halves => {
            let high: i32 = codes[BLOCK / 2..].iter().map(|c| i32::from(*c)).sum();
            (sum - high) & 0xffff | high << 16
        }
    };
    ActBlock { codes, scale, start }
}
