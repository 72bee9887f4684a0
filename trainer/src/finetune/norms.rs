//! Gradients of normalizations' inputs, channels last. Scales and biases are frozen.
use crate::ops::cpu::parallel::prelude::*;
use crate::ops::cpu::sum::{sum_by, sum_by2};
use nijimi_runtime::raw::graph::Shape;

/// Pixels that are summed together, whatever the number of threads.
const PIXELS: usize = 64;

/// Sums over the pixels of one picture of what `f` makes of each number, for each channel.
fn sums<const N: usize>(pixels: usize, c: usize, f: impl Fn(usize, usize) -> [f64; N] + Sync) -> Vec<[f64; N]> {
    let parts: Vec<Vec<[f64; N]>> = (0..pixels.div_ceil(PIXELS))
        .into_par_iter()
        .map(|part| {
            let mut sums = vec![[0f64; N]; c];
            for pixel in part * PIXELS..((part + 1) * PIXELS).min(pixels) {
                for (channel, sums) in sums.iter_mut().enumerate() {
                    let values = f(pixel, channel);
                    sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
                }
            }
            sums
        })
        .collect();
    let mut total = vec![[0f64; N]; c];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(t, p)| t.iter_mut().zip(p).for_each(|(t, p)| *t += p));
    }
    total
}

/// Of a group normalization without an activation.
pub(super) fn group_norm(s: Shape, groups: usize, eps: f32, scale: &[f32], x: &[f32], go: &[f32]) -> Vec<f32> {
    let (pixels, c, per) = (s.h * s.w, s.c, s.c / groups);
    let count = (pixels * per) as f64;
    let mut gx = vec![0f32; x.len()];
    let pictures = gx.chunks_exact_mut(pixels * c).zip(x.chunks_exact(pixels * c)).zip(go.chunks_exact(pixels * c));
    for ((gx, x), go) in pictures {
        let of = |values: &[[f64; 3]], which: usize| -> Vec<f64> {
            values.chunks_exact(per).map(|group| group.iter().map(|v| v[which]).sum::<f64>() / count).collect()
        };
        let first = sums(pixels, c, |pixel, channel| {
            let x = f64::from(x[pixel * c + channel]);
            [x, x * x, 0.0]
        });
        let (means, squares) = (of(&first, 0), of(&first, 1));
        let inverse: Vec<f64> =
            means.iter().zip(&squares).map(|(m, s)| 1.0 / ((s - m * m).max(0.0) + f64::from(eps)).sqrt()).collect();
        let second = sums(pixels, c, |pixel, channel| {
            let i = pixel * c + channel;
            let g = f64::from(go[i]) * f64::from(scale[channel]);
            [g, g * (f64::from(x[i]) - means[channel / per]), 0.0]
        });
        let (mean_g, mean_gx) = (of(&second, 0), of(&second, 1));
        // gx = inverse (scale g - mean_g - (x - mean) inverse² mean_gx), as one line in g and one in x for each channel.
        let lines: Vec<[f32; 3]> = (0..c)
            .map(|channel| {
                let group = channel / per;
                let slope = inverse[group].powi(3) * mean_gx[group];
                let first = scale[channel] * inverse[group] as f32;
                [first, slope as f32, (means[group] * slope - mean_g[group] * inverse[group]) as f32]
            })
            .collect();
        gx.par_chunks_mut(c).enumerate().for_each(|(pixel, gx)| {
            let (x, go) = (&x[pixel * c..][..c], &go[pixel * c..][..c]);
            for (((gx, x), g), [first, slope, shift]) in gx.iter_mut().zip(x).zip(go).zip(&lines) {
                *gx = first * g - slope * x + shift;
            }
        });
    }
    gx
}

/// Of a layer normalization.
pub(super) fn layer_norm(c: usize, eps: f32, scale: &[f32], x: &[f32], go: &[f32]) -> Vec<f32> {
    let mut gx = vec![0f32; x.len()];
    gx.par_chunks_mut(c).enumerate().for_each(|(row, gx)| {
        let (x, go) = (&x[row * c..][..c], &go[row * c..][..c]);
        let mean = (sum_by(x, |x| x) / c as f64) as f32;
        let variance = sum_by(x, |x| (x - mean) * (x - mean)) / c as f64;
        let inverse = (1.0 / (variance + f64::from(eps)).sqrt()) as f32;
        gx.iter_mut().zip(go).zip(scale).for_each(|((gx, g), s)| *gx = g * s);
        let mean_g = (sum_by(gx, |g| g) / c as f64) as f32;
        let slope = (sum_by2(gx, x, |g, x| g * (x - mean)) / c as f64) as f32 * inverse * inverse;
        gx.iter_mut().zip(x).for_each(|(gx, x)| *gx = inverse * (*gx - mean_g - (x - mean) * slope));
    });
    gx
}
