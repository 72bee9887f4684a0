//! Normalization of each pixel's channels: the affine part a weight's, or each picture's own.

use super::simd::vectorized;
use super::{Context, ImageShape};

/// Elements that a task normalizes, where there are as many: some microseconds of work.
pub(super) const TASK: usize = 8192;
/// Sums side by side, folded in the same way at the end of a row on every instruction set.
const SIDE: usize = 32;

/// `y = (x - mean) / sqrt(variance + eps) * scale + bias` for each row of `c` channels, mean and (biased) variance of
/// the row in f64 (Ba, Kiros and Hinton 2016, "Layer Normalization"). `affine` is scale and bias, one number a channel.
/// Without `x`, in place.
///
/// # Panics
/// Where a length does not fit `c`.
pub fn layer_norm(ctx: &Context, c: usize, eps: f32, affine: [&[f32]; 2], x: Option<&[f32]>, y: &mut [f32]) {
    assert_eq!(affine.map(<[f32]>::len), [c, c], "layer_norm: lengths of scale and bias");
    assert!(x.is_none_or(|x| x.len() == y.len()), "layer_norm: length of x");
    if c == 0 {
        return;
    }
    let [scale, bias] = affine;
    let affine = Affine { scale, bias, c, per: usize::MAX, one: 0.0 };
    tasks(ctx, eps, &affine, x, y);
}

/// `y = (x - mean) / sqrt(variance + eps) * (1 + scale) + shift`, as [`layer_norm`]; scale and, if there is any, shift are one
/// vector a picture (Peebles and Xie 2022, adaLN). `s` is the shape of `y`. Without `x`, in place.
///
/// # Panics
/// Where a length does not fit `s`.
pub fn ada_layer_norm(
    ctx: &Context,
    s: ImageShape,
    eps: f32,
    scale: &[f32],
    shift: Option<&[f32]>,
    x: Option<&[f32]>,
    y: &mut [f32],
) {
    let ImageShape { n, h, w, c } = s;
    let lengths = [scale.len(), shift.map_or(n * c, <[f32]>::len)];
    assert_eq!(lengths, [n * c; 2], "ada_layer_norm: lengths of scale and shift");
    assert!(y.len() == n * h * w * c && x.is_none_or(|x| x.len() == y.len()), "ada_layer_norm: lengths of x and y");
    if !y.is_empty() {
        tasks(ctx, eps, &Affine { scale, bias: shift.unwrap_or(&[]), c, per: h * w, one: 1.0 }, x, y);
    }
}

/// Scale and bias, if there is any, of `c` numbers a picture of `per` rows; `one` is added to the scale.
struct Affine<'a> {
    scale: &'a [f32],
    bias: &'a [f32],
    c: usize,
    per: usize,
    one: f32,
}

fn tasks(ctx: &Context, eps: f32, affine: &Affine<'_>, x: Option<&[f32]>, y: &mut [f32]) {
    let each = TASK.div_ceil(affine.c);
    let chunk = each * affine.c;
    ctx.pool.for_chunks(y, chunk, &|task, y| {
        let x = x.map_or(&[][..], |x| &x[task * chunk..][..y.len()]);
        rows(ctx.isa(), x, eps, affine, task * each, y);
    });
}

vectorized!(rows(x: &[f32], eps: f32, affine: &Affine<'_>, first: usize, y: &mut [f32]) = rows_portable);

#[inline(always)]
fn rows_portable(x: &[f32], eps: f32, affine: &Affine<'_>, first: usize, y: &mut [f32]) {
    let (c, one) = (affine.c, affine.one);
    for (i, y) in y.chunks_exact_mut(c).enumerate() {
        let at = (first + i) / affine.per * c;
        let scale = &affine.scale[at..][..c];
        if !x.is_empty() {
            y.copy_from_slice(&x[i * c..][..c]);
        }
        let mean = sum(y, |v| v) / c as f64;
        let variance = sum(y, |v| (v - mean) * (v - mean)) / c as f64;
        let (mean, factor) = (mean as f32, (1.0 / libm::sqrt(variance + f64::from(eps))) as f32);
        if affine.bias.is_empty() {
            y.iter_mut().zip(scale).for_each(|(y, scale)| *y = (*y - mean) * factor * (one + scale));
            continue;
        }
        for ((y, scale), bias) in y.iter_mut().zip(scale).zip(&affine.bias[at..][..c]) {
            *y = (*y - mean) * factor * (one + scale) + bias;
        }
    }
}

/// The terms of a row, added up in one order on every instruction set.
#[inline(always)]
pub(super) fn sum(row: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let (whole, rest) = row.as_chunks::<SIDE>();
    let mut sums = [0.0; SIDE];
    for x in whole {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += term(f64::from(*x)));
    }
    rest.iter().fold(sums.iter().sum(), |sum, x| sum + term(f64::from(*x)))
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::super::rows::random;
    use super::*;
    use crate::cpu::Isa;
    use alloc::vec;
    use alloc::vec::Vec;

    const SHAPES: [(usize, usize); 7] = [(1, 1), (3, 2), (77, 5), (2, 768), (9, 33), (65, 320), (3, 10_000)];

    fn run(ctx: &Context, (rows, c): (usize, usize), step: u64) -> (Vec<f32>, Vec<f64>) {
        let (x, scale, bias) = (random(rows * c, step), random(c, step + 100), random(c, step + 200));
        let x: Vec<f32> = x.iter().map(|v| v * 3.0 + 2.0).collect();
        let mut y = vec![f32::NAN; x.len()];
        layer_norm(ctx, c, 1e-5, [&scale, &bias], Some(&x), &mut y);
        let mut same = x.clone();
        layer_norm(ctx, c, 1e-5, [&scale, &bias], None, &mut same);
        assert!(same == y, "{rows} x {c} in place");
        (y, definition::layer_norm(c, 1e-5, &x, [&scale, &bias]))
    }

    /// Seen red with the remainder of a row left out of the sums, with every row normalized by the first of its task, and
    /// with the unbiased variance.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        for (step, shape) in (0..).zip(SHAPES) {
            let (y, want) = run(&Context::new(2), shape, step);
            for (i, (y, want)) in y.iter().zip(&want).enumerate() {
                assert!((f64::from(*y) - want).abs() < 2e-6, "{shape:?} [{i}]: {y}, not {want}");
            }
        }
    }

    /// In place and not, with a shift and without. Seen red with picture 0's vectors for all, without the one, and, where there is
    /// no shift, with the one left out and with the mean.
    #[test]
    fn each_picture_has_an_affine_part_of_its_own() {
        for (step, (n, h, w, c)) in (0..).zip([(1, 1, 1, 1), (3, 2, 5, 7), (2, 33, 9, 64), (3, 1, 40, 320)]) {
            let (x, scale, shift) = (random(n * h * w * c, step), random(n * c, step + 9), random(n * c, step + 99));
            let s = ImageShape { n, h, w, c };
            for shift in [Some(&shift[..]), None] {
                let want = definition::ada_layer_norm([c, h * w], 1e-5, &x, &scale, shift);
                let mut first = vec![f32::NAN; x.len()];
                let ctx = Context::with_isa(1, Isa::Scalar).unwrap();
                ada_layer_norm(&ctx, s, 1e-5, &scale, shift, Some(&x), &mut first);
                for (i, (y, want)) in first.iter().zip(&want).enumerate() {
                    assert!((f64::from(*y) - want).abs() < 4e-6, "{s:?} [{i}]: {y}, not {want}");
                }
                for isa in Isa::available() {
                    let mut y = x.clone();
                    ada_layer_norm(&Context::with_isa(2, isa).unwrap(), s, 1e-5, &scale, shift, None, &mut y);
                    assert!(y == first, "{isa}, {s:?}");
                }
            }
        }
    }

    /// Seen red with another epsilon on the scalar set.
    #[test]
    fn every_instruction_set_and_any_threads_give_the_same_bits() {
        for (step, shape) in (0..).zip(SHAPES) {
            let want = run(&Context::with_isa(1, Isa::Scalar).unwrap(), shape, step).0;
            for isa in Isa::available() {
                assert!(run(&Context::with_isa(3, isa).unwrap(), shape, step).0 == want, "{isa}, {shape:?}");
            }
        }
    }

    /// Seen red with a NaN variance taken for none and the mean left out.
    #[test]
    fn nan_stays_in_its_row() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut y = vec![1.0; 4 * 40];
            y[45] = bad;
            layer_norm(&Context::new(1), 40, 1e-5, [&[1.0; 40], &[0.0; 40]], None, &mut y);
            for (i, row) in y.chunks_exact(40).enumerate() {
                assert!(row.iter().all(|v| v.is_nan() == (i == 1)), "row {i}");
            }
        }
    }
}
