//! Group normalization, with SiLU in the same pass where asked for: only mean and deviation of each group are kept.
use super::exp::{silu, silu_slope};
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use super::sum::{sum_by, sum_by2};
use super::wide;
use crate::ops::Activation;
use crate::tensor::{T1, T4, Tp};
use dfdx::prelude::*;

/// Mean of a group, and 1 / sqrt(var + eps).
struct Group {
    mean: f32,
    inverse: f32,
}

/// See [`crate::ops::Kit::group_norm`].
pub fn group_norm<T: Tp<Cpu>>(
    x: T4<Cpu, T>,
    gamma: &T1<Cpu>,
    beta: &T1<Cpu>,
    groups: usize,
    eps: f32,
    activation: Activation,
) -> T4<Cpu, T> {
    let (n, c, h, w) = *x.shape();
    assert!(groups > 0 && c % groups == 0, "{c} channels do not divide into {groups} groups");
    let (hw, per) = (h * w, c / groups);
    let len = per * hw;
    let (x, mut tape) = x.split_tape();
    let (gamma, beta) = (gamma.clone(), beta.clone());
    let xs = data(&x);
    let stats: Vec<Group> = xs
        .par_chunks(len.max(1))
        .map(|x| {
            let mean = (sum_by(x, |x| x) / len as f64) as f32;
            let var = sum_by(x, |x| (x - mean) * (x - mean)) / len as f64;
            Group { mean, inverse: (1.0 / (var + f64::from(eps)).sqrt()) as f32 }
        })
        .collect();
    // Scale and shift of plane i, as one multiplication and one addition.
    let affine = move |stats: &[Group], gamma: &[f32], beta: &[f32], i: usize| {
        let (group, channel) = (&stats[i / per], i % c);
        let scale = gamma[channel] * group.inverse;
        (scale, beta[channel] - group.mean * scale)
    };
    let (gs, bs) = (data(&gamma), data(&beta));
    // SAFETY: every element of the chunk (one plane) is written.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            n * c * hw,
            hw,
            || (),
            |(), i, y| {
                let (scale, shift) = affine(&stats, gs, bs, i);
                let pairs = y.iter_mut().zip(&xs[i * hw..][..hw]);
                match activation {
                    Activation::None => pairs.for_each(|(y, x)| _ = y.write(x * scale + shift)),
                    Activation::Silu => wide(|| pairs.for_each(|(y, x)| _ = y.write(silu(x * scale + shift)))),
                }
            },
        )
    };
    let out = x.device().tensor_from_vec(y, (n, c, h, w));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let mut go = take_gradient!(g, og);
        let (xs, gammas, betas) = (data(&x), data(&gamma), data(&beta));
        // Back through the activation, then per plane the sums of g and of g times the normalized x.
        let sums: Vec<(f64, f64)> = go
            .par_chunks_mut(hw.max(1))
            .enumerate()
            .map(|(i, go)| {
                let (x, group) = (&xs[i * hw..][..hw], &stats[i / per]);
                if activation == Activation::Silu {
                    let (scale, shift) = affine(&stats, gammas, betas, i);
                    wide(|| go.iter_mut().zip(x).for_each(|(g, x)| *g *= silu_slope(x * scale + shift)));
                }
                let slope = sum_by2(go, x, |g, x| g * (x - group.mean));
                (sum_by(go, |g| g), slope * f64::from(group.inverse))
            })
            .collect();
        // What normalizing takes away again: the means of gamma g and of gamma g x over a group.
        let means: Vec<(f64, f64)> = (0..n * groups)
            .map(|i| {
                let planes = i * per..(i + 1) * per;
                let weighted = planes.map(|p| (f64::from(gammas[p % c]), sums[p]));
                weighted.fold((0.0, 0.0), |(a, b), (gamma, (sg, sgx))| (a + gamma * sg, b + gamma * sgx))
            })
            .map(|(a, b)| (a / len as f64, b / len as f64))
            .collect();
        let gx = g.get_or_alloc_mut(&x)?;
        gx.par_chunks_mut(hw.max(1)).enumerate().for_each(|(i, gx)| {
            let (group, (mean_g, mean_gx)) = (&stats[i / per], means[i / per]);
            let scale = gammas[i % c] * group.inverse;
            // gx = inverse (gamma g - mean_g - (x - mean) inverse mean_gx)
            let slope = (mean_gx * f64::from(group.inverse) * f64::from(group.inverse)) as f32;
            let shift = (mean_g * f64::from(group.inverse)) as f32;
            for ((d, g), x) in gx.iter_mut().zip(&go[i * hw..][..hw]).zip(&xs[i * hw..][..hw]) {
                *d += scale * g - shift - (x - group.mean) * slope;
            }
        });
        let mut totals = vec![(0f64, 0f64); c];
        for (i, (sg, sgx)) in sums.iter().enumerate() {
            totals[i % c].0 += sg;
            totals[i % c].1 += sgx;
        }
        g.get_or_alloc_mut(&gamma)?.iter_mut().zip(&totals).for_each(|(d, t)| *d += t.1 as f32);
        g.get_or_alloc_mut(&beta)?.iter_mut().zip(&totals).for_each(|(d, t)| *d += t.0 as f32);
        Ok(())
    });
    out.put_tape(tape)
}
