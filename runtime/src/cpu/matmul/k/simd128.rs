//! For WebAssembly's 128-bit vectors: four rows by 4 channels, a panel in eight.

use super::super::quantize::ActBlock;
use super::super::simd128::halves;
use super::super::{Acc, NR, Taps};
use super::{OFFSET, code_bytes, factor_bytes, part_bytes};
use crate::quant::super_block::PARTS;
use core::arch::wasm32::*;

pub(in super::super) unsafe fn codes<const BITS: usize>(t: &Taps, acc: &mut Acc) {
    for lane in (0..NR).step_by(4) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match t.count {
                1 => tile::<1, BITS>(t, acc, lane),
                _ => tile::<4, BITS>(t, acc, lane),
            }
        }
    }
}

/// Channels `lane..lane + 4` of the panel. As i16, bytes 0 and 2 of a group, and 1 and 3, are pairs whose products with those
/// of the activations are added to i32, a channel a lane; all of it exact.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // sums and accumulators of a row go by one index
unsafe fn tile<const R: usize, const BITS: usize>(t: &Taps, acc: &mut Acc, lane: usize) {
    // SAFETY: each pointer of the table has `steps` times PARTS blocks behind it, the panel `steps` records for each tap; R
    // rows of `acc` exist, and `lane` is a multiple of 4 below 32.
    unsafe {
        let mut f = [f32x4_splat(0.0); R];
        for (f, acc) in f.iter_mut().zip(&acc.0) {
            *f = v128_load(acc.as_ptr().add(lane).cast());
        }
        let mut w = t.weights;
        for rows in t.rows {
            for s in 0..t.steps {
                let d = halves(w.add(lane * 2));
                let dmin = if BITS == 6 { d } else { halves(w.add(NR * 2 + lane * 2)) };
                w = w.add(factor_bytes(BITS));
                for b in s * PARTS..(s + 1) * PARTS {
                    let rows: [&ActBlock; R] = core::array::from_fn(|i| &*rows[i].cast::<ActBlock>().add(b));
                    let scales = w.add(code_bytes(BITS) + lane);
                    let mut sum = [i32x4_splat(0); R];
                    for half in 0..2 {
                        if BITS == 6 {
                            sum = rows.map(|x| i32x4_splat(-OFFSET * x.halves()[half]));
                        }
                        for g in 0..4 {
                            let q = group::<BITS>(w, half, g, lane * 4);
                            let q = [v128_and(q, u16x8_splat(255)), u16x8_shr(q, 8)];
                            for i in 0..R {
                                let x = v128_load32_splat(rows[i].codes.as_ptr().add((half * 4 + g) * 4).cast());
                                let x = [i16x8_shr(i16x8_shl(x, 8), 8), i16x8_shr(x, 8)];
                                let pairs = [0, 1].map(|k| i32x4_dot_i16x8(q[k], x[k]));
                                sum[i] = i32x4_add(sum[i], i32x4_add(pairs[0], pairs[1]));
                            }
                        }
                        if BITS < 6 && half == 0 {
                            continue;
                        }
                        let scales = bytes::<BITS>(scales.add(if BITS == 6 { half * NR } else { 0 }));
                        let d = f32x4_mul(d, scales);
                        for i in 0..R {
                            let p = f32x4_mul(d, f32x4_splat(rows[i].scale));
                            f[i] = f32x4_add(f[i], f32x4_mul(p, f32x4_convert_i32x4(sum[i])));
                        }
                    }
                    if BITS < 6 {
                        let min = f32x4_mul(dmin, bytes::<BITS>(scales.add(NR)));
                        for i in 0..R {
                            let x = f32x4_splat(rows[i].scale * rows[i].start as f32);
                            f[i] = f32x4_add(f[i], f32x4_mul(min, x));
                        }
                    }
                    w = w.add(part_bytes(BITS));
                }
            }
        }
        for (f, acc) in f.iter().zip(&mut acc.0) {
            v128_store(acc.as_mut_ptr().add(lane).cast(), *f);
        }
    }
}

/// Four bytes as f32: signed those of q6_K.
#[inline(always)]
unsafe fn bytes<const BITS: usize>(at: *const u8) -> v128 {
    // SAFETY: the caller has four bytes there.
    let four = unsafe { v128_load32_zero(at.cast()) };
    match BITS {
        6 => f32x4_convert_i32x4(i32x4_extend_low_i16x8(i16x8_extend_low_i8x16(four))),
        _ => f32x4_convert_i32x4(u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(four))),
    }
}

/// The codes of inputs `16 half + 4 g` to `+ 3` of the 4 outputs whose bytes are from `lane` on.
#[inline(always)]
unsafe fn group<const BITS: usize>(w: *const u8, half: usize, g: usize, lane: usize) -> v128 {
    // SAFETY: the part begins at `w`; `half` is below 2, `g` below 4, `lane` a multiple of 16 below 128.
    unsafe {
        let q = v128_load(w.add(g * 128 + lane).cast());
        let q = if half == 1 { u8x16_shr(q, 4) } else { v128_and(q, u8x16_splat(15)) };
        if BITS == 4 {
            return q;
        }
        let upper = v128_load(w.add(code_bytes(4) + lane + if BITS == 6 { half * NR * 4 } else { 0 }).cast());
        let at = if BITS == 6 { 2 * g } else { half * 4 + g } as u32;
        let upper = if at < 4 { u8x16_shl(upper, 4 - at) } else { u8x16_shr(upper, at - 4) };
        v128_or(q, v128_and(upper, u8x16_splat(if BITS == 6 { 48 } else { 16 })))
    }
}
