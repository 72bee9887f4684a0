//! Kernels for AArch64 NEON: 6 rows by 16 channels in 24 registers, a panel as two halves.
#![allow(unsafe_code)] // intrinsics, and reads through the tile's pointers

use super::pack::Format;
use super::quantize::ActBlock;
use super::{Acc, BLOCK, Kernel, NR, Taps, Target, k};
use core::arch::aarch64::*;
use half::f16;

pub(super) fn kernel(format: Format) -> Kernel {
    let accumulate = match format {
        Format::F32 => rows::<false> as unsafe fn(&Taps, &mut Acc),
        Format::F16 => rows::<true>,
        Format::Q8 => codes::<false>,
        Format::Q4 => codes::<true>,
        Format::K4 => k::neon::codes::<4>,
        Format::K5 => k::neon::codes::<5>,
        Format::K6 => k::neon::codes::<6>,
    };
    let rows = if format.is_quantized() { 4 } else { 6 };
    Kernel::new(rows, accumulate, finish)
}

#[target_feature(enable = "neon")]
unsafe fn finish(target: &Target, acc: &Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe { target.store(acc) }
}

#[target_feature(enable = "neon")]
unsafe fn rows<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        for lane in [0, 16] {
            match t.count {
                1 => tile::<1, HALF>(t, acc, lane),
                2..=3 => tile::<3, HALF>(t, acc, lane),
                _ => tile::<6, HALF>(t, acc, lane),
            }
        }
    }
}

/// Channels `lane..lane + 16` of the panel.
#[target_feature(enable = "neon")]
unsafe fn tile<const R: usize, const HALF: bool>(t: &Taps, acc: &mut Acc, lane: usize) {
    // SAFETY: each pointer of the table has `steps` f32 behind it; the panel has `steps` records of NR weights for each
    // tap, aligned to 64 bytes; R rows of `acc` exist, and `lane` is 0 or 16.
    unsafe {
        let mut a = [[vdupq_n_f32(0.0); 4]; R];
        for (a, acc) in a.iter_mut().zip(&acc.0) {
            *a = core::array::from_fn(|j| vld1q_f32(acc.as_ptr().add(lane + 4 * j)));
        }
        let mut w = t.weights.add(lane * if HALF { 2 } else { 4 });
        for rows in t.rows {
            let rows: [*const f32; R] = core::array::from_fn(|i| rows[i].cast());
            for c in 0..t.steps {
                let v: [float32x4_t; 4];
                if HALF {
                    // The conversion intrinsics need a feature that stable Rust does not offer on every target.
                    let wide = (*w.cast::<[u16; 16]>()).map(|h| f16::from_bits(h).to_f32());
                    v = core::array::from_fn(|j| vld1q_f32(wide.as_ptr().add(4 * j)));
                    w = w.add(NR * 2);
                } else {
                    v = core::array::from_fn(|j| vld1q_f32(w.cast::<f32>().add(4 * j)));
                    w = w.add(NR * 4);
                }
                for i in 0..R {
                    let x = *rows[i].add(c);
                    for j in 0..4 {
                        a[i][j] = vfmaq_n_f32(a[i][j], v[j], x);
                    }
                }
            }
        }
        for (a, acc) in a.iter().zip(&mut acc.0) {
            for (j, a) in a.iter().enumerate() {
                vst1q_f32(acc.as_mut_ptr().add(lane + 4 * j), *a);
            }
        }
    }
}

#[target_feature(enable = "neon")]
unsafe fn codes<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        for lane in (0..NR).step_by(4) {
            match t.count {
                1 => codes_tile::<1, HALF>(t, acc, lane),
                _ => codes_tile::<4, HALF>(t, acc, lane),
            }
        }
    }
}

/// Channels `lane..lane + 4` of the panel. Products of two i8 are exact in i16 (-128 * -127 = 16256), and are added in
/// pairs to i32: sums of inputs (0, 1) and (2, 3) of a group, for each channel, joined at the end of the block.
#[target_feature(enable = "neon")]
unsafe fn codes_tile<const R: usize, const HALF: bool>(t: &Taps, acc: &mut Acc, lane: usize) {
    let codes = if HALF { NR * BLOCK / 2 } else { NR * BLOCK };
    // SAFETY: each pointer of the table has `steps` blocks behind it, the panel `steps` records of codes and scales for
    // each tap, aligned to 64 bytes; R rows of `acc` exist, and `lane` is a multiple of 4 below 32.
    unsafe {
        let mut f = [vdupq_n_f32(0.0); R];
        for (f, acc) in f.iter_mut().zip(&acc.0) {
            *f = vld1q_f32(acc.as_ptr().add(lane));
        }
        let mut w = t.weights;
        for rows in t.rows {
            let rows: [*const ActBlock; R] = core::array::from_fn(|i| rows[i].cast());
            for b in 0..t.steps {
                let mut sum = [[vdupq_n_s32(0); 2]; R];
                for g in 0..8 {
                    let at = w.add(if HALF { g % 4 } else { g } * 128 + lane * 4);
                    let mut q = vld1q_u8(at);
                    // To signed codes: -128 is adding 128 without carry, which flips the top bit.
                    let q = if HALF {
                        q = if g >= 4 { vshrq_n_u8::<4>(q) } else { vandq_u8(q, vdupq_n_u8(15)) };
                        vsubq_s8(vreinterpretq_s8_u8(q), vdupq_n_s8(8))
                    } else {
                        vreinterpretq_s8_u8(veorq_u8(q, vdupq_n_u8(128)))
                    };
                    for i in 0..R {
                        let x = (*rows[i].add(b)).codes.as_ptr().add(g * 4).cast::<i32>().read_unaligned();
                        let x = vreinterpretq_s8_s32(vdupq_n_s32(x));
                        sum[i][0] = vpadalq_s16(sum[i][0], vmull_s8(vget_low_s8(q), vget_low_s8(x)));
                        sum[i][1] = vpadalq_s16(sum[i][1], vmull_high_s8(q, x));
                    }
                }
                let scales = *w.add(codes + lane * 2).cast::<[u16; 4]>();
                let d = scales.map(|h| f16::from_bits(h).to_f32());
                let d = vld1q_f32(d.as_ptr());
                w = w.add(codes + NR * 2);
                for i in 0..R {
                    let isum = vcvtq_f32_s32(vpaddq_s32(sum[i][0], sum[i][1]));
                    let scale = vdupq_n_f32((*rows[i].add(b)).scale);
                    f[i] = vaddq_f32(f[i], vmulq_f32(vmulq_f32(d, scale), isum));
                }
            }
        }
        for (f, acc) in f.iter().zip(&mut acc.0) {
            vst1q_f32(acc.as_mut_ptr().add(lane), *f);
        }
    }
}
