//! What the kernels compute, in f64 and as plainly as it can be said: for tests.

use super::{Activation, AttentionShape, ImageShape};
use alloc::vec;
use alloc::vec::Vec;

pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => x.max(0.2 * x),
        Activation::ResidualScale => 0.2 * x,
        Activation::Silu => x / (1.0 + libm::exp(-x)),
        Activation::Gelu => x * 0.5 * libm::erfc(-x / core::f64::consts::SQRT_2),
        Activation::QuickGelu => x / (1.0 + libm::exp(-1.702 * x)),
        Activation::GeluTanh => {
            let u = libm::sqrt(2.0 / core::f64::consts::PI) * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + libm::tanh(u))
        }
        Activation::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
        Activation::Geglu => panic!("not elementwise"),
    }
}

/// `(x - mean) / sqrt(variance + eps)` over the elements of `members`.
fn normalize(y: &mut [f64], members: &[usize], eps: f32) {
    let count = members.len() as f64;
    let mean = members.iter().map(|&i| y[i]).sum::<f64>() / count;
    let variance = members.iter().map(|&i| (y[i] - mean) * (y[i] - mean)).sum::<f64>() / count;
    members.iter().for_each(|&i| y[i] = (y[i] - mean) / libm::sqrt(variance + f64::from(eps)));
}

fn affine(mut y: Vec<f64>, scale: &[f32], bias: &[f32]) -> Vec<f64> {
    let c = scale.len();
    y.iter_mut().enumerate().for_each(|(i, y)| *y = *y * f64::from(scale[i % c]) + f64::from(bias[i % c]));
    y
}

pub(crate) fn group_norm(s: ImageShape, groups: usize, eps: f32, x: &[f32], [scale, bias]: [&[f32]; 2]) -> Vec<f64> {
    let mut y: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    for (n, group) in (0..s.n * groups).map(|i| (i / groups, i % groups)) {
        let member = |i: &usize| i / (s.h * s.w * s.c) == n && i % s.c / (s.c / groups) == group;
        let members: Vec<usize> = (0..x.len()).filter(member).collect();
        normalize(&mut y, &members, eps);
    }
    affine(y, scale, bias)
}

pub(crate) fn layer_norm(c: usize, eps: f32, x: &[f32], [scale, bias]: [&[f32]; 2]) -> Vec<f64> {
    let mut y: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    for row in 0..x.len() / c {
        let members: Vec<usize> = (row * c..(row + 1) * c).collect();
        normalize(&mut y, &members, eps);
    }
    affine(y, scale, bias)
}

/// Affine parts of each picture's own, `per` rows each.
pub(crate) fn ada_layer_norm([c, per]: [usize; 2], eps: f32, x: &[f32], [scale, shift]: [&[f32]; 2]) -> Vec<f64> {
    let mut y = layer_norm(c, eps, x, [&vec![1.0; c], &vec![0.0; c]]);
    for (i, y) in y.iter_mut().enumerate() {
        let at = i / c / per * c + i % c;
        *y = *y * (1.0 + f64::from(scale[at])) + f64::from(shift[at]);
    }
    y
}

pub(crate) fn rms_norm(eps: f32, x: &[f32], scale: &[f32]) -> Vec<f64> {
    let rows = x.chunks_exact(scale.len()).map(|row| {
        let squares: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let root = libm::sqrt(squares / row.len() as f64 + f64::from(eps));
        row.iter().zip(scale).map(move |(&v, &scale)| f64::from(v) / root * f64::from(scale)).collect::<Vec<f64>>()
    });
    rows.flatten().collect()
}

pub(crate) fn log_softmax(c: usize, x: &[f32]) -> Vec<f64> {
    let rows = x.chunks_exact(c).map(|row| {
        let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum = top + libm::log(row.iter().map(|&x| libm::exp(f64::from(x) - top)).sum());
        row.iter().map(move |&x| f64::from(x) - sum).collect::<Vec<f64>>()
    });
    rows.flatten().collect()
}

pub(crate) fn attention(s: &AttentionShape, [q, k, v]: [&[f32]; 3], bias: Option<&[f32]>) -> Vec<f64> {
    let (d, mut y) = (s.c / s.heads, vec![0.0; q.len()]);
    for (n, i, head) in
        (0..s.n * s.queries * s.heads).map(|j| (j / (s.queries * s.heads), j / s.heads % s.queries, j % s.heads))
    {
        let at = |x: &[f32], tokens, token, e| f64::from(x[(n * tokens + token) * s.c + head * d + e]);
        let seen = if s.causal { i + 1 } else { s.keys };
        let scale = s.scale.map_or(1.0 / libm::sqrt(d as f64), f64::from);
        let leans = |j: usize| bias.map_or(0.0, |bias| f64::from(bias[(j * s.queries + i) * s.heads + head]));
        let score = |j| (0..d).map(|e| at(q, s.queries, i, e) * at(k, s.keys, j, e)).sum::<f64>() * scale + leans(j);
        let scores: Vec<f64> = (0..seen).map(score).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| libm::exp(s - top)).collect();
        let sum: f64 = weights.iter().sum();
        for e in 0..d {
            let mixed: f64 = weights.iter().enumerate().map(|(j, w)| w * at(v, s.keys, j, e)).sum();
            y[(n * s.queries + i) * s.c + head * d + e] = mixed / sum;
        }
    }
    y
}
