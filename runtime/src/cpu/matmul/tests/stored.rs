//! Weights read as they are stored against the packed ones, bit for bit.

use super::*;
use crate::plan::KernelError;

/// Of any alignment, as in flash.
fn lasting(bytes: &[u8]) -> &'static [u8] {
    let mut unaligned = vec![0];
    unaligned.extend(bytes);
    &unaligned.leak()[1..]
}

fn assert_same(case: &Case) {
    let s = &case.shape;
    let stored = lasting(&case.stored).into();
    let stored = Matrix::stored(case.dtype, stored, s.c_out, s.kernel * s.kernel, s.c_in).unwrap();
    assert_eq!(stored.bytes(), 0);
    let packed = bits(&case.run(&Context::with_isa(1, Isa::Scalar).unwrap()));
    for threads in [1, 3] {
        let ctx = Context::new(threads);
        assert!(bits(&case.product(&ctx, &stored)) == packed, "{threads} threads, {s:?}, {:?}", case.dtype);
    }
}

/// Seen red with every block of a row taken from its first, with the halves of a 4-bit block exchanged, with separate
/// multiply and add for floats, with the scales multiplied after the sum, and with taps outside taken as pixel 0.
#[test]
fn stored_weights_give_the_bits_of_packed_ones() {
    for case in cases() {
        assert_same(&case);
    }
}

/// A damaged file's weights: a tap outside multiplies infinity by zero, and must not hide it. Seen red with taps outside
/// skipped.
#[test]
fn what_is_not_finite_is_the_same() {
    for case in cases().iter_mut().filter(|case| case.shape.kernel == 3) {
        let block = case.dtype.block_bytes();
        for (i, stored) in case.stored.chunks_exact_mut(block).enumerate().filter(|(i, _)| i % 7 == 0) {
            let bad = if i % 2 == 0 { f32::INFINITY } else { f32::NAN };
            match case.dtype {
                DType::F32 => stored.copy_from_slice(&bad.to_le_bytes()),
                DType::BF16 => stored.copy_from_slice(&bad.to_le_bytes()[2..]),
                DType::Q6K => stored[208..].copy_from_slice(&half::f16::from_f32(bad).to_le_bytes()),
                _ => stored[..2].copy_from_slice(&half::f16::from_f32(bad).to_le_bytes()),
            }
        }
        assert_not_finite_same(case);
    }
}

/// NaNs have many bits, of which no kernel promises any.
fn assert_not_finite_same(case: &Case) {
    let s = &case.shape;
    let stored = Matrix::stored(case.dtype, case.stored.clone().into(), s.c_out, s.kernel * s.kernel, s.c_in).unwrap();
    let ctx = Context::with_isa(1, Isa::Scalar).unwrap();
    let same = |a: &f32, b: &f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    let (packed, stored) = (case.run(&ctx), case.product(&ctx, &stored));
    assert!(packed.iter().zip(&stored).all(|(a, b)| same(a, b)), "{s:?}, {:?}", case.dtype);
    assert!(packed.iter().any(|v| !v.is_finite()));
}

/// Seen red with the gate's features taken from the value's.
#[test]
fn gated_layers_give_the_bits_of_packed_ones() {
    let ctx = Context::with_isa(1, Isa::Scalar).unwrap();
    for (rows, inp, out) in [(1, 1, 1), (5, 64, 7), (13, 33, 32), (29, 32, 33), (2, 64, 100), (3, 256, 7)] {
        for dtype in FORMATS.into_iter().filter(|dtype| dtype.row_bytes(inp).is_some()) {
            let mut stored = Vec::new();
            encode(dtype, &noise(2 * out * inp, 1), &mut stored).unwrap();
            let (x, bias, residual) = (noise(rows * inp, 2), noise(2 * out, 3), noise(rows * out, 4));
            let e = Epilogue { bias: &bias, residual: Some(&residual), activation: Activation::Geglu };
            let [packed, stored] = [
                Matrix::pack(dtype, &stored, 2 * out, 1, inp).unwrap(),
                Matrix::stored(dtype, stored.into(), 2 * out, 1, inp).unwrap(),
            ]
            .map(|w| {
                let mut scratch = vec![0xff; linear_scratch(&ctx, rows, inp, dtype)];
                let mut y = vec![f32::NAN; rows * out];
                linear(&ctx, rows, &x, &w, &e, &mut scratch, &mut y);
                bits(&y)
            });
            assert!(packed == stored, "{dtype:?}, {rows} x {inp} -> {out}");
        }
    }
}

/// Seen red with the length not looked at.
#[test]
fn wrong_stored_weights_are_refused() {
    let new = |dtype, bytes: usize, inp| Matrix::stored(dtype, vec![0; bytes].into(), 2, 3, inp);
    assert!(matches!(new(DType::Q8_0, 6 * 34, 33), Err(KernelError::PartialBlock { .. })));
    assert!(matches!(new(DType::F16, 11, 1), Err(KernelError::WeightBytes { expected: 12, got: 11, .. })));
    assert!(matches!(new(DType::F32, 0, 0), Err(KernelError::EmptyMatrix { .. })));
    let m = new(DType::Q4_0, 6 * 18, 32).unwrap();
    assert_eq!((m.out(), m.taps(), m.inp(), m.dtype(), m.bytes()), (2, 3, 32, DType::Q4_0, 6 * 18));
}
