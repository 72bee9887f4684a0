//! Normalization of each pixel's channels.

use super::Context;
use super::rows::for_rows;

/// `y = (x - mean) / sqrt(variance + eps) * scale + bias` for each row of `c` channels, mean and (biased) variance of
/// the row (Ba, Kiros and Hinton 2016, "Layer Normalization"). `affine` is scale and bias, one number a channel.
/// Without `x`, in place.
///
/// # Panics
/// Where a length does not fit `c`.
pub fn layer_norm(ctx: &Context, c: usize, eps: f32, affine: [&[f32]; 2], x: Option<&[f32]>, y: &mut [f32]) {
    let [scale, bias] = affine;
    assert_eq!((scale.len(), bias.len()), (c, c), "layer_norm: lengths of scale and bias");
    assert!(x.is_none_or(|x| x.len() == y.len()), "layer_norm: length of x");
    for_rows(ctx, y, c, |row, y| {
        if let Some(x) = x {
            y.copy_from_slice(&x[row * c..][..c]);
        }
        let mean = y.iter().map(|&v| f64::from(v)).sum::<f64>() / c as f64;
        let square = |v: f32| (f64::from(v) - mean) * (f64::from(v) - mean);
        let variance = y.iter().map(|&v| square(v)).sum::<f64>() / c as f64;
        let (mean, factor) = (mean as f32, (1.0 / libm::sqrt(variance + f64::from(eps))) as f32);
        for ((y, s), b) in y.iter_mut().zip(scale).zip(bias) {
            *y = (*y - mean) * factor * s + b;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    /// Against the definition, on odd shapes.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        for (step, (rows, c)) in (0..).zip([(1, 1), (3, 2), (77, 5), (2, 768), (9, 33), (5, 320)]) {
            let (x, scale, bias) = (random(rows * c, step), random(c, step + 100), random(c, step + 200));
            let want = definition::layer_norm(c, 1e-5, &x, [&scale, &bias]);
            let mut y = vec![f32::NAN; x.len()];
            layer_norm(&Context::new(2), c, 1e-5, [&scale, &bias], Some(&x), &mut y);
            for (y, want) in y.iter().zip(&want) {
                assert!((f64::from(*y) - want).abs() < 2e-6, "{rows} x {c}: {y}, not {want}");
            }
            let mut same = x.clone();
            layer_norm(&Context::new(1), c, 1e-5, [&scale, &bias], None, &mut same);
            assert!(same == y);
        }
    }
}
