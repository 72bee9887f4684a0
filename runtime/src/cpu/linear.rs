//! A linear layer: the matrix product with one tap.

use super::matmul::{self, Window};
use super::{Context, Epilogue, Matrix};
use crate::quant::DType;

/// Bytes of scratch [`linear`] needs for `rows` rows of `inp` inputs and weights of `dtype`.
pub fn linear_scratch(ctx: &Context, rows: usize, inp: usize, dtype: DType) -> usize {
    matmul::scratch_bytes(ctx, [rows, 1, inp], dtype)
}

/// `y = activation(x w^T + bias + residual)`: `x` is `[rows][inp]`, `w` is packed from `[out][inp]` with one tap, `y`
/// and the residual are `[rows][out]`.
///
/// # Panics
/// If a slice's length does not fit the shape, or `scratch` is shorter than [`linear_scratch`] says.
pub fn linear(ctx: &Context, rows: usize, x: &[f32], w: &Matrix, e: &Epilogue, scratch: &mut [u8], y: &mut [f32]) {
    assert_eq!(w.taps(), 1, "linear: weights of a convolution");
    // One picture, one pixel high.
    let window = Window { n: 1, h: 1, w: rows, shift: 0, out_h: 1, out_w: rows, kernel: 1, stride: 1, top: 0, left: 0 };
    matmul::run(ctx, &window, x, w, e, scratch, y);
}
