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
        Activation::Tanh => libm::tanh(x),
        Activation::Negate => -x,
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
pub(crate) fn ada_layer_norm(
    [c, per]: [usize; 2],
    eps: f32,
    x: &[f32],
    scale: &[f32],
    shift: Option<&[f32]>,
) -> Vec<f64> {
    let y = layer_norm(c, eps, x, [&vec![1.0; c], &vec![0.0; c]]);
    let mut y = modulated([c, per], y, scale);
    let shift = |i: usize| shift.map_or(0.0, |shift| f64::from(shift[i / c / per * c + i % c]));
    y.iter_mut().enumerate().for_each(|(i, y)| *y += shift(i));
    y
}

/// `y * (1 + modulation)`, a vector of `c` numbers a picture of `per` rows.
pub(crate) fn modulated([c, per]: [usize; 2], mut y: Vec<f64>, modulation: &[f32]) -> Vec<f64> {
    y.iter_mut().enumerate().for_each(|(i, y)| *y *= 1.0 + f64::from(modulation[i / c / per * c + i % c]));
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

/// Of rows of `c` channels; the angles' rows begin anew where they end.
pub(crate) fn rotary([c, heads]: [usize; 2], halves: bool, x: &[f32], angles: &[f32]) -> Vec<f64> {
    let d = c / heads;
    let at = |i: usize| {
        let (row, e) = (i / c, i % c % d);
        // The channel's pair, its partner in it, and on which side it stands.
        let (pair, other, first) = match halves {
            true => (e % (d / 2), (e + d / 2) % d, e < d / 2),
            false => (e / 2, e ^ 1, e % 2 == 0),
        };
        let angle = |which: usize| f64::from(angles[(row * d + which * d / 2 + pair) % angles.len()]);
        let (own, other) = (f64::from(x[i]), f64::from(x[i - e + other]));
        own * angle(0) + if first { -other } else { other } * angle(1)
    };
    (0..x.len()).map(at).collect()
}

pub(crate) fn attention(
    s: &AttentionShape,
    [q, k, v]: [&[f32]; 3],
    bias: Option<&[f32]>,
    lengths: Option<&[Option<u32>]>,
) -> Vec<f64> {
    let (d, mut y) = (s.c / s.heads, vec![0.0; q.len()]);
    for (n, i, head) in
        (0..s.n * s.queries * s.heads).map(|j| (j / (s.queries * s.heads), j / s.heads % s.queries, j % s.heads))
    {
        let own = |e| f64::from(q[(n * s.queries + i) * s.c + head * d + e]);
        let kv_head = head / (s.heads / s.kv_heads);
        let at = |x: &[f32], token, e| f64::from(x[((n * s.keys + token) * s.kv_heads + kv_head) * d + e]);
        let length = lengths.and_then(|lengths| lengths[n]).map_or(s.keys, |length| s.keys.min(length as usize));
        let seen = if s.causal { (i + 1).min(length) } else { length };
        let scale = s.scale.map_or(1.0 / libm::sqrt(d as f64), f64::from);
        let leans = |j: usize| bias.map_or(0.0, |bias| f64::from(bias[(j * s.queries + i) * s.heads + head]));
        let score = |j| (0..d).map(|e| own(e) * at(k, j, e)).sum::<f64>() * scale + leans(j);
        let scores: Vec<f64> = (0..seen).map(score).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| libm::exp(s - top)).collect();
        let sum: f64 = weights.iter().sum();
        for e in 0..d {
            let mixed: f64 = weights.iter().enumerate().map(|(j, w)| w * at(v, j, e)).sum();
            y[(n * s.queries + i) * s.c + head * d + e] = if seen > 0 { mixed / sum } else { 0.0 };
        }
    }
    y
}
