//! Batch normalization with batch statistics and ReLU in one operation: three passes over memory forward, two backward.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use super::sum::{sum_by, sum_by2};
use crate::ops::BatchStats;
use crate::tensor::{T1, T4, Tp};
use crate::world::Across;
use dfdx::prelude::*;
use std::rc::Rc;

struct Channel {
    mean: f32,
    /// 1 / sqrt(var + eps)
    inverse: f32,
    var: f64,
}

/// See [`crate::ops::Kit::batch_norm_relu`].
pub fn batch_norm_relu<T: Tp<Cpu>>(
    x: T4<Cpu, T>,
    gamma: &T1<Cpu>,
    beta: &T1<Cpu>,
    eps: f32,
    across: Option<&Rc<Across>>,
) -> (T4<Cpu, T>, BatchStats) {
    let (n, c, h, w) = *x.shape();
    let hw = h * w;
    let m = (n * hw) as f64;
    let (x, mut tape) = x.split_tape();
    let (gamma, beta) = (gamma.clone(), beta.clone());
    let xs = data(&x);
    let planes = |ci: usize| (0..n).map(move |i| &xs[(i * c + ci) * hw..][..hw]);
    let mean = |ci| (planes(ci).map(|p| sum_by(p, |x| x)).sum::<f64>() / m) as f32;
    let variance = |ci, mu: f32| planes(ci).map(|p| sum_by(p, |x| (x - mu) * (x - mu))).sum::<f64>() / m;
    let channel = |mean, var: f64| Channel { mean, inverse: (1.0 / (var + f64::from(eps)).sqrt()) as f32, var };
    let each = (0..c).into_par_iter();
    let channels: Vec<Channel> = match across {
        None => each.map(|ci| (mean(ci), ci)).map(|(mu, ci)| channel(mu, variance(ci, mu))).collect(),
        Some(across) => {
            let mut means: Vec<f32> = each.clone().map(mean).collect();
            across.mean(&mut means);
            let mut vars: Vec<f32> = each.map(|ci| variance(ci, means[ci]) as f32).collect();
            across.mean(&mut vars);
            means.iter().zip(vars).map(|(mean, var)| channel(*mean, f64::from(var))).collect()
        }
    };
    let scale_shift: Vec<(f32, f32)> = channels
        .iter()
        .zip(data(&gamma).iter().zip(data(&beta)))
        .map(|(s, (g, b))| (g * s.inverse, b - s.mean * g * s.inverse))
        .collect();
    // SAFETY: every element of the chunk (one plane) is written.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            n * c * hw,
            hw,
            || (),
            |(), i, y| {
                let (scale, shift) = scale_shift[i % c];
                for (y, x) in y.iter_mut().zip(&xs[i * hw..][..hw]) {
                    y.write((x * scale + shift).max(0.0));
                }
            },
        )
    };
    let count = across.map_or(m, |a| a.count(n * hw));
    let unbiased = count / (count - 1.0).max(1.0);
    let stats = BatchStats {
        mean: channels.iter().map(|s| s.mean).collect(),
        var: channels.iter().map(|s| (s.var * unbiased) as f32).collect(),
    };
    let out = x.device().tensor_from_vec(y, (n, c, h, w));
    let (og, kept, across) = (out.ghost(), out.clone(), across.cloned());
    tape.add_backward_op(move |g| {
        let mut go = take_gradient!(g, og);
        let (xs, ys) = (data(&x), data(&kept));
        // Where ReLU was off nothing flows; then the two sums that the normalization's gradient needs, per plane.
        let sums: Vec<(f64, f64)> = go
            .par_chunks_mut(hw.max(1))
            .enumerate()
            .map(|(i, go)| {
                let (x, y, mu) = (&xs[i * hw..][..hw], &ys[i * hw..][..hw], channels[i % c].mean);
                for (g, y) in go.iter_mut().zip(y) {
                    *g = if *y > 0.0 { *g } else { 0.0 };
                }
                (sum_by(go, |g| g), sum_by2(go, x, |g, x| g * (x - mu)))
            })
            .collect();
        let mut totals = vec![(0f64, 0f64); c];
        for (i, (sg, sgx)) in sums.iter().enumerate() {
            totals[i % c].0 += sg;
            totals[i % c].1 += sgx * f64::from(channels[i % c].inverse);
        }
        // Each process's sums are of its own loss, to which its weight in the batch's is yet to come: so are these.
        let mut batch = totals.clone();
        if let Some(across) = &across {
            let mut sums: Vec<f32> = totals.iter().flat_map(|t| [t.0 as f32, t.1 as f32]).collect();
            across.mean(&mut sums);
            batch = sums.as_chunks().0.iter().map(|[a, b]| (f64::from(*a), f64::from(*b))).collect();
        }
        let gx = g.get_or_alloc_mut(&x)?;
        let gammas = data(&gamma);
        gx.par_chunks_mut(hw.max(1)).enumerate().for_each(|(i, gx)| {
            let (s, (sg, sgx)) = (&channels[i % c], batch[i % c]);
            let scale = gammas[i % c] * s.inverse;
            let (mean_g, slope) = ((sg / m) as f32, (sgx / m) as f32 * s.inverse);
            for ((d, g), x) in gx.iter_mut().zip(&go[i * hw..][..hw]).zip(&xs[i * hw..][..hw]) {
                *d += scale * (g - mean_g - (x - s.mean) * slope);
            }
        });
        g.get_or_alloc_mut(&gamma)?.iter_mut().zip(&totals).for_each(|(d, t)| *d += t.1 as f32);
        g.get_or_alloc_mut(&beta)?.iter_mut().zip(&totals).for_each(|(d, t)| *d += t.0 as f32);
        Ok(())
    });
    (out.put_tape(tape), stats)
}
