//! The kernels for WebAssembly's vectors against the portable ones, bit for bit: tests/browser.sh runs it in Node.
//!
//! Seen red with the rounding halfway not looked at, with the pairs of a group's inputs exchanged, with a group left out, with
//! half bytes not masked, with infinite f16 weights left finite, and with the start left out.

use nijimi_runtime::quant::{DType, encode};
use nijimi_runtime::raw::cpu::{Context, Conv2dShape, Epilogue, Isa, Matrix, conv2d, conv2d_scratch};
use std::fmt::Write;

const FORMATS: [DType; 8] =
    [DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4K, DType::Q5K, DType::Q6K];

/// What differs, as text: where it begins.
#[unsafe(no_mangle)]
pub extern "C" fn check() -> *const u8 {
    let mut found = String::new();
    if Isa::detect() != Isa::Simd128 {
        found += "built without vectors\n";
    }
    // Tiles of one row and of four, a last panel of few channels, taps outside the picture.
    for [n, h, w, c_in, c_out, kernel] in [
        [1, 1, 1, 32, 1, 1],
        [1, 5, 7, 64, 100, 3],
        [2, 3, 3, 33, 40, 1],
        [1, 4, 4, 320, 32, 3],
        [3, 9, 2, 96, 70, 3],
        [1, 3, 3, 512, 40, 3],
    ] {
        let pad = kernel / 2;
        let shape = Conv2dShape { n, h, w, c_in, c_out, kernel, stride: 1, upsample: false, pad, pad_end: pad };
        for dtype in FORMATS.into_iter().filter(|dtype| dtype.row_bytes(c_in).is_some()) {
            let mut stored = Vec::new();
            encode(dtype, &noise(c_out * kernel * kernel * c_in, 1), &mut stored).unwrap();
            compare(&mut found, "noise", &shape, dtype, &stored, &noise(n * h * w * c_in, 2));
        }
    }
    let shape = |c_in| Conv2dShape {
        n: 1,
        h: 1,
        w: 5,
        c_in,
        c_out: 40,
        kernel: 1,
        stride: 1,
        upsample: false,
        pad: 0,
        pad_end: 0,
    };
    // A sum that f64 rounds to halfway between two f32: see `scalar::fma`.
    let e = f32::from_bits((127 - 20) << 23);
    let weights = [1.0, (1.0 - e) / 4096.0].repeat(40);
    let x = [1.0 + f32::EPSILON, (1.0 + e) / 4096.0].repeat(5);
    let stored: Vec<u8> = weights.iter().flat_map(|w: &f32| w.to_le_bytes()).collect();
    compare(&mut found, "halfway", &shape(2), DType::F32, &stored, &x);
    // Every f16: 32 in a row, of which 40 rows are compared at a time; what is not finite stays so.
    for first in (0..=u16::MAX).step_by(40 * 32) {
        let stored: Vec<u8> = (0..40 * 32).flat_map(|i| first.wrapping_add(i).to_le_bytes()).collect();
        compare(&mut found, "f16", &shape(32), DType::F16, &stored, &noise(5 * 32, 3));
    }
    // Codes at their limits.
    for dtype in [DType::Q8_0, DType::Q4_0] {
        for (fill, sign) in [(0x80, 1.0), (0x80, -1.0), (0x7f, 1.0), (0x00, 1.0), (0xff, -1.0)] {
            let mut stored = vec![fill; dtype.row_bytes(64).unwrap() * 40];
            for (i, block) in stored.chunks_exact_mut(dtype.block_bytes()).enumerate() {
                // Scales of 1, and infinite, NaN, and below normal.
                block[..2].copy_from_slice(&[0x3c00u16, 0x3c00, 0x7c00, 0x7e00, 0x0001][i % 5].to_le_bytes());
            }
            compare(&mut found, "limits", &shape(64), dtype, &stored, &[127.0 * sign; 5 * 64]);
        }
    }
    found.push('\0');
    found.leak().as_ptr()
}

fn compare(found: &mut String, what: &str, shape: &Conv2dShape, dtype: DType, stored: &[u8], x: &[f32]) {
    let weights = Matrix::pack(dtype, stored, shape.c_out, shape.kernel * shape.kernel, shape.c_in).unwrap();
    let [scalar, vectors] = [Isa::Scalar, Isa::detect()].map(|isa| {
        let ctx = Context::with_isa(1, isa).unwrap();
        let mut y = vec![0.0; shape.n * shape.out_h() * shape.out_w() * shape.c_out];
        let mut scratch = vec![0xff; conv2d_scratch(&ctx, shape, dtype)];
        conv2d(&ctx, shape, x, &weights, &Epilogue::NONE, &mut scratch, &mut y);
        y
    });
    // NaNs have many bits, of which no kernel promises any.
    let same = |(a, b): &(&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    let wrong = scalar.iter().zip(&vectors).filter(|pair| !same(pair)).count();
    if wrong > 0 {
        let _ = writeln!(found, "{what}, {dtype:?}, {shape:?}: {wrong} of {} values differ", scalar.len());
    }
}

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed.wrapping_mul(747_796_405).wrapping_add(1);
    let mut next = || {
        s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (s >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}
