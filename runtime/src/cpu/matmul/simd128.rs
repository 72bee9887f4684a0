//! Kernels for WebAssembly's 128-bit vectors. They have no fused multiply-add whose bits are promised: float products are
//! exact in f64, as in the scalar kernel.
#![allow(unsafe_code)] // reads through the tile's pointers

use super::pack::Format;
use super::quantize::ActBlock;
use super::{Acc, BLOCK, Kernel, NR, Taps, Target, k, scalar};
use core::arch::wasm32::*;

pub(super) fn kernel(format: Format) -> Kernel {
    let accumulate = match format {
        Format::F32 => rows::<false> as unsafe fn(&Taps, &mut Acc),
        Format::F16 => rows::<true>,
        Format::Q8 => codes::<false>,
        Format::Q4 => codes::<true>,
        Format::K4 => k::simd128::codes::<4>,
        Format::K5 => k::simd128::codes::<5>,
        Format::K6 => k::simd128::codes::<6>,
    };
    Kernel::new(4, accumulate, finish)
}

unsafe fn finish(target: &Target, acc: &Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe { target.store(acc) }
}

unsafe fn rows<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    for lane in (0..NR).step_by(4) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match t.count {
                1 => tile::<1, HALF>(t, acc, lane),
                _ => tile::<4, HALF>(t, acc, lane),
            }
        }
    }
}

/// Channels `lane..lane + 4` of the panel, two in a register. See [`scalar::fma`]: sums in f64 whose last 29 bits are 100..0
/// may have been rounded to what lies halfway between two f32, and are made once more.
#[inline(always)]
unsafe fn tile<const R: usize, const HALF: bool>(t: &Taps, acc: &mut Acc, lane: usize) {
    let (low, half) = (i32x4_splat(0x1fff_ffff), i32x4_splat(0x1000_0000));
    // SAFETY: each pointer of the table has `steps` f32 behind it; the panel has `steps` records of NR weights for each
    // tap; R rows of `acc` exist, and `lane` is a multiple of 4 below 32.
    unsafe {
        let mut a = [[f64x2_splat(0.0); 2]; R];
        for (a, acc) in a.iter_mut().zip(&acc.0) {
            *a = wide(v128_load(acc.as_ptr().add(lane).cast()));
        }
        let mut w = t.weights.add(lane * if HALF { 2 } else { 4 });
        for rows in t.rows {
            let rows: [*const f32; R] = core::array::from_fn(|i| rows[i].cast());
            for c in 0..t.steps {
                let v = wide(if HALF { halves(w) } else { v128_load(w.cast()) });
                w = w.add(if HALF { NR * 2 } else { NR * 4 });
                for i in 0..R {
                    let x = f64x2_promote_low_f32x4(v128_load32_splat(rows[i].add(c).cast()));
                    let r = [0, 1].map(|j| f64x2_add(f64x2_mul(x, v[j]), a[i][j]));
                    let last = v128_and(i32x4_shuffle::<0, 2, 4, 6>(r[0], r[1]), low);
                    if v128_any_true(i32x4_eq(last, half)) {
                        exact(*rows[i].add(c), &v, &mut a[i]);
                    } else {
                        a[i] = r.map(|r| f64x2_promote_low_f32x4(f32x4_demote_f64x2_zero(r)));
                    }
                }
            }
        }
        for ([a, b], acc) in a.into_iter().zip(&mut acc.0) {
            let sums = i64x2_shuffle::<0, 2>(f32x4_demote_f64x2_zero(a), f32x4_demote_f64x2_zero(b));
            v128_store(acc.as_mut_ptr().add(lane).cast(), sums);
        }
    }
}

/// As f64, two and two.
#[inline(always)]
fn wide(v: v128) -> [v128; 2] {
    [f64x2_promote_low_f32x4(v), f64x2_promote_low_f32x4(i64x2_shuffle::<1, 1>(v, v))]
}

/// x * w + a, one after the other.
#[cold]
#[inline(never)]
fn exact(x: f32, w: &[v128; 2], a: &mut [v128; 2]) {
    for (w, a) in w.iter().zip(a) {
        let one = |w: f64, a: f64| f64::from(scalar::fma(x, w as f32, a as f32));
        *a = f64x2(
            one(f64x2_extract_lane::<0>(*w), f64x2_extract_lane::<0>(*a)),
            one(f64x2_extract_lane::<1>(*w), f64x2_extract_lane::<1>(*a)),
        );
    }
}

/// Four f16 from `p`, exactly: their bits as those of an f32 are 2^112 times too small; what is not finite is then 65536 or
/// more, and made so.
#[inline(always)]
pub(super) unsafe fn halves(p: *const u8) -> v128 {
    // SAFETY: the caller has four f16 there.
    let h = unsafe { i32x4_load_extend_i16x4(p.cast()) };
    let v = v128_and(i32x4_shl(h, 13), u32x4_splat(0x8fff_e000));
    let v = f32x4_mul(v, f32x4_splat(f32::from_bits((127 + 112) << 23)));
    let special = f32x4_ge(f32x4_abs(v), f32x4_splat(65536.0));
    v128_or(v, v128_and(special, u32x4_splat(0x7f80_0000)))
}

unsafe fn codes<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        match t.count {
            1 => codes_tile::<1, HALF>(t, acc),
            _ => codes_tile::<4, HALF>(t, acc),
        }
    }
}

/// A group's codes of an activation block as pairs of i16: inputs 0 and 2, and inputs 1 and 3.
type Pairs = [[u32; 8]; 2];

/// Stored codes are unsigned: as i16, bytes 0 and 2 of a group, and 1 and 3, of four channels in one register, are pairs
/// whose products with those of the activations are added to i32, a channel a lane. All of it is exact, and begins at
/// what takes the offset out again.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // sums, scales and accumulators of a row go by one index
unsafe fn codes_tile<const R: usize, const HALF: bool>(t: &Taps, acc: &mut Acc) {
    let codes = if HALF { NR * BLOCK / 2 } else { NR * BLOCK };
    // SAFETY: each pointer of the table has `steps` blocks behind it, the panel `steps` records of codes and scales for
    // each tap, and R rows of `acc` exist.
    unsafe {
        let mut w = t.weights;
        for rows in t.rows {
            for b in 0..t.steps {
                let rows: [&ActBlock; R] = core::array::from_fn(|i| &*rows[i].cast::<ActBlock>().add(b));
                let x: [Pairs; R] = rows.map(|x| pairs(&x.codes));
                for lane in (0..NR).step_by(8) {
                    let mut sum: [[v128; 2]; R] = rows.map(|x| [i32x4_splat(x.start); 2]);
                    for g in 0..8 {
                        let at = w.add(if HALF { g % 4 } else { g } * 128 + lane * 4);
                        let q = [at, at.add(16)].map(|at| {
                            let q = v128_load(at.cast());
                            match (HALF, g) {
                                (false, _) => [v128_and(q, u16x8_splat(255)), u16x8_shr(q, 8)],
                                (true, 0..4) => {
                                    [v128_and(q, u16x8_splat(15)), v128_and(u16x8_shr(q, 8), u16x8_splat(15))]
                                }
                                (true, _) => [v128_and(u16x8_shr(q, 4), u16x8_splat(15)), u16x8_shr(q, 12)],
                            }
                        });
                        for i in 0..R {
                            let x = [0, 1].map(|k| v128_load32_splat(&x[i][k][g]));
                            for j in 0..2 {
                                for k in 0..2 {
                                    sum[i][j] = i32x4_add(sum[i][j], i32x4_dot_i16x8(q[j][k], x[k]));
                                }
                            }
                        }
                    }
                    for j in 0..2 {
                        let d = halves(w.add(codes + (lane + 4 * j) * 2));
                        for i in 0..R {
                            let acc = acc.0[i].as_mut_ptr().add(lane + 4 * j).cast();
                            let p = f32x4_mul(d, f32x4_splat(rows[i].scale));
                            let p = f32x4_mul(p, f32x4_convert_i32x4(sum[i][j]));
                            v128_store(acc, f32x4_add(v128_load(acc), p));
                        }
                    }
                }
                w = w.add(codes + NR * 2);
            }
        }
    }
}

#[inline(always)]
fn pairs(codes: &[i8; BLOCK]) -> Pairs {
    let mut pairs = [[0; 8]; 2];
    for half in 0..2 {
        // SAFETY: 16 codes lie there, and 4 words of each kind.
        unsafe {
            let x = v128_load(codes.as_ptr().add(16 * half).cast());
            v128_store(pairs[0].as_mut_ptr().add(4 * half).cast(), i16x8_shr(i16x8_shl(x, 8), 8));
            v128_store(pairs[1].as_mut_ptr().add(4 * half).cast(), i16x8_shr(x, 8));
        }
    }
    pairs
}
