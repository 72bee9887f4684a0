//! For AVX-512 VNNI: six rows by 32 channels.

use super::super::quantize::ActBlock;
use super::super::{Acc, NR, Taps};
use super::{OFFSET, code_bytes, factor_bytes, part_bytes};
use crate::quant::super_block::PARTS;
use core::arch::x86_64::*;

/// Picks the smallest tile that holds the rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,f16c")]
pub(in super::super) unsafe fn codes<const BITS: usize>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        match t.count {
            1 => tile::<1, BITS>(t, acc),
            2 => tile::<2, BITS>(t, acc),
            3..=4 => tile::<4, BITS>(t, acc),
            _ => tile::<6, BITS>(t, acc),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,f16c")]
unsafe fn tile<const R: usize, const BITS: usize>(t: &Taps, acc: &mut Acc) {
    // SAFETY: each pointer of the table has `steps` times PARTS blocks behind it, the panel `steps` records for each tap,
    // aligned to 64 bytes, and R rows of `acc` exist.
    unsafe {
        let mut f = [[_mm512_setzero_ps(); 2]; R];
        for (f, acc) in f.iter_mut().zip(&acc.0) {
            *f = [_mm512_load_ps(acc.as_ptr()), _mm512_load_ps(acc.as_ptr().add(16))];
        }
        let halves = |at: *const u8| [0, 32].map(|lane| _mm512_cvtph_ps(_mm256_load_si256(at.add(lane).cast())));
        let mut w = t.weights;
        for rows in t.rows {
            let rows: [*const ActBlock; R] = core::array::from_fn(|i| rows[i].cast());
            for s in 0..t.steps {
                let factors = w;
                w = w.add(factor_bytes(BITS));
                for b in s * PARTS..(s + 1) * PARTS {
                    let scales = w.add(code_bytes(BITS));
                    let mut sum = [[_mm512_setzero_si512(); 2]; R];
                    for half in 0..2 {
                        if BITS == 6 {
                            for i in 0..R {
                                sum[i] = [_mm512_set1_epi32(-OFFSET * (*rows[i].add(b)).halves()[half]); 2];
                            }
                        }
                        for g in 0..4 {
                            let q = [0, 64].map(|lane| group::<BITS>(w, half, g, lane));
                            for i in 0..R {
                                let x = (*rows[i].add(b)).codes.as_ptr().add((half * 4 + g) * 4).cast::<i32>();
                                let x = _mm512_set1_epi32(x.read_unaligned());
                                sum[i][0] = _mm512_dpbusd_epi32(sum[i][0], q[0], x);
                                sum[i][1] = _mm512_dpbusd_epi32(sum[i][1], q[1], x);
                            }
                        }
                        if BITS < 6 && half == 0 {
                            continue;
                        }
                        let d = halves(factors);
                        let at = if BITS == 6 { scales.add(half * NR) } else { scales };
                        for j in 0..2 {
                            let q = _mm_load_si128(at.add(16 * j).cast());
                            let q = if BITS == 6 { _mm512_cvtepi8_epi32(q) } else { _mm512_cvtepu8_epi32(q) };
                            let d = _mm512_mul_ps(d[j], _mm512_cvtepi32_ps(q));
                            for i in 0..R {
                                let scale = _mm512_set1_ps((*rows[i].add(b)).scale);
                                let p = _mm512_mul_ps(_mm512_mul_ps(d, scale), _mm512_cvtepi32_ps(sum[i][j]));
                                f[i][j] = _mm512_add_ps(f[i][j], p);
                            }
                        }
                    }
                    if BITS < 6 {
                        let dmin = halves(factors.add(NR * 2));
                        for j in 0..2 {
                            let q = _mm_load_si128(scales.add(NR + 16 * j).cast());
                            let min = _mm512_mul_ps(dmin[j], _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(q)));
                            for i in 0..R {
                                let x = &*rows[i].add(b);
                                let p = _mm512_mul_ps(min, _mm512_set1_ps(x.scale * x.start as f32));
                                f[i][j] = _mm512_add_ps(f[i][j], p);
                            }
                        }
                    }
                    w = w.add(part_bytes(BITS));
                }
            }
        }
        for (f, acc) in f.iter().zip(&mut acc.0) {
            _mm512_store_ps(acc.as_mut_ptr(), f[0]);
            _mm512_store_ps(acc.as_mut_ptr().add(16), f[1]);
        }
    }
}

/// The codes of inputs `16 half + 4 g` to `+ 3` of the 16 outputs whose bytes are from `lane` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn group<const BITS: usize>(w: *const u8, half: usize, g: usize, lane: usize) -> __m512i {
    // SAFETY: the part begins at `w`, aligned to 64 bytes; `half` is below 2, `g` below 4, `lane` 0 or 64.
    unsafe {
        let mut q = _mm512_load_si512(w.add(g * 128 + lane).cast());
        if half == 1 {
            q = _mm512_srli_epi16::<4>(q);
        }
        let low = _mm512_set1_epi8(15);
        if BITS == 4 {
            return _mm512_and_si512(q, low);
        }
        // Shifts of 16 bits move bits between bytes, but none to those that are kept.
        let upper = w.add(code_bytes(4) + lane + if BITS == 6 { half * NR * 4 } else { 0 });
        let u = _mm512_load_si512(upper.cast());
        let u = match if BITS == 6 { 2 * g } else { half * 4 + g } {
            0 => _mm512_slli_epi16::<4>(u),
            1 => _mm512_slli_epi16::<3>(u),
            2 => _mm512_slli_epi16::<2>(u),
            3 => _mm512_slli_epi16::<1>(u),
            4 => u,
            5 => _mm512_srli_epi16::<1>(u),
            6 => _mm512_srli_epi16::<2>(u),
            _ => _mm512_srli_epi16::<3>(u),
        };
        let u = _mm512_and_si512(u, _mm512_set1_epi8(if BITS == 6 { 48 } else { 16 }));
        _mm512_ternarylogic_epi32::<0xea>(q, low, u) // q & low | u
    }
}
