//! Two-dimensional convolution of NHWC pictures, as an indirect matrix product: no picture is unfolded.

use super::matmul::{self, Window};
use super::{Context, Epilogue, Matrix};
use crate::quant::DType;

/// Sizes of a convolution: square kernel, the same stride down and across.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conv2dShape {
    /// Pictures.
    pub n: usize,
    /// Input height in pixels.
    pub h: usize,
    /// Input width in pixels.
    pub w: usize,
    /// The kernel sees the input twice as high and wide, each pixel repeated (nearest neighbour).
    pub upsample: bool,
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Kernel height and width.
    pub kernel: usize,
    /// Pixels between two positions of the kernel.
    pub stride: usize,
    /// Rows of zeros above the picture, and columns left of it.
    pub pad: usize,
    /// Rows of zeros below the picture, and columns right of it.
    pub pad_end: usize,
}

impl Conv2dShape {
    /// Output height: `(h + pad + pad_end - kernel) / stride + 1`, or 0 where the kernel does not fit; with `upsample`, `2 h` in
    /// place of `h`.
    pub fn out_h(&self) -> usize {
        self.positions(self.h)
    }

    /// Output width, as [`Self::out_h`].
    pub fn out_w(&self) -> usize {
        self.positions(self.w)
    }

    fn positions(&self, size: usize) -> usize {
        let padded = (size << u32::from(self.upsample)) + self.pad + self.pad_end;
        if self.stride == 0 || self.kernel == 0 || padded < self.kernel {
            return 0;
        }
        (padded - self.kernel) / self.stride + 1
    }

    fn window(&self) -> Window {
        Window {
            n: self.n,
            h: self.h,
            w: self.w,
            shift: u32::from(self.upsample),
            out_h: self.out_h(),
            out_w: self.out_w(),
            kernel: self.kernel,
            stride: self.stride,
            top: self.pad,
            left: self.pad,
        }
    }
}

/// Bytes of scratch [`conv2d`] needs for weights of `dtype`.
pub fn conv2d_scratch(ctx: &Context, s: &Conv2dShape, dtype: DType) -> usize {
    matmul::scratch_bytes(ctx, [s.n * s.h * s.w, s.kernel * s.kernel, s.c_in], dtype)
}

/// `y = activation(conv(x, w) + bias + residual)`.
///
/// `x` is `[n][h][w][c_in]` (with `upsample`, each pixel stands for 2 x 2 of them, which are nowhere made), `w` is packed from `[c_out][kernel][kernel][c_in]`, `y` and the residual are
/// `[n][out_h][out_w][c_out]`. A tap outside the picture multiplies zeros (it is not left out: so the order of
/// operations, and with it every bit, is the same at the border and inside).
///
/// # Panics
/// If a slice's length does not fit the shape, or `scratch` is shorter than [`conv2d_scratch`] says. A plan checks
/// shapes once, before anything runs.
pub fn conv2d(ctx: &Context, s: &Conv2dShape, x: &[f32], w: &Matrix, e: &Epilogue, scratch: &mut [u8], y: &mut [f32]) {
    checked(s, w);
    matmul::run(ctx, &s.window(), x, w, e, scratch, y);
}

/// # Panics
/// Where the weights are of another shape.
pub(super) fn checked(s: &Conv2dShape, w: &Matrix) {
    assert_eq!((w.out(), w.taps(), w.inp()), (s.c_out, s.kernel * s.kernel, s.c_in), "conv2d: weights' shape");
}
