//! The kernels in portable Rust: what the others are compared with, and what bare metal runs.
#![allow(unsafe_code)] // reads through the tile's pointers

use super::pack::Format;
use super::quantize::ActBlock;
use super::{Acc, BLOCK, Kernel, NR, Taps, Target, k};
use half::f16;

pub(super) fn kernel(format: Format) -> Kernel {
    let accumulate = match format {
        Format::F32 => float::<false> as unsafe fn(&Taps, &mut Acc),
        Format::F16 => float::<true>,
        Format::Q8 => codes::<false>,
        Format::Q4 => codes::<true>,
        Format::K4 => k::scalar::codes::<4>,
        Format::K5 => k::scalar::codes::<5>,
        Format::K6 => k::scalar::codes::<6>,
    };
    Kernel::new(4, accumulate, finish)
}

unsafe fn finish(target: &Target, acc: &Acc) {
    // SAFETY: the caller's promise is the same.
    unsafe { target.store(acc) }
}

/// a * b + c, rounded once. The product of two f32 is exact in f64; the sum is then rounded twice, which differs from
/// rounding once only where f64 landed halfway between two f32 (the low 29 bits are 100..0): libm settles those.
#[inline(always)]
pub(super) fn fma(a: f32, b: f32, c: f32) -> f32 {
    let r = f64::from(a) * f64::from(b) + f64::from(c);
    if r.to_bits() & 0x1fff_ffff == 0x1000_0000 { libm::fmaf(a, b, c) } else { r as f32 }
}

unsafe fn float<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    let mut weights = t.weights;
    for rows in t.rows {
        for c in 0..t.steps {
            // SAFETY: the panel has a record of NR weights for each step, aligned to 64 bytes; any bits are a number.
            let w: [f32; NR] = unsafe {
                if HALF {
                    let w = &*weights.cast::<[u16; NR]>();
                    weights = weights.add(NR * 2);
                    w.map(|v| f16::from_bits(v).to_f32_const())
                } else {
                    let w = *weights.cast::<[f32; NR]>();
                    weights = weights.add(NR * 4);
                    w
                }
            };
            for (row, acc) in rows.iter().zip(&mut acc.0).take(t.count) {
                // SAFETY: the pixel behind each pointer has `steps` f32.
                let x = unsafe { *row.cast::<f32>().add(c) };
                for (acc, w) in acc.iter_mut().zip(w) {
                    *acc = fma(x, w, *acc);
                }
            }
        }
    }
}

unsafe fn codes<const HALF: bool>(t: &Taps, acc: &mut Acc) {
    let format = if HALF { Format::Q4 } else { Format::Q8 };
    let codes = if HALF { NR * BLOCK / 2 } else { NR * BLOCK };
    let mut weights = t.weights;
    for rows in t.rows {
        for b in 0..t.steps {
            // SAFETY: the panel has a record of codes and NR f16 scales for each step, aligned to 64 bytes.
            let (q, d) = unsafe {
                let record = weights;
                weights = weights.add(format.step_bytes());
                (core::slice::from_raw_parts(record, codes), &*record.add(codes).cast::<[u16; NR]>())
            };
            for (row, acc) in rows.iter().zip(&mut acc.0).take(t.count) {
                // SAFETY: the pixel behind each pointer has `steps` blocks.
                let x = unsafe { &*row.cast::<ActBlock>().add(b) };
                for (n, acc) in acc.iter_mut().enumerate() {
                    let mut sum = x.start;
                    for (i, x) in x.codes.iter().enumerate() {
                        let (group, shift) = if HALF { (i / 4 % 4, i / 16 * 4) } else { (i / 4, 0) };
                        let code = q[(group * NR + n) * 4 + i % 4] >> shift;
                        sum += i32::from(if HALF { code & 15 } else { code }) * i32::from(*x);
                    }
                    *acc += (f16::from_bits(d[n]).to_f32_const() * x.scale) * sum as f32;
                }
            }
        }
    }
}
