//! Normalization of ranges of channels by the root of their mean square.

use super::layer_norm::{TASK, sum};
use super::simd::vectorized;
use super::{Context, ImageShape};

/// `y = x / sqrt(mean(x²) + eps) * scale` for each row of as many elements as `scale` has, the mean in f64 (Zhang and Sennrich
/// 2019, "Root Mean Square Layer Normalization"). Without `x`, in place.
///
/// # Panics
/// Where a length does not fit.
pub fn rms_norm(ctx: &Context, eps: f32, scale: &[f32], x: Option<&[f32]>, y: &mut [f32]) {
    assert!(x.is_none_or(|x| x.len() == y.len()), "rms_norm: length of x");
    if y.is_empty() {
        return;
    }
    assert!(!scale.is_empty() && y.len().is_multiple_of(scale.len()), "rms_norm: lengths of scale and y");
    tasks(ctx, eps, &Factors { scale, modulation: &[], per: usize::MAX }, x, y);
}

/// As [`rms_norm`] of the channels, then `* (1 + modulation)`, one vector a picture. `s` is the shape of `y`. Without `x`, in
/// place.
///
/// # Panics
/// Where a length does not fit `s`.
pub fn modulated_rms_norm(
    ctx: &Context,
    s: ImageShape,
    eps: f32,
    [scale, modulation]: [&[f32]; 2],
    x: Option<&[f32]>,
    y: &mut [f32],
) {
    let ImageShape { n, h, w, c } = s;
    assert_eq!([scale.len(), modulation.len()], [c, n * c], "modulated_rms_norm: lengths of scale and modulation");
    assert!(y.len() == n * h * w * c && x.is_none_or(|x| x.len() == y.len()), "modulated_rms_norm: lengths of x and y");
    if !y.is_empty() {
        tasks(ctx, eps, &Factors { scale, modulation, per: h * w }, x, y);
    }
}

/// What a row is multiplied with: all by `scale`, and of a picture of `per` rows by one plus its own, if there is any.
struct Factors<'a> {
    scale: &'a [f32],
    modulation: &'a [f32],
    per: usize,
}

fn tasks(ctx: &Context, eps: f32, factors: &Factors<'_>, x: Option<&[f32]>, y: &mut [f32]) {
    let each = TASK.div_ceil(factors.scale.len());
    let chunk = each * factors.scale.len();
    ctx.pool.for_chunks(y, chunk, &|task, y| {
        let x = x.map_or(&[][..], |x| &x[task * chunk..][..y.len()]);
        rows(ctx.isa(), x, eps, factors, task * each, y);
    });
}

vectorized!(rows(x: &[f32], eps: f32, factors: &Factors<'_>, first: usize, y: &mut [f32]) = rows_portable);

#[inline(always)]
fn rows_portable(x: &[f32], eps: f32, factors: &Factors<'_>, first: usize, y: &mut [f32]) {
    let (scale, c) = (factors.scale, factors.scale.len());
    for (i, y) in y.chunks_exact_mut(c).enumerate() {
        if !x.is_empty() {
            y.copy_from_slice(&x[i * c..][..c]);
        }
        let squares = sum(y, |v| v * v) / c as f64;
        let factor = (1.0 / libm::sqrt(squares + f64::from(eps))) as f32;
        y.iter_mut().zip(scale).for_each(|(y, scale)| *y = *y * factor * scale);
        if !factors.modulation.is_empty() {
            let own = &factors.modulation[(first + i) / factors.per * c..][..c];
            y.iter_mut().zip(own).for_each(|(y, own)| *y *= 1.0 + own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::super::rows::random;
    use super::*;
    use crate::cpu::Isa;
    use alloc::vec;

    /// On every instruction set with the same bits, in place and not. Seen red with the remainder of a row left out of the sum.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        for (step, (rows, c)) in (0..).zip([(1, 1), (3, 2), (77, 5), (2, 768), (9, 33), (650, 64)]) {
            let (x, scale) = (random(rows * c, step), random(c, step + 100));
            let want = definition::rms_norm(1e-6, &x, &scale);
            let mut first = vec![f32::NAN; x.len()];
            rms_norm(&Context::with_isa(1, Isa::Scalar).unwrap(), 1e-6, &scale, Some(&x), &mut first);
            for (i, (y, want)) in first.iter().zip(&want).enumerate() {
                assert!((f64::from(*y) - want).abs() < 1e-6, "{rows}x{c} [{i}]: {y}, not {want}");
            }
            for isa in Isa::available() {
                let mut y = x.clone();
                rms_norm(&Context::with_isa(2, isa).unwrap(), 1e-6, &scale, None, &mut y);
                assert!(y == first, "{isa}, {rows}x{c}");
            }
        }
    }

    /// On every instruction set with the same bits, in place and not. Seen red with picture 0's vector for all, and without the
    /// one.
    #[test]
    fn each_picture_has_a_modulation_of_its_own() {
        for (step, (n, h, w, c)) in (0..).zip([(1, 1, 1, 1), (3, 2, 5, 7), (2, 33, 9, 64), (3, 1, 40, 320)]) {
            let (x, scale, own) = (random(n * h * w * c, step), random(c, step + 9), random(n * c, step + 99));
            let (s, factors) = (ImageShape { n, h, w, c }, [&scale[..], &own]);
            let want = definition::modulated([c, h * w], definition::rms_norm(1e-6, &x, &scale), &own);
            let mut first = vec![f32::NAN; x.len()];
            modulated_rms_norm(&Context::with_isa(1, Isa::Scalar).unwrap(), s, 1e-6, factors, Some(&x), &mut first);
            for (i, (y, want)) in first.iter().zip(&want).enumerate() {
                assert!((f64::from(*y) - want).abs() < 2e-6, "{s:?} [{i}]: {y}, not {want}");
            }
            for isa in Isa::available() {
                let mut y = x.clone();
                modulated_rms_norm(&Context::with_isa(2, isa).unwrap(), s, 1e-6, factors, None, &mut y);
                assert!(y == first, "{isa}, {s:?}");
            }
        }
    }
}
