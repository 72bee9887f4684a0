//! For AVX2: four rows by 8 channels, a panel in four.

use super::super::quantize::ActBlock;
use super::super::{Acc, NR, Taps};
use super::{OFFSET, code_bytes, factor_bytes, part_bytes};
use crate::quant::super_block::PARTS;
use core::arch::x86_64::*;

#[target_feature(enable = "avx2,fma,f16c")]
pub(in super::super) unsafe fn codes<const BITS: usize>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        for lane in [0, 8, 16, 24] {
            match t.count {
                1 => tile::<1, BITS>(t, acc, lane),
                _ => tile::<4, BITS>(t, acc, lane),
            }
        }
    }
}

/// Channels `lane..lane + 8` of the panel. `maddubs` adds two products of u8 and i8 with saturation at 32767, here of at
/// most 2 * 31 * 127 = 7874, of which four fit one i16, or 2 * 63 * 127 = 16002, of which two do. All are exact.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const R: usize, const BITS: usize>(t: &Taps, acc: &mut Acc, lane: usize) {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: each pointer of the table has `steps` times PARTS blocks behind it, the panel `steps` records for each tap,
    // aligned to 64 bytes; R rows of `acc` exist, and `lane` is a multiple of 8 below 32.
    unsafe {
        let mut f = [_mm256_setzero_ps(); R];
        for (f, acc) in f.iter_mut().zip(&acc.0) {
            *f = _mm256_load_ps(acc.as_ptr().add(lane));
        }
        let half_numbers = |at: *const u8| _mm256_cvtph_ps(_mm_load_si128(at.add(lane * 2).cast()));
        let mut w = t.weights;
        for rows in t.rows {
            let rows: [*const ActBlock; R] = core::array::from_fn(|i| rows[i].cast());
            for s in 0..t.steps {
                let d = half_numbers(w);
                let dmin = if BITS == 6 { d } else { half_numbers(w.add(NR * 2)) };
                w = w.add(factor_bytes(BITS));
                for b in s * PARTS..(s + 1) * PARTS {
                    let scales = w.add(code_bytes(BITS) + lane);
                    let mut sum = [_mm256_setzero_si256(); R];
                    for half in 0..2 {
                        if BITS == 6 {
                            for i in 0..R {
                                sum[i] = _mm256_set1_epi32(-OFFSET * (*rows[i].add(b)).halves()[half]);
                            }
                        }
                        let mut pairs = [_mm256_setzero_si256(); R];
                        for g in 0..4 {
                            let q = group::<BITS>(w, half, g, lane * 4);
                            for i in 0..R {
                                let x = (*rows[i].add(b)).codes.as_ptr().add((half * 4 + g) * 4).cast::<i32>();
                                let x = _mm256_set1_epi32(x.read_unaligned());
                                pairs[i] = _mm256_add_epi16(pairs[i], _mm256_maddubs_epi16(q, x));
                                if g == 3 || BITS == 6 && g == 1 {
                                    sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs[i], ones));
                                    pairs[i] = _mm256_setzero_si256();
                                }
                            }
                        }
                        if BITS < 6 && half == 0 {
                            continue;
                        }
                        let q = _mm_loadl_epi64(scales.add(if BITS == 6 { half * NR } else { 0 }).cast());
                        let q = if BITS == 6 { _mm256_cvtepi8_epi32(q) } else { _mm256_cvtepu8_epi32(q) };
                        let d = _mm256_mul_ps(d, _mm256_cvtepi32_ps(q));
                        for i in 0..R {
                            let scale = _mm256_set1_ps((*rows[i].add(b)).scale);
                            let p = _mm256_mul_ps(_mm256_mul_ps(d, scale), _mm256_cvtepi32_ps(sum[i]));
                            f[i] = _mm256_add_ps(f[i], p);
                        }
                    }
                    if BITS < 6 {
                        let q = _mm256_cvtepu8_epi32(_mm_loadl_epi64(scales.add(NR).cast()));
                        let min = _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(q));
                        for i in 0..R {
                            let x = &*rows[i].add(b);
                            let p = _mm256_mul_ps(min, _mm256_set1_ps(x.scale * x.start as f32));
                            f[i] = _mm256_add_ps(f[i], p);
                        }
                    }
                    w = w.add(part_bytes(BITS));
                }
            }
        }
        for (f, acc) in f.iter().zip(&mut acc.0) {
            _mm256_store_ps(acc.as_mut_ptr().add(lane), *f);
        }
    }
}

/// The codes of inputs `16 half + 4 g` to `+ 3` of the 8 outputs whose bytes are from `lane` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn group<const BITS: usize>(w: *const u8, half: usize, g: usize, lane: usize) -> __m256i {
    // SAFETY: the part begins at `w`, aligned to 64 bytes; `half` is below 2, `g` below 4, `lane` a multiple of 32 below 128.
    unsafe {
        let mut q = _mm256_load_si256(w.add(g * 128 + lane).cast());
        if half == 1 {
            q = _mm256_srli_epi16::<4>(q);
        }
        let q = _mm256_and_si256(q, _mm256_set1_epi8(15));
        if BITS == 4 {
            return q;
        }
        // Shifts of 16 bits move bits between bytes, but none to those that are kept.
        let upper = w.add(code_bytes(4) + lane + if BITS == 6 { half * NR * 4 } else { 0 });
        let u = _mm256_load_si256(upper.cast());
        let u = match if BITS == 6 { 2 * g } else { half * 4 + g } {
            0 => _mm256_slli_epi16::<4>(u),
            1 => _mm256_slli_epi16::<3>(u),
            2 => _mm256_slli_epi16::<2>(u),
            3 => _mm256_slli_epi16::<1>(u),
            4 => u,
            5 => _mm256_srli_epi16::<1>(u),
            6 => _mm256_srli_epi16::<2>(u),
            _ => _mm256_srli_epi16::<3>(u),
        };
        _mm256_or_si256(q, _mm256_and_si256(u, _mm256_set1_epi8(if BITS == 6 { 48 } else { 16 })))
    }
}
