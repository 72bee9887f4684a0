//! Normalization of ranges of channels over each picture.

use super::{Activation, Context, ImageShape, epilogue};

/// Bytes of scratch [`group_norm`] needs.
pub fn group_norm_scratch(_s: ImageShape, _groups: usize) -> usize {
    0
}

/// `y = activation((x - mean) / sqrt(variance + eps) * scale + bias)`, mean and (biased) variance over each picture's
/// pixels and each of `groups` equal ranges of channels (Wu and He 2018, "Group Normalization"). `affine` is scale and
/// bias, one number a channel. Without `x`, in place.
///
/// # Panics
/// Where a length does not fit `s`, or `scratch` is shorter than [`group_norm_scratch`] says.
pub fn group_norm(
    _ctx: &Context,
    s: ImageShape,
    groups: usize,
    eps: f32,
    affine: [&[f32]; 2],
    activation: Activation,
    x: Option<&[f32]>,
    _scratch: &mut [u8],
    y: &mut [f32],
) {
    let [scale, bias] = affine;
    assert_eq!((scale.len(), bias.len()), (s.c, s.c), "group_norm: lengths of scale and bias");
    assert!(groups > 0 && s.c.is_multiple_of(groups), "group_norm: groups do not divide the channels");
    if let Some(x) = x {
        y.copy_from_slice(x);
    }
    let (width, count) = (s.c / groups, s.h * s.w * s.c / groups);
    for y in y.chunks_exact_mut(s.h * s.w * s.c) {
        for group in 0..groups {
            let channels = group * width..(group + 1) * width;
            let (mut sum, mut squares) = (0.0, 0.0);
            for v in y.chunks_exact(s.c).flat_map(|pixel| &pixel[channels.clone()]) {
                sum += f64::from(*v);
                squares += f64::from(*v) * f64::from(*v);
            }
            let mean = sum / count as f64;
            let variance = (squares / count as f64 - mean * mean).max(0.0);
            let (mean, factor) = (mean as f32, (1.0 / libm::sqrt(variance + f64::from(eps))) as f32);
            for pixel in y.chunks_exact_mut(s.c) {
                for c in channels.clone() {
                    pixel[c] = (pixel[c] - mean) * factor * scale[c] + bias[c];
                }
            }
        }
        epilogue::apply(activation, y);
    }
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
        let shapes = [((1, 1, 1, 1), 1), ((2, 5, 7, 6), 3), ((3, 4, 4, 64), 32), ((1, 9, 2, 33), 11)];
        for (step, ((n, h, w, c), groups)) in (0..).zip(shapes) {
            let s = ImageShape { n, h, w, c };
            let (x, scale, bias) = (random(n * h * w * c, step), random(c, step + 100), random(c, step + 200));
            let want = definition::group_norm(s, groups, 1e-5, &x, [&scale, &bias]);
            for activation in [Activation::None, Activation::Silu, Activation::Gelu] {
                let mut y = vec![f32::NAN; x.len()];
                let mut scratch = vec![0xff; group_norm_scratch(s, groups)];
                let affine = [&scale[..], &bias];
                group_norm(&Context::new(2), s, groups, 1e-5, affine, activation, Some(&x), &mut scratch, &mut y);
                for (y, want) in y.iter().zip(&want) {
                    let want = definition::activate(activation, *want);
                    assert!((f64::from(*y) - want).abs() < 2e-6, "{s:?}, {groups}: {y}, not {want}");
                }
                let mut same = x.clone();
                group_norm(&Context::new(1), s, groups, 1e-5, affine, activation, None, &mut scratch, &mut same);
                assert!(same == y);
            }
        }
    }
}
