//! Kernels for AVX2 with FMA and F16C: 6 rows by 16 channels in 12 registers, a panel as two halves.
#![allow(unsafe_code)] // intrinsics, and reads through the tile's pointers

use super::pack::Format;
use super::quantize::ActBlock;
use super::{Acc, BLOCK, Kernel, NR, Taps, Target, k};
use core::arch::x86_64::*;

pub(super) fn kernel(format: Format) -> Kernel {
    let accumulate = match format {
        Format::F32 => rows::<false> as unsafe fn(&Taps, &mut Acc),
        Format::F16 => rows::<true>,
        Format::Q8 => codes::<false>,
        Format::Q4 => codes::<true>,
        Format::K4 => k::avx2::codes::<4>,
        Format::K5 => k::avx2::codes::<5>,
        Format::K6 => k::avx2::codes::<6>,
    };
    let rows = if format.is_quantized() { 4 } else { 6 };
    Kernel::new(rows, accumulate, finish)
}

#[target_feature(enable = "avx2,fma")]
unsafe fn finish(target: &Target, acc: &Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe { target.store(acc) }
}

#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const R: usize, const HALF: bool>(t: &Taps, acc: &mut Acc, lane: usize) {
    // SAFETY: each pointer of the table has `steps` f32 behind it; the panel has `steps` records of NR weights for each
    // tap, aligned to 64 bytes; R rows of `acc` exist, and `lane` is 0 or 16.
    unsafe {
        let mut a = [[_mm256_setzero_ps(); 2]; R];
        for (a, acc) in a.iter_mut().zip(&acc.0) {
            *a = [_mm256_load_ps(acc.as_ptr().add(lane)), _mm256_load_ps(acc.as_ptr().add(lane + 8))];
        }
        let mut w = t.weights.add(lane * if HALF { 2 } else { 4 });
        for rows in t.rows {
            let rows: [*const f32; R] = core::array::from_fn(|i| rows[i].cast());
            for c in 0..t.steps {
                let (w0, w1);
                if HALF {
                    w0 = _mm256_cvtph_ps(_mm_load_si128(w.cast()));
                    w1 = _mm256_cvtph_ps(_mm_load_si128(w.add(16).cast()));
                    w = w.add(NR * 2);
                } else {
                    w0 = _mm256_load_ps(w.cast());
                    w1 = _mm256_load_ps(w.add(32).cast());
                    w = w.add(NR * 4);
                }
                for i in 0..R {
                    let x = _mm256_set1_ps(*rows[i].add(c));
                    a[i][0] = _mm256_fmadd_ps(x, w0, a[i][0]);
                    a[i][1] = _mm256_fmadd_ps(x, w1, a[i][1]);
                }
            }
        }
        for (a, acc) in a.iter().zip(&mut acc.0) {
            _mm256_store_ps(acc.as_mut_ptr().add(lane), a[0]);
            _mm256_store_ps(acc.as_mut_ptr().add(lane + 8), a[1]);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn codes<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        for lane in [0, 8, 16, 24] {
            match t.count {
                1 => codes_tile::<1, HALF>(t, acc, lane),
                _ => codes_tile::<4, HALF>(t, acc, lane),
            }
        }
    }
}

/// Channels `lane..lane + 8` of the panel. `maddubs` adds two products of u8 and i8 with saturation at 32767, so:
/// for 8-bit codes, |w| <= 128 as u8 times sign(w) x, at most 2 * 128 * 127 = 32512; for 4-bit codes, eight sums of at
/// most 2 * 15 * 127 = 3810 fit one i16, 30480. Both are exact.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn codes_tile<const R: usize, const HALF: bool>(t: &Taps, acc: &mut Acc, lane: usize) {
    let codes = if HALF { NR * BLOCK / 2 } else { NR * BLOCK };
    let (low, flip, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi8(-128), _mm256_set1_epi16(1));
    // SAFETY: each pointer of the table has `steps` blocks behind it, the panel `steps` records of codes and scales for
    // each tap, aligned to 64 bytes; R rows of `acc` exist, and `lane` is a multiple of 8 below 32.
    unsafe {
        let mut f = [_mm256_setzero_ps(); R];
        for (f, acc) in f.iter_mut().zip(&acc.0) {
            *f = _mm256_load_ps(acc.as_ptr().add(lane));
        }
        let mut w = t.weights;
        for rows in t.rows {
            let rows: [*const ActBlock; R] = core::array::from_fn(|i| rows[i].cast());
            for b in 0..t.steps {
                let mut sum = [_mm256_setzero_si256(); R];
                for g in 0..8 {
                    let at = w.add(if HALF { g % 4 } else { g } * 128 + lane * 4);
                    let mut q = _mm256_load_si256(at.cast());
                    if HALF {
                        q = if g >= 4 { _mm256_srli_epi16::<4>(q) } else { q };
                        q = _mm256_and_si256(q, low);
                    } else {
                        q = _mm256_xor_si256(q, flip);
                    }
                    let magnitude = _mm256_abs_epi8(q);
                    for i in 0..R {
                        let x = (*rows[i].add(b)).codes.as_ptr().add(g * 4).cast::<i32>();
                        let x = _mm256_set1_epi32(x.read_unaligned());
                        sum[i] = if HALF {
                            _mm256_add_epi16(sum[i], _mm256_maddubs_epi16(q, x))
                        } else {
                            let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, q));
                            _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs, ones))
                        };
                    }
                }
                let d = _mm256_cvtph_ps(_mm_load_si128(w.add(codes + lane * 2).cast()));
                w = w.add(codes + NR * 2);
                for i in 0..R {
                    let x = &*rows[i].add(b);
                    if HALF {
                        let start = _mm256_set1_epi32(x.start);
                        sum[i] = _mm256_add_epi32(_mm256_madd_epi16(sum[i], ones), start);
                    }
                    let p = _mm256_mul_ps(_mm256_mul_ps(d, _mm256_set1_ps(x.scale)), _mm256_cvtepi32_ps(sum[i]));
                    f[i] = _mm256_add_ps(f[i], p);
                }
            }
        }
        for (f, acc) in f.iter().zip(&mut acc.0) {
            _mm256_store_ps(acc.as_mut_ptr().add(lane), *f);
        }
    }
}
