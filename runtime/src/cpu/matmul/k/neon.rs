//! For AArch64 NEON: four rows by 4 channels, a panel in eight.

use super::super::quantize::ActBlock;
use super::super::{Acc, NR, Taps};
use super::{OFFSET, code_bytes, factor_bytes, part_bytes};
use crate::quant::super_block::PARTS;
use core::arch::aarch64::*;
use half::f16;

#[target_feature(enable = "neon")]
pub(in super::super) unsafe fn codes<const BITS: usize>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        for lane in (0..NR).step_by(4) {
            match t.count {
                1 => tile::<1, BITS>(t, acc, lane),
                _ => tile::<4, BITS>(t, acc, lane),
            }
        }
    }
}

/// Channels `lane..lane + 4` of the panel. Codes fit i8; products of two are exact in i16 (63 * 127 = 8001), and are added in
/// pairs to i32: sums of inputs (0, 1) and (2, 3) of a group, for each channel.
#[target_feature(enable = "neon")]
unsafe fn tile<const R: usize, const BITS: usize>(t: &Taps, acc: &mut Acc, lane: usize) {
    // SAFETY: each pointer of the table has `steps` times PARTS blocks behind it, the panel `steps` records for each tap,
    // aligned to 64 bytes; R rows of `acc` exist, and `lane` is a multiple of 4 below 32.
    unsafe {
        let mut f = [vdupq_n_f32(0.0); R];
        for (f, acc) in f.iter_mut().zip(&acc.0) {
            *f = vld1q_f32(acc.as_ptr().add(lane));
        }
        let half_numbers = |at: *const u8| {
            let numbers = (*at.add(lane * 2).cast::<[u16; 4]>()).map(|h| f16::from_bits(h).to_f32());
            vld1q_f32(numbers.as_ptr())
        };
        let mut w = t.weights;
        for rows in t.rows {
            let rows: [*const ActBlock; R] = core::array::from_fn(|i| rows[i].cast());
            for s in 0..t.steps {
                let d = half_numbers(w);
                let dmin = if BITS == 6 { d } else { half_numbers(w.add(NR * 2)) };
                w = w.add(factor_bytes(BITS));
                for b in s * PARTS..(s + 1) * PARTS {
                    let scales = w.add(code_bytes(BITS) + lane);
                    let mut sum = [[vdupq_n_s32(0); 2]; R];
                    for half in 0..2 {
                        for g in 0..4 {
                            let q = group::<BITS>(w, half, g, lane * 4);
                            for i in 0..R {
                                let x = (*rows[i].add(b)).codes.as_ptr().add((half * 4 + g) * 4).cast::<i32>();
                                let x = vreinterpretq_s8_s32(vdupq_n_s32(x.read_unaligned()));
                                sum[i][0] = vpadalq_s16(sum[i][0], vmull_s8(vget_low_s8(q), vget_low_s8(x)));
                                sum[i][1] = vpadalq_s16(sum[i][1], vmull_high_s8(q, x));
                            }
                        }
                        if BITS < 6 && half == 0 {
                            continue;
                        }
                        let scales = *scales.add(if BITS == 6 { half * NR } else { 0 }).cast::<[u8; 4]>();
                        let scales = match BITS {
                            6 => scales.map(|scale| f32::from(scale.cast_signed())),
                            _ => scales.map(f32::from),
                        };
                        let d = vmulq_f32(d, vld1q_f32(scales.as_ptr()));
                        for i in 0..R {
                            let x = &*rows[i].add(b);
                            let mut isum = vpaddq_s32(sum[i][0], sum[i][1]);
                            if BITS == 6 {
                                isum = vaddq_s32(isum, vdupq_n_s32(-OFFSET * x.halves()[half]));
                                sum[i] = [vdupq_n_s32(0); 2];
                            }
                            let scale = vdupq_n_f32(x.scale);
                            f[i] = vaddq_f32(f[i], vmulq_f32(vmulq_f32(d, scale), vcvtq_f32_s32(isum)));
                        }
                    }
                    if BITS < 6 {
                        let mins = (*scales.add(NR).cast::<[u8; 4]>()).map(f32::from);
                        let min = vmulq_f32(dmin, vld1q_f32(mins.as_ptr()));
                        for i in 0..R {
                            let x = &*rows[i].add(b);
                            f[i] = vaddq_f32(f[i], vmulq_f32(min, vdupq_n_f32(x.scale * x.start as f32)));
                        }
                    }
                    w = w.add(part_bytes(BITS));
                }
            }
        }
        for (f, acc) in f.iter().zip(&mut acc.0) {
            vst1q_f32(acc.as_mut_ptr().add(lane), *f);
        }
    }
}

/// The codes of inputs `16 half + 4 g` to `+ 3` of the 4 outputs whose bytes are from `lane` on.
#[inline(always)]
unsafe fn group<const BITS: usize>(w: *const u8, half: usize, g: usize, lane: usize) -> int8x16_t {
    // SAFETY: the part begins at `w`; `half` is below 2, `g` below 4, `lane` a multiple of 16 below 128.
    unsafe {
        let q = vld1q_u8(w.add(g * 128 + lane));
        let mut q = if half == 1 { vshrq_n_u8::<4>(q) } else { vandq_u8(q, vdupq_n_u8(15)) };
        if BITS > 4 {
            let upper = vld1q_u8(w.add(code_bytes(4) + lane + if BITS == 6 { half * NR * 4 } else { 0 }));
            let by = 4 - if BITS == 6 { 2 * g } else { half * 4 + g } as i8;
            // Shifted left by what may be less than nothing.
            let upper = vandq_u8(vshlq_u8(upper, vdupq_n_s8(by)), vdupq_n_u8(if BITS == 6 { 48 } else { 16 }));
            q = vorrq_u8(q, upper);
        }
        vreinterpretq_s8_u8(q)
    }
}
