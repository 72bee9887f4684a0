//! A convolution whose output takes the place of its input, for pictures that are large against the memory at hand.
//!
//! The picture is done in bands of rows: a band's input, with the rows that the kernel sees above and below, is copied
//! to scratch memory before its output is written over it. The same products as [`super::conv2d`] makes, with the same bits.

use super::conv2d::checked;
use super::matmul::{self, Window};
use super::{Context, Conv2dShape, Epilogue, Matrix};
use crate::quant::DType;

/// Bytes of input copied at a time: far more than the rows that are seen twice, far less than the pictures.
const BAND: usize = 8 << 20;
/// Elements that a task copies.
const CHUNK: usize = 1 << 16;

/// Rows of output made at a time.
fn band_rows(s: &Conv2dShape, bytes: usize) -> usize {
    (bytes / (s.w * s.c_in * size_of::<f32>()).max(1)).clamp(s.pad + s.pad_end + 1, s.h.max(s.pad + s.pad_end + 1))
}

/// Elements of the copied rows.
fn copied(s: &Conv2dShape, rows: usize) -> usize {
    (rows + s.pad + s.pad_end) * s.w * s.c_in
}

/// Bytes of scratch [`conv2d_in_place`] needs for weights of `dtype`.
pub fn conv2d_in_place_scratch(ctx: &Context, s: &Conv2dShape, dtype: DType) -> usize {
    scratch_of(ctx, s, dtype, band_rows(s, BAND))
}

fn scratch_of(ctx: &Context, s: &Conv2dShape, dtype: DType, rows: usize) -> usize {
    let pixels = (rows + s.pad + s.pad_end) * s.w;
    // Wherever the scratch begins, an f32's alignment is within 3 bytes.
    copied(s, rows) * size_of::<f32>() + 3 + matmul::scratch_bytes(ctx, [pixels, s.kernel * s.kernel, s.c_in], dtype)
}

/// As [`super::conv2d`], in place: `x` holds the input, `[n][h][w][c_in]`, and afterwards begins with the output,
/// `[n][h][w][c_out]`; what follows that is arbitrary.
///
/// # Panics
/// As [`super::conv2d`]; and where the output has other sides or more channels than the input, or the picture is seen upsampled.
pub fn conv2d_in_place(ctx: &Context, s: &Conv2dShape, w: &Matrix, e: &Epilogue, scratch: &mut [u8], x: &mut [f32]) {
    in_bands(ctx, s, band_rows(s, BAND), w, e, scratch, x);
}

fn in_bands(ctx: &Context, s: &Conv2dShape, rows: usize, w: &Matrix, e: &Epilogue, scratch: &mut [u8], x: &mut [f32]) {
    checked(s, w);
    assert!(!s.upsample && s.stride == 1 && [s.out_h(), s.out_w()] == [s.h, s.w], "conv2d in place: sides");
    assert!(s.c_out <= s.c_in, "conv2d in place: more channels than there is room for");
    assert_eq!(x.len(), s.n * s.h * s.w * s.c_in, "conv2d in place: length of x");
    let (line, out_line) = (s.w * s.c_in, s.w * s.c_out);
    let start = scratch.as_ptr().align_offset(align_of::<f32>());
    let (band, scratch) = scratch[start..].split_at_mut(copied(s, rows) * size_of::<f32>());
    let band: &mut [f32] = bytemuck::cast_slice_mut(band);
    for picture in 0..s.n {
        for top in (0..s.h).step_by(rows) {
            let count = rows.min(s.h - top);
            // The band's line i is the picture's line top - pad + i; lines outside are zeros.
            let known = if top == 0 {
                band[..s.pad * line].fill(0.0);
                s.pad
            } else {
                band.copy_within(rows * line.., 0);
                s.pad + s.pad_end
            };
            let band = &mut band[..(count + s.pad + s.pad_end) * line];
            let first = (picture * s.h + top + known - s.pad) * line;
            let source = &x[first.min(x.len())..((picture + 1) * s.h * line).max(first).min(x.len())];
            ctx.pool.for_chunks(&mut band[known * line..], CHUNK, &|i, out| {
                let source = source.get(i * CHUNK..).unwrap_or_default();
                let (inside, outside) = out.split_at_mut(source.len().min(out.len()));
                inside.copy_from_slice(&source[..inside.len()]);
                outside.fill(0.0);
            });
            let window = Window {
                n: 1,
                h: count + s.pad + s.pad_end,
                w: s.w,
                shift: 0,
                out_h: count,
                out_w: s.w,
                kernel: s.kernel,
                stride: 1,
                top: 0,
                left: s.pad,
            };
            let range = (picture * s.h + top) * out_line..(picture * s.h + top + count) * out_line;
            let e = Epilogue { residual: e.residual.map(|r| &r[range.clone()]), ..*e };
            matmul::run(ctx, &window, band, w, &e, scratch, &mut x[range]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::super::{Activation, conv2d, conv2d_scratch};
    use super::*;
    use crate::cpu::Isa;
    use crate::quant::encode;
    use alloc::vec;
    use alloc::vec::Vec;

    /// n, h, w, c_in, c_out, kernel, zeros above and below.
    const SHAPES: [[usize; 8]; 7] = [
        [2, 13, 9, 64, 64, 3, 1, 1],
        [1, 10, 20, 64, 32, 3, 1, 1],
        [3, 7, 5, 96, 33, 1, 0, 0],
        [1, 9, 11, 32, 3, 5, 2, 2],
        [2, 6, 8, 32, 32, 3, 0, 2],
        [1, 1, 4, 64, 40, 3, 1, 1],
        [1, 8, 1, 32, 1, 3, 2, 0],
    ];

    /// Seen red with the rows kept of the band before off by one, with rows of the next picture below the last, with the
    /// residual of the first band for all, and with the output's rows as long as the input's.
    #[test]
    fn is_the_convolution_bit_for_bit() {
        for ([n, h, w, c_in, c_out, kernel, pad, pad_end], dtype) in
            SHAPES.into_iter().flat_map(|s| [DType::F32, DType::F16, DType::Q8_0].map(|dtype| (s, dtype)))
        {
            let s = Conv2dShape { n, h, w, upsample: false, c_in, c_out, kernel, stride: 1, pad, pad_end };
            let mut stored = Vec::new();
            encode(dtype, &random(c_out * kernel * kernel * c_in, 1), &mut stored).unwrap();
            let weights = Matrix::pack(dtype, &stored, c_out, kernel * kernel, c_in).unwrap();
            let (x, bias, residual) = (random(n * h * w * c_in, 2), random(c_out, 3), random(n * h * w * c_out, 4));
            let e = Epilogue { bias: &bias, residual: Some(&residual), activation: Activation::Silu };
            let ctx = Context::new(2);
            let mut want = vec![f32::NAN; residual.len()];
            conv2d(&ctx, &s, &x, &weights, &e, &mut vec![0xff; conv2d_scratch(&ctx, &s, dtype)], &mut want);
            let same = |y: &[f32]| y[..want.len()].iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
            for isa in Isa::available() {
                let ctx = Context::with_isa(2, isa).unwrap();
                for rows in [pad + pad_end + 1, 4.max(pad + pad_end + 1), h.max(pad + pad_end + 1)] {
                    // Stale scratch must not show; nor where it begins.
                    let mut scratch = vec![0xff; scratch_of(&ctx, &s, dtype, rows) + 1];
                    let mut y = x.clone();
                    in_bands(&ctx, &s, rows, &weights, &e, &mut scratch[1..], &mut y);
                    assert!(same(&y), "{s:?}, {}, {rows} rows at a time, {isa}", dtype.name());
                }
            }
            let mut y = x.clone();
            conv2d_in_place(&ctx, &s, &weights, &e, &mut vec![0; conv2d_in_place_scratch(&ctx, &s, dtype)], &mut y);
            assert!(same(&y), "{s:?}, {}", dtype.name());
        }
    }
}
