//! The product with k-quants: blocks of 256 inputs in parts of 32, each with scales of its own.
//!
//! A record is 32 outputs by 256 inputs: the f16 factors of the outputs' blocks (`d`, then `dmin` but for q6_K), and for each
//! part its codes and two bytes of scales for each output. The lower four bits of the codes are `[4 groups][32 outputs][4
//! inputs]`, in the low half byte input `4 group + i`, in the high one input `16 + 4 group + i`. The fifth bits are `[32
//! outputs][4 inputs]`, where bit `g` is that of input `4 g + i`; the two upper bits of q6_K are twice that, for inputs 0 to
//! 15 and 16 to 31, where bits `2 g` are those of input `4 g + i` of the sixteen.
//!
//! **Arithmetic**, the same in each kernel. Codes are unsigned, and sums over 16 or 32 products exact. With a minimum
//! (q4_K, q5_K) a part of an output adds `((d * scale) * d_x) * sum`, then `(dmin * min) * (d_x * start)`, where `start` is
//! minus the sum of the activations' codes; with two scales (q6_K) either half adds `((d * scale) * d_x) * (sum - 32 *
//! sum of codes)`. `d * scale` and `dmin * min` are exact in f32.
#![allow(unsafe_code)] // the kernels

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
pub(super) mod neon;
pub(super) mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) mod simd128;
#[cfg(target_arch = "x86_64")]
pub(super) mod vnni;

use super::quantize::ActBlock;
use super::{BLOCK, NR};
use crate::quant::DType;
use crate::quant::super_block::{self, LEN, PARTS};

/// Inputs of a record.
pub(super) const INPUTS: usize = LEN;
/// What codes of q6_K exceed what they stand for by.
const OFFSET: i32 = 32;

/// Bytes of a record's factors, for codes of so many bits.
const fn factor_bytes(bits: usize) -> usize {
    if bits == 6 { NR * 2 } else { NR * 4 }
}

/// Bytes of a part's codes.
const fn code_bytes(bits: usize) -> usize {
    NR * BLOCK * bits / 8
}

/// Bytes of a part: codes and scales.
const fn part_bytes(bits: usize) -> usize {
    code_bytes(bits) + NR * 2
}

/// Bytes of a record; whole cache lines, as each part of it is.
pub(super) const fn record_bytes(bits: usize) -> usize {
    factor_bytes(bits) + PARTS * part_bytes(bits)
}

/// Lays one stored block to lane `lane` of a record of zeros.
pub(super) fn put<const BITS: usize>(dtype: DType, src: &[u8], record: &mut [u8], lane: usize) {
    let (factors, parts) = record.split_at_mut(factor_bytes(BITS));
    for (dst, factor) in factors.chunks_exact_mut(NR * 2).zip(super_block::factors(dtype, src)) {
        dst[lane * 2..][..2].copy_from_slice(&factor.to_bits().to_ne_bytes());
    }
    for (i, dst) in parts.chunks_exact_mut(part_bytes(BITS)).enumerate() {
        let part = super_block::part(dtype, src, i);
        let (codes, scales) = dst.split_at_mut(code_bytes(BITS));
        let (low, upper) = codes.split_at_mut(code_bytes(4));
        for (k, code) in part.codes.into_iter().enumerate() {
            let (half, group, i) = (k / 16, k / 4 % 4, k % 4);
            low[(group * NR + lane) * 4 + i] |= (code & 15) << (4 * half);
            match BITS {
                5 => upper[lane * 4 + i] |= code >> 4 << (4 * half + group),
                6 => upper[(half * NR + lane) * 4 + i] |= code >> 4 << (2 * group),
                _ => {}
            }
        }
        (scales[lane], scales[NR + lane]) = (part.scales[0], part.scales[1]);
    }
}

/// The exact sums over either half of a part.
#[inline(always)]
pub(super) fn sums(codes: &[u8; BLOCK], x: &ActBlock) -> [i32; 2] {
    let mut sums = [0; 2];
    for (i, (code, x)) in codes.iter().zip(&x.codes).enumerate() {
        sums[i / 16] += i32::from(*code) * i32::from(*x);
    }
    sums
}

/// What a part of an output makes of its accumulator, in the order above.
#[inline(always)]
pub(super) fn add(
    two_scales: bool,
    acc: f32,
    [d, dmin]: [f32; 2],
    scales: [u8; 2],
    sums: [i32; 2],
    x: &ActBlock,
) -> f32 {
    if two_scales {
        let terms = scales.into_iter().zip(sums).zip(x.halves());
        return terms.fold(acc, |acc, ((scale, sum), codes)| {
            acc + ((d * f32::from(scale.cast_signed())) * x.scale) * (sum - OFFSET * codes) as f32
        });
    }
    let acc = acc + ((d * f32::from(scales[0])) * x.scale) * (sums[0] + sums[1]) as f32;
    acc + (dmin * f32::from(scales[1])) * (x.scale * x.start as f32)
}
