//! Float kernels for AVX-512: 12 rows by 32 channels in 24 registers, two of weights, inputs broadcast.
#![allow(unsafe_code)] // intrinsics, and reads through the tile's pointers

use super::pack::Format;
use super::{Acc, Kernel, NR, Taps, Target};
use core::arch::x86_64::*;

pub(super) fn kernel(format: Format) -> Kernel {
    let accumulate = if format == Format::F16 { rows::<true> as unsafe fn(&Taps, &mut Acc) } else { rows::<false> };
    Kernel::new(12, accumulate, finish)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn finish(target: &Target, acc: &Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe { target.store(acc) }
}

/// Picks the smallest tile that holds the rows; how many are computed together changes no result.
#[target_feature(enable = "avx512f,f16c")]
unsafe fn rows<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        match t.count {
            1 => tile::<1, HALF>(t, acc),
            2 => tile::<2, HALF>(t, acc),
            3..=4 => tile::<4, HALF>(t, acc),
            5..=8 => tile::<8, HALF>(t, acc),
            _ => tile::<12, HALF>(t, acc),
        }
    }
}

#[target_feature(enable = "avx512f,f16c")]
unsafe fn tile<const R: usize, const HALF: bool>(t: &Taps, acc: &mut Acc) {
    // SAFETY: each pointer of the table has `steps` f32 behind it, the panel `steps` records of NR weights for each
    // tap, aligned to 64 bytes, and R rows of `acc` exist.
    unsafe {
        let mut a = [[_mm512_setzero_ps(); 2]; R];
        for (a, acc) in a.iter_mut().zip(&acc.0) {
            *a = [_mm512_load_ps(acc.as_ptr()), _mm512_load_ps(acc.as_ptr().add(16))];
        }
        let mut w = t.weights;
        for rows in t.rows {
            let rows: [*const f32; R] = core::array::from_fn(|i| rows[i].cast());
            for c in 0..t.steps {
                let (w0, w1);
                if HALF {
                    w0 = _mm512_cvtph_ps(_mm256_load_si256(w.cast()));
                    w1 = _mm512_cvtph_ps(_mm256_load_si256(w.add(32).cast()));
                    w = w.add(NR * 2);
                } else {
                    w0 = _mm512_load_ps(w.cast());
                    w1 = _mm512_load_ps(w.add(64).cast());
                    w = w.add(NR * 4);
                }
                for i in 0..R {
                    let x = _mm512_set1_ps(*rows[i].add(c));
                    a[i][0] = _mm512_fmadd_ps(x, w0, a[i][0]);
                    a[i][1] = _mm512_fmadd_ps(x, w1, a[i][1]);
                }
            }
        }
        for (a, acc) in a.iter().zip(&mut acc.0) {
            _mm512_store_ps(acc.as_mut_ptr(), a[0]);
            _mm512_store_ps(acc.as_mut_ptr().add(16), a[1]);
        }
    }
}
