use super::{Form, away_from_zero, check, finish, normal};
use crate::ops::{Activation, Kit, composed};
use crate::tensor::{T1, T3, T4};
use dfdx::prelude::*;

/// Scales near 1 and small shifts: with inputs away from zero, no output comes near ReLU's kink.
fn scales(n: usize) -> (Vec<f32>, Vec<f32>) {
    let near = |name: &str, at: f32, by: f32| normal(name, n).iter().map(|x| at + by * x.clamp(-2.0, 2.0)).collect();
    (near("gamma", 1.0, 0.1), near("beta", 0.0, 0.1))
}

/// Seen red without the term that the variance brings into the input's gradient (`slope` = 0).
#[test]
fn batch_norm_relu() {
    for (n, c, h, w) in [(3, 5, 7, 5), (11, 2, 3, 3), (2, 3, 9, 8)] {
        let (gamma, beta) = scales(c);
        check(&[away_from_zero("x", n * c * h * w), gamma, beta], 5e-3, |v, form| {
            let d = Cpu::default();
            let x: T4<Cpu> = d.tensor_from_vec(v[0].clone(), (n, c, h, w));
            let gamma: T1<Cpu> = d.tensor_from_vec(v[1].clone(), (c,));
            let beta: T1<Cpu> = d.tensor_from_vec(v[2].clone(), (c,));
            let (y, _) = match form {
                Form::Fused => Cpu::batch_norm_relu(x.leaky_trace(), &gamma, &beta, 1e-5, None),
                Form::Composed => composed::batch_norm_relu(x.leaky_trace(), &gamma, &beta, 1e-5),
            };
            finish(y, &[&x, &gamma, &beta])
        });
    }
}

/// The statistics for the running averages: mean, and variance divided by `n - 1`. Seen red with the biased variance.
#[test]
fn batch_norm_statistics() {
    let (n, c, h, w) = (3, 4, 5, 3);
    let d = Cpu::default();
    let xs = normal("x", n * c * h * w);
    let x: T4<Cpu> = d.tensor_from_vec(xs.clone(), (n, c, h, w));
    let ones: T1<Cpu> = d.tensor_from_vec(vec![1.0; c], (c,));
    let (_, fused) = Cpu::batch_norm_relu(x.clone(), &ones, &ones, 1e-5, None);
    let (_, composed) = composed::batch_norm_relu(x, &ones, &ones, 1e-5);
    for ci in 0..c {
        let channel: Vec<f64> =
            xs.iter().enumerate().filter(|(i, _)| i / (h * w) % c == ci).map(|(_, x)| f64::from(*x)).collect();
        let mean = channel.iter().sum::<f64>() / channel.len() as f64;
        let var = channel.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (channel.len() - 1) as f64;
        for stats in [&fused, &composed] {
            assert!((f64::from(stats.mean[ci]) - mean).abs() < 1e-6, "{} {mean}", stats.mean[ci]);
            assert!((f64::from(stats.var[ci]) - var).abs() < 1e-5, "{} {var}", stats.var[ci]);
        }
    }
}

fn group(shape: (usize, usize, usize, usize), groups: usize, activation: Activation) {
    let (n, c, h, w) = shape;
    let (gamma, beta) = scales(c);
    check(&[normal("x", n * c * h * w), gamma, beta], 5e-3, |v, form| {
        let d = Cpu::default();
        let x: T4<Cpu> = d.tensor_from_vec(v[0].clone(), shape);
        let gamma: T1<Cpu> = d.tensor_from_vec(v[1].clone(), (c,));
        let beta: T1<Cpu> = d.tensor_from_vec(v[2].clone(), (c,));
        let y = match form {
            Form::Fused => Cpu::group_norm(x.leaky_trace(), &gamma, &beta, groups, 1e-5, activation),
            Form::Composed => composed::group_norm(x.leaky_trace(), &gamma, &beta, groups, 1e-5, activation),
        };
        finish(y, &[&x, &gamma, &beta])
    });
}

/// Seen red with the means of the gradient taken without gamma.
#[test]
fn group_norm() {
    group((3, 6, 5, 3), 3, Activation::None);
    group((11, 4, 3, 3), 1, Activation::None);
    group((2, 4, 7, 5), 4, Activation::None);
}

/// Seen red with the slope of SiLU taken at the normalized value before scale and shift.
#[test]
fn group_norm_silu() {
    group((3, 6, 5, 3), 2, Activation::Silu);
    group((9, 4, 3, 7), 4, Activation::Silu);
}

/// Seen red with `mean_g` left out of the input's gradient.
#[test]
fn layer_norm() {
    for (b, s, e) in [(2, 5, 19), (1, 1, 8), (3, 7, 33)] {
        let (gamma, beta) = scales(e);
        check(&[normal("x", b * s * e), gamma, beta], 5e-3, |v, form| {
            let d = Cpu::default();
            let x: T3<Cpu> = d.tensor_from_vec(v[0].clone(), (b, s, e));
            let gamma: T1<Cpu> = d.tensor_from_vec(v[1].clone(), (e,));
            let beta: T1<Cpu> = d.tensor_from_vec(v[2].clone(), (e,));
            let y = match form {
                Form::Fused => Cpu::layer_norm(x.leaky_trace(), &gamma, &beta, 1e-5),
                Form::Composed => composed::layer_norm(x.leaky_trace(), &gamma, &beta, 1e-5),
            };
            finish(y, &[&x, &gamma, &beta])
        });
    }
}
