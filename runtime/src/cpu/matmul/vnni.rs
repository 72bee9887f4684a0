//! Quantized kernels for AVX-512 VNNI: `vpdpbusd` multiplies unsigned weights (code + offset) with broadcast signed
//! activations; the accumulator starts at -offset times the activations' sum, which takes the offset out again.
#![allow(unsafe_code)] // intrinsics, and reads through the tile's pointers

use super::pack::Format;
use super::quantize::ActBlock;
use super::{Acc, BLOCK, Kernel, NR, Taps, k};
use core::arch::x86_64::*;

pub(super) fn kernel(format: Format) -> Kernel {
    let accumulate = match format {
        Format::Q4 => whole::<true> as unsafe fn(&Taps, &mut Acc),
        Format::K4 => k::vnni::codes::<4>,
        Format::K5 => k::vnni::codes::<5>,
        Format::K6 => k::vnni::codes::<6>,
        _ => whole::<false>,
    };
    Kernel::new(ROWS, accumulate, super::avx512::finish)
}

/// Rows of the largest tile.
pub(super) const ROWS: usize = 6;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,f16c")]
unsafe fn whole<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe { rows::<HALF>(t, t.count, 0, &mut acc.0) }
}

/// Picks the smallest tile that holds `count` of the table's rows, from `from` on, whose sums are `acc`.
///
/// # Safety
/// As of [`Kernel::accumulate`]; there are so many rows, and sums for the smallest tile that holds them.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,f16c")]
pub(super) unsafe fn rows<const HALF: bool>(t: &Taps, count: usize, from: usize, acc: &mut [[f32; NR]]) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        match count {
            1 => tile::<1, HALF>(t, from, acc),
            2 => tile::<2, HALF>(t, from, acc),
            3..=4 => tile::<4, HALF>(t, from, acc),
            _ => tile::<ROWS, HALF>(t, from, acc),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,f16c")]
unsafe fn tile<const R: usize, const HALF: bool>(t: &Taps, from: usize, acc: &mut [[f32; NR]]) {
    let codes = if HALF { NR * BLOCK / 2 } else { NR * BLOCK };
    let low = _mm512_set1_epi8(15);
    // SAFETY: each pointer of the table has `steps` blocks behind it, the panel `steps` records of codes and scales for
    // each tap, aligned to 64 bytes, and R rows of `acc` exist.
    unsafe {
        let mut f = [[_mm512_setzero_ps(); 2]; R];
        for (f, acc) in f.iter_mut().zip(acc.iter()) {
            *f = [_mm512_load_ps(acc.as_ptr()), _mm512_load_ps(acc.as_ptr().add(16))];
        }
        let mut w = t.weights;
        for rows in t.rows {
            let rows: [*const ActBlock; R] = core::array::from_fn(|i| rows[from + i].cast());
            for b in 0..t.steps {
                let mut sum = [[_mm512_setzero_si512(); 2]; R];
                for i in 0..R {
                    sum[i] = [_mm512_set1_epi32((*rows[i].add(b)).start); 2];
                }
                for g in 0..8 {
                    let at = w.add(if HALF { g % 4 } else { g } * 128);
                    let (mut w0, mut w1) = (_mm512_load_si512(at.cast()), _mm512_load_si512(at.add(64).cast()));
                    if HALF {
                        if g >= 4 {
                            (w0, w1) = (_mm512_srli_epi16::<4>(w0), _mm512_srli_epi16::<4>(w1));
                        }
                        (w0, w1) = (_mm512_and_si512(w0, low), _mm512_and_si512(w1, low));
                    }
                    for i in 0..R {
                        let x = (*rows[i].add(b)).codes.as_ptr().add(g * 4).cast::<i32>();
                        let x = _mm512_set1_epi32(x.read_unaligned());
                        sum[i][0] = _mm512_dpbusd_epi32(sum[i][0], w0, x);
                        sum[i][1] = _mm512_dpbusd_epi32(sum[i][1], w1, x);
                    }
                }
                let d0 = _mm512_cvtph_ps(_mm256_load_si256(w.add(codes).cast()));
                let d1 = _mm512_cvtph_ps(_mm256_load_si256(w.add(codes + 32).cast()));
                w = w.add(codes + NR * 2);
                for i in 0..R {
                    let scale = _mm512_set1_ps((*rows[i].add(b)).scale);
                    let p0 = _mm512_mul_ps(_mm512_mul_ps(d0, scale), _mm512_cvtepi32_ps(sum[i][0]));
                    let p1 = _mm512_mul_ps(_mm512_mul_ps(d1, scale), _mm512_cvtepi32_ps(sum[i][1]));
                    f[i] = [_mm512_add_ps(f[i][0], p0), _mm512_add_ps(f[i][1], p1)];
                }
            }
        }
        for (f, acc) in f.iter().zip(acc) {
            _mm512_store_ps(acc.as_mut_ptr(), f[0]);
            _mm512_store_ps(acc.as_mut_ptr().add(16), f[1]);
        }
    }
}
