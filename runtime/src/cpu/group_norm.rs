//! Normalization of ranges of channels over each picture.
//!
//! Two passes: sums and squares of each group, over parts of a picture that its shape alone determines, in f64 (where
//! the square of an f32 is exact); then each channel's mean, factor and bias. So a result depends neither on threads nor
//! on the batch.

use super::simd::vectorized;
use super::{Activation, Context, ImageShape, epilogue};

/// Elements of a part: it stays in a second-level cache.
const PART: usize = 16384;
/// Channels that are summed side by side.
const SIDE: usize = 32;

/// Pixels of a part, and parts of a picture.
fn parts(s: ImageShape) -> (usize, usize) {
    let pixels = (PART / s.c.max(1)).max(1);
    (pixels, (s.h * s.w).div_ceil(pixels))
}

/// Sums of all parts, f64; and a mean and a factor for each channel, f32.
fn scratch_lens(s: ImageShape, groups: usize) -> [usize; 2] {
    [s.n * parts(s).1 * groups * 2, s.n * s.c * 2]
}

/// Bytes of scratch [`group_norm`] needs.
pub fn group_norm_scratch(s: ImageShape, groups: usize) -> usize {
    let [sums, channels] = scratch_lens(s, groups);
    // Wherever the scratch begins, an f64's alignment is within 7 bytes.
    sums * size_of::<f64>() + channels * size_of::<f32>() + 7
}

/// `y = activation((x - mean) / sqrt(variance + eps) * scale + bias)`, mean and (biased) variance over each picture's
/// pixels and each of `groups` equal ranges of channels (Wu and He 2018, "Group Normalization"). `affine` is scale and
/// bias, one number a channel. `x`, `y` are `[n][h][w][c]`; without `x`, in place. Any activation but
/// [`Activation::Geglu`].
///
/// # Panics
/// Where a length does not fit `s`, or `scratch` is shorter than [`group_norm_scratch`] says.
pub fn group_norm(
    ctx: &Context,
    s: ImageShape,
    groups: usize,
    eps: f32,
    affine: [&[f32]; 2],
    activation: Activation,
    x: Option<&[f32]>,
    scratch: &mut [u8],
    y: &mut [f32],
) {
    let (picture, [scale, bias]) = (s.h * s.w * s.c, affine);
    assert_eq!((scale.len(), bias.len()), (s.c, s.c), "group_norm: lengths of scale and bias");
    assert!(groups > 0 && s.c.is_multiple_of(groups), "group_norm: groups do not divide the channels");
    assert_eq!((x.map_or(y.len(), <[f32]>::len), y.len()), (s.n * picture, s.n * picture), "group_norm: lengths");
    if y.is_empty() {
        return;
    }
    let ((pixels, parts), isa) = (parts(s), ctx.isa());
    let [sums, channels] = scratch_lens(s, groups);
    let start = scratch.as_ptr().align_offset(align_of::<f64>());
    let (sums, rest) = scratch[start..].split_at_mut(sums * size_of::<f64>());
    let sums: &mut [f64] = bytemuck::cast_slice_mut(sums);
    let channels: &mut [f32] = bytemuck::cast_slice_mut(&mut rest[..channels * size_of::<f32>()]);
    // The elements of a part, within its picture.
    let range = |i: usize| {
        let (n, part) = (i / parts, i % parts);
        n * picture + part * pixels * s.c..n * picture + ((part + 1) * pixels * s.c).min(picture)
    };

    let source = x.unwrap_or(&*y);
    ctx.pool.for_chunks(sums, 2 * groups, &|i, out| sum(isa, &source[range(i)], s.c, s.c / groups, out));
    let count = (picture / groups) as f64;
    for (sums, channels) in sums.chunks_exact(2 * groups * parts).zip(channels.chunks_exact_mut(2 * s.c)) {
        let (means, factors) = channels.split_at_mut(s.c);
        for c in 0..s.c {
            let group = c / (s.c / groups);
            if !c.is_multiple_of(s.c / groups) {
                (means[c], factors[c]) = (means[c - 1], factors[c - 1]);
                continue;
            }
            let total = |which: usize| sums[2 * group + which..].iter().step_by(2 * groups).sum::<f64>();
            let mean = total(0) / count;
            let variance = total(1) / count - mean * mean;
            // Rounding may leave less than nothing; a NaN stays.
            let variance = if variance < 0.0 { 0.0 } else { variance };
            (means[c], factors[c]) = (mean as f32, (1.0 / libm::sqrt(variance + f64::from(eps))) as f32);
        }
        factors.iter_mut().zip(scale).for_each(|(factor, scale)| *factor *= scale);
    }
    for (n, (y, channels)) in y.chunks_exact_mut(picture).zip(channels.chunks_exact(2 * s.c)).enumerate() {
        let (means, factors) = channels.split_at(s.c);
        ctx.pool.for_chunks(y, pixels * s.c, &|part, y| {
            let x = x.map_or(&[][..], |x| &x[range(n * parts + part)]);
            normalize(isa, x, [means, factors, bias], activation, y);
        });
    }
}

vectorized!(
    /// Sums, and sums of squares, of each group of `width` channels over the pixels of `x`: `out` is `[group][2]`.
    sum(x: &[f32], c: usize, width: usize, out: &mut [f64]) = sum_portable
);

#[inline(always)]
fn sum_portable(x: &[f32], c: usize, width: usize, out: &mut [f64]) {
    out.fill(0.0);
    for first in (0..c).step_by(SIDE) {
        let (mut sums, mut squares) = ([0.0f64; SIDE], [0.0f64; SIDE]);
        let side = SIDE.min(c - first);
        for pixel in x.chunks_exact(c) {
            let pixel = &pixel[first..first + side];
            if let Ok(pixel) = <&[f32; SIDE]>::try_from(pixel) {
                add(pixel, &mut sums, &mut squares);
            } else {
                add(pixel, &mut sums, &mut squares);
            }
        }
        for i in 0..side {
            let group = (first + i) / width;
            out[2 * group] += sums[i];
            out[2 * group + 1] += squares[i];
        }
    }
}

#[inline(always)]
fn add(x: &[f32], sums: &mut [f64; SIDE], squares: &mut [f64; SIDE]) {
    for ((x, sum), square) in x.iter().zip(sums).zip(squares) {
        let x = f64::from(*x);
        *sum += x;
        *square += x * x;
    }
}

vectorized!(
    normalize(x: &[f32], channels: [&[f32]; 3], activation: Activation, y: &mut [f32]) = normalize_portable
);

/// `y = activation((x - mean) * factor + bias)` for each pixel; without `x`, in place.
#[inline(always)]
fn normalize_portable(x: &[f32], channels: [&[f32]; 3], activation: Activation, y: &mut [f32]) {
    let [means, factors, bias] = channels;
    let c = bias.len();
    for (i, y) in y.chunks_exact_mut(c).enumerate() {
        if !x.is_empty() {
            y.copy_from_slice(&x[i * c..][..c]);
        }
        for (((y, mean), factor), bias) in y.iter_mut().zip(means).zip(factors).zip(bias) {
            *y = (*y - mean) * factor + bias;
        }
        epilogue::apply(activation, y);
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::super::rows::random;
    use super::*;
    use crate::cpu::Isa;
    use alloc::vec;
    use alloc::vec::Vec;

    /// n, h, w, c, groups: among them several parts of a picture, and channels that are no whole sides.
    const SHAPES: [([usize; 4], usize); 7] = [
        ([1, 1, 1, 1], 1),
        ([2, 5, 7, 6], 3),
        ([3, 4, 4, 64], 32),
        ([1, 9, 2, 33], 11),
        ([2, 40, 21, 40], 8),
        ([1, 64, 65, 4], 2),
        ([2, 2, 3, 2560], 32),
    ];

    struct Case {
        s: ImageShape,
        groups: usize,
        x: Vec<f32>,
        affine: [Vec<f32>; 2],
    }

    impl Case {
        fn new(step: u64, ([n, h, w, c], groups): ([usize; 4], usize)) -> Self {
            let x = random(n * h * w * c, step).iter().map(|v| v * 3.0 + 2.0).collect();
            Self { s: ImageShape { n, h, w, c }, groups, x, affine: [100, 200].map(|i| random(c, step + i)) }
        }

        fn run(&self, ctx: &Context, activation: Activation) -> Vec<f32> {
            let affine = [&self.affine[0][..], &self.affine[1]];
            let (s, groups, x) = (self.s, self.groups, &self.x);
            // Stale scratch must not show; nor where it begins.
            let mut scratch = vec![0xff; group_norm_scratch(s, groups) + 4];
            let (mut y, mut same) = (vec![f32::NAN; x.len()], x.clone());
            group_norm(ctx, s, groups, 1e-5, affine, activation, Some(x), &mut scratch[4..], &mut y);
            group_norm(ctx, s, groups, 1e-5, affine, activation, None, &mut scratch[..], &mut same);
            assert!(bits(&same) == bits(&y), "{s:?} in place");
            y
        }
    }

    fn bits(y: &[f32]) -> Vec<u32> {
        y.iter().map(|v| v.to_bits()).collect()
    }

    /// Seen red with the last part of a picture left out of the sums, with the channels beyond whole sides left out, with
    /// the factor of the channel before, and with the activation left out.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        for (step, shape) in (0..).zip(SHAPES) {
            let case = Case::new(step, shape);
            let affine = [&case.affine[0][..], &case.affine[1]];
            let want = definition::group_norm(case.s, case.groups, 1e-5, &case.x, affine);
            for activation in [Activation::None, Activation::Relu, Activation::Silu, Activation::Gelu] {
                for (i, (y, want)) in case.run(&Context::new(2), activation).iter().zip(&want).enumerate() {
                    let want = definition::activate(activation, *want);
                    assert!((f64::from(*y) - want).abs() < 3e-6, "{shape:?}, {activation:?} [{i}]: {y}, not {want}");
                }
            }
        }
    }

    /// Seen red with parts that depend on the number of threads.
    #[test]
    fn every_instruction_set_and_any_threads_give_the_same_bits() {
        for (step, shape) in (0..).zip(SHAPES) {
            let case = Case::new(step, shape);
            let want = bits(&case.run(&Context::with_isa(1, Isa::Scalar).unwrap(), Activation::Silu));
            for isa in Isa::available() {
                let ctx = Context::with_isa(3, isa).unwrap();
                assert!(bits(&case.run(&ctx, Activation::Silu)) == want, "{isa}, {shape:?}");
            }
        }
    }

    /// Seen red with mean and factor of picture 0 for all.
    #[test]
    fn a_batch_is_its_pictures() {
        let case = Case::new(1, ([3, 31, 20, 40], 8));
        let all = case.run(&Context::new(2), Activation::None);
        let (s, picture) = (ImageShape { n: 1, ..case.s }, all.len() / 3);
        for (i, want) in all.chunks_exact(picture).enumerate() {
            let x = case.x[i * picture..][..picture].to_vec();
            let single = Case { s, groups: 8, x, affine: case.affine.clone() };
            assert!(bits(&single.run(&Context::new(2), Activation::None)) == bits(want), "picture {i}");
        }
    }

    /// Values far from zero and close together, as deep networks have: squares in f32 would lose the variance. Seen red
    /// with f32 sums.
    #[test]
    fn a_large_mean_does_not_drown_the_variance() {
        let mut case = Case::new(1, ([1, 64, 64, 8], 2));
        case.x.iter_mut().for_each(|v| *v += 4096.0);
        let want = definition::group_norm(case.s, 2, 1e-5, &case.x, [&case.affine[0], &case.affine[1]]);
        for (y, want) in case.run(&Context::new(1), Activation::None).iter().zip(want) {
            // The mean as f32 is off by up to 2.5e-4, of a deviation of 1.7.
            assert!((f64::from(*y) - want).abs() < 2e-4, "{y}, not {want}");
        }
    }

    /// Seen red with a NaN variance taken for none and the mean left out.
    #[test]
    fn nan_stays_in_its_group() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut case = Case::new(1, ([2, 3, 3, 12], 3));
            case.x[9 * 12 + 5] = bad;
            for (i, y) in case.run(&Context::new(1), Activation::Silu).iter().enumerate() {
                assert_eq!(y.is_nan(), i >= 9 * 12 && i % 12 / 4 == 1, "{i}: {y}");
            }
        }
    }
}
