//! The product with weights as a file has them, read where they lie: for machines whose flash is larger than their memory.
//! Portable Rust without pointers; the sums are those of the packed kernels in the same order, so the bits are the same.

use super::quantize::{ActBlock, Start, block};
use super::scalar::fma;
use super::{BLOCK, Matrix, NR, Window, k};
use crate::cpu::{Activation, Context, Epilogue};
use crate::quant::{DType, decode_blocks, super_block};
use half::f16;

/// Rows of output made at a time: each stored row is read once for so many.
const TILE: usize = 8;

type Acc = [[f32; NR]; TILE];

/// What all tiles read.
struct Product<'a> {
    window: &'a Window,
    x: &'a [f32],
    w: &'a Matrix,
    /// Stored, of `row` bytes each.
    rows: &'a [u8],
    row: usize,
}

/// As [`super::run`], which has checked the sizes, without memory of its own: activations are quantized as they are met, again
/// for each tap and 32 features. `rows` are those of `w`.
pub(super) fn run(ctx: &Context, window: &Window, x: &[f32], w: &Matrix, rows: &[u8], e: &Epilogue, y: &mut [f32]) {
    let product = Product { window, x, w, rows, row: rows.len() / (w.out() * w.taps()) };
    let gated = e.activation == Activation::Geglu;
    let c_out = if gated { w.out() / 2 } else { w.out() };
    ctx.pool.for_chunks(y, TILE * c_out, &|i, y| {
        for channel in (0..c_out).step_by(NR) {
            let channels = NR.min(c_out - channel);
            let acc = product.tile(i * TILE, y.len() / c_out, channel, channels);
            let gate = gated.then(|| product.tile(i * TILE, y.len() / c_out, c_out + channel, channels));
            for (m, y) in y.chunks_exact_mut(c_out).enumerate() {
                let (index, out) = ((i * TILE + m) * c_out + channel, &mut y[channel..][..channels]);
                let gate = gate.as_ref().map(|gate| &gate[m][..channels]);
                e.finish_row(&acc[m][..channels], gate, [channel, c_out], index, out);
            }
        }
    });
}

impl Product<'_> {
    /// The sums of `count` output pixels and some features.
    fn tile(&self, first: usize, count: usize, feature: usize, features: usize) -> Acc {
        let (w, mut acc) = (self.w, [[0.0; NR]; TILE]);
        for tap in 0..w.taps() {
            let pixel = |i: usize| if i < count { pixel_under(self.window, first + i, tap) } else { None };
            let pixels: [_; TILE] = core::array::from_fn(pixel);
            let row = |n: usize| &self.rows[((feature + n) * w.taps() + tap) * self.row..][..self.row];
            if !w.format().is_quantized() {
                for n in 0..features {
                    floats(w, row(n), self.x, &pixels[..count], n, &mut acc);
                }
                continue;
            }
            let (parts, sums) = match w.dtype().block_len() / BLOCK {
                1 => (1, Start::Times(0)),
                parts => (parts, w.format().start()),
            };
            for b in 0..w.inp() / BLOCK {
                let codes_of =
                    |pixel: usize| self.x[pixel * w.inp() + b * BLOCK..].first_chunk().map(|x| block(x, sums));
                let x = pixels.map(|pixel| pixel.and_then(codes_of).unwrap_or(ActBlock::ZERO));
                let start = b / parts * w.dtype().block_bytes();
                for n in 0..features {
                    match parts {
                        1 => codes(w.dtype(), &row(n)[start..], &x[..count], n, &mut acc),
                        _ => part(w.dtype(), &row(n)[start..], b % parts, &x[..count], n, &mut acc),
                    }
                }
            }
        }
        acc
    }
}

/// The input pixel under a tap of an output pixel; none outside the picture.
fn pixel_under(s: &Window, row: usize, tap: usize) -> Option<usize> {
    let (x, rest) = (row % s.out_w, row / s.out_w);
    let (y, image) = (rest % s.out_h, rest / s.out_h);
    let iy = (y * s.stride + tap / s.kernel).checked_sub(s.top)? >> s.shift;
    let ix = (x * s.stride + tap % s.kernel).checked_sub(s.left)? >> s.shift;
    (iy < s.h && ix < s.w).then_some((image * s.h + iy) * s.w + ix)
}

/// `acc[i][n] += pixel i * row`, by fused multiply-adds in the order of the channels.
fn floats(w: &Matrix, row: &[u8], x: &[f32], pixels: &[Option<usize>], n: usize, acc: &mut Acc) {
    let dtype = w.dtype();
    for (c, stored) in row.chunks(BLOCK * dtype.block_bytes()).enumerate() {
        let mut weights = [0.0; BLOCK];
        let weights = &mut weights[..stored.len() / dtype.block_bytes()];
        decode_blocks(dtype, stored, weights);
        for (pixel, acc) in pixels.iter().zip(&mut *acc) {
            let zeros = [0.0; BLOCK];
            let x = pixel.map_or(&zeros[..], |pixel| &x[pixel * w.inp() + c * BLOCK..]);
            acc[n] = weights.iter().zip(x).fold(acc[n], |acc, (w, x)| fma(*x, *w, acc));
        }
    }
}

/// `acc[i][n] += (scale of the stored block * scale of x[i]) * exact sum of their codes`.
fn codes(dtype: DType, stored: &[u8], x: &[ActBlock], n: usize, acc: &mut Acc) {
    let stored = &stored[..dtype.block_bytes()];
    let scale = f16::from_le_bytes([stored[0], stored[1]]).to_f32_const();
    let mut weights = [0i8; BLOCK];
    if dtype == DType::Q4_0 {
        let (low, high) = weights.split_at_mut(BLOCK / 2);
        for ((low, high), code) in low.iter_mut().zip(high).zip(&stored[2..]) {
            (*low, *high) = ((code & 15) as i8 - 8, (code >> 4) as i8 - 8);
        }
    } else {
        weights.iter_mut().zip(&stored[2..]).for_each(|(w, code)| *w = code.cast_signed());
    }
    for (x, acc) in x.iter().zip(acc) {
        let sum: i32 = weights.iter().zip(&x.codes).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum();
        acc[n] += (scale * x.scale) * sum as f32;
    }
}

/// As [`codes`], of a part of a block of 256: [`k::add`].
fn part(dtype: DType, stored: &[u8], i: usize, x: &[ActBlock], n: usize, acc: &mut Acc) {
    let stored = &stored[..dtype.block_bytes()];
    let [d, dmin] = super_block::factors(dtype, stored).map(f16::to_f32_const);
    let super_block::Part { codes, scales } = super_block::part(dtype, stored, i);
    for (x, acc) in x.iter().zip(acc) {
        acc[n] = k::add(dtype == DType::Q6K, acc[n], [d, dmin], scales, k::sums(&codes, x), x);
    }
}
