//! A small classifier with random weights, written as a file, and what it computes, in f64.
#![allow(dead_code, reason = "not every test file uses everything")]

use super::autoencoder::{Made, write};
use nijimi_runtime::gguf::MetaValue;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::NoisyClassifier;

pub fn network() -> NoisyClassifier {
    let channels = vec![8, 32];
    NoisyClassifier { in_channels: 1, channels, time_dim: 20, label_count: 10, height: 8, width: 8 }
}

pub fn meta(n: &NoisyClassifier) -> Vec<(&'static str, MetaValue)> {
    let number = |x: usize| MetaValue::U32(x as u32);
    vec![
        ("general.architecture", "nijimi".into()),
        ("general.name", "tiny".into()),
        ("nijimi.format_version", 1u32.into()),
        ("nijimi.system", "classifier".into()),
        ("nijimi.network", "noisy-classifier".into()),
        ("nijimi.classifier.in_channels", number(n.in_channels)),
        ("nijimi.classifier.channels", MetaValue::U32s(n.channels.iter().map(|&c| c as u32).collect())),
        ("nijimi.classifier.time_dim", number(n.time_dim)),
        ("nijimi.classifier.label_count", number(n.label_count)),
        ("nijimi.image.width", number(n.width)),
        ("nijimi.image.height", number(n.height)),
        ("nijimi.image.channels", number(n.in_channels)),
        ("nijimi.image.range", MetaValue::F32s(vec![0.0, 1.0])),
        ("nijimi.labels", MetaValue::Strs((0..n.label_count).map(|i| format!("{i}")).collect())),
        ("nijimi.schedule.kind", "linear".into()),
        ("nijimi.schedule.steps", 1000u32.into()),
        ("nijimi.schedule.beta_start", 1e-4f64.into()),
        ("nijimi.schedule.beta_end", 0.02f64.into()),
        ("nijimi.first_timestep", 1u32.into()),
    ]
}

/// The file; a later entry of `changes` replaces what is usual.
pub fn file(dtype: DType, changes: &[(&'static str, MetaValue)]) -> Made {
    let mut meta = meta(&network());
    for (key, value) in changes {
        meta.iter_mut().filter(|(k, _)| k == key).for_each(|(_, v)| *v = value.clone());
    }
    write(meta, &[network().graph(1).unwrap()], dtype)
}

/// A picture of `side * side` pixels of `c` channels.
struct Picture {
    side: usize,
    c: usize,
    data: Vec<f64>,
}

impl Picture {
    fn at(&self, i: isize, j: isize, k: usize) -> f64 {
        let inside = |v: isize| (0..self.side as isize).contains(&v);
        if inside(i) && inside(j) { self.data[(i as usize * self.side + j as usize) * self.c + k] } else { 0.0 }
    }
}

fn relu(v: Vec<f64>) -> Vec<f64> {
    v.into_iter().map(|v| v.max(0.0)).collect()
}

fn conv(made: &Made, name: &str, x: &Picture, kernel: usize, pad: usize) -> Picture {
    let (w, b) = (&made.tensors[&format!("{name}.weight")], &made.tensors[&format!("{name}.bias")]);
    let (out, side) = (b.len(), x.side + 2 * pad + 1 - kernel);
    let mut data = Vec::new();
    for (i, j) in (0..side * side).map(|p| ((p / side) as isize, (p % side) as isize)) {
        for o in 0..out {
            let mut sum = f64::from(b[o]);
            for (tap, k) in (0..kernel * kernel * x.c).map(|q| (q / x.c, q % x.c)) {
                let (di, dj) = ((tap / kernel) as isize - pad as isize, (tap % kernel) as isize - pad as isize);
                sum += f64::from(w[(o * kernel * kernel + tap) * x.c + k]) * x.at(i + di, j + dj, k);
            }
            data.push(sum);
        }
    }
    Picture { side, c: out, data }
}

/// `log p(y|x, t)` of every label, of one picture.
pub fn log_probabilities(made: &Made, x: &[f64], t: u32) -> Vec<f64> {
    let n = network();
    let dim = n.time_dim;
    let angle = |i: usize| f64::from(t) / 10000f64.powf(i as f64 / dim as f64);
    let time: Vec<f64> = (0..dim).map(|i| if i % 2 == 0 { angle(i).sin() } else { angle(i).cos() }).collect();
    let mut x = Picture { side: n.height, c: n.in_channels, data: x.to_vec() };
    for block in 1..=n.channels.len() {
        if block > 1 {
            let side = x.side / 2;
            let largest = |p: usize| {
                let (i, j, k) = ((p / x.c / side * 2) as isize, (p / x.c % side * 2) as isize, p % x.c);
                x.at(i, j, k).max(x.at(i, j + 1, k)).max(x.at(i + 1, j, k)).max(x.at(i + 1, j + 1, k))
            };
            x = Picture { side, c: x.c, data: (0..side * side * x.c).map(largest).collect() };
        }
        let v = made.linear(&format!("block{block}.mlp.2"), &relu(made.linear(&format!("block{block}.mlp.0"), &time)));
        x.data.iter_mut().enumerate().for_each(|(p, value)| *value += v[p % v.len()]);
        for part in ["convs.0", "convs.3"] {
            x = conv(made, &format!("block{block}.{part}"), &x, 3, 1);
            x.data = relu(x.data);
        }
    }
    let kernel = x.side;
    let head = conv(made, "head", &x, kernel, 0);
    let logits = made.linear("out", &relu(head.data));
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = top + logits.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
    logits.into_iter().map(|v| v - sum).collect()
}

/// The gradient of a label's log-probability, by central differences of [`log_probabilities`].
pub fn gradient(made: &Made, x: &[f64], t: u32, label: u32) -> Vec<f64> {
    const STEP: f64 = 1e-6;
    let (mut x, values) = (x.to_vec(), x.len());
    let mut slope = |i: usize| {
        let own = x[i];
        let [high, low] = [own + STEP, own - STEP].map(|v| {
            x[i] = v;
            log_probabilities(made, &x, t)[label as usize]
        });
        x[i] = own;
        (high - low) / (2.0 * STEP)
    };
    (0..values).map(&mut slope).collect()
}
