//! What is done to every weight after a step, in pieces on all threads.
use super::parallel::prelude::*;
use super::wide;
use dfdx::optim::{AdamConfig, WeightDecay};

/// Values in one piece of work: those of five buffers stay in the first-level cache.
const CHUNK: usize = 1 << 12;

/// dfdx's Adam, value for value, of gradients times `scale`; sets the gradients to zero. `step` is counted from 1.
pub fn adam(
    config: &AdamConfig,
    step: i32,
    scale: f32,
    weights: &mut [f32],
    [first, second]: [&mut [f32]; 2],
    gradients: &mut [f32],
) {
    let [b1, b2] = config.betas.map(|b| b as f32);
    let (eps, lr) = (config.eps as f32, config.lr as f32);
    let (l2, decoupled) = match config.weight_decay {
        Some(WeightDecay::L2(w)) => (w as f32, 0.0),
        Some(WeightDecay::Decoupled(w)) => (0.0, (w * config.lr) as f32),
        None => (0.0, 0.0),
    };
    let (unbias1, unbias2) = ((1.0 - b1.powi(step)).recip(), (1.0 - b2.powi(step)).recip());
    let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
    let all = weights.par_chunks_mut(CHUNK).zip(gradients.par_chunks_mut(CHUNK)).zip(moments);
    all.for_each(|((w, g), (m, v))| {
        wide(|| {
            for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                let slope = *g * scale + l2 * *w;
                *g = 0.0;
                *m = *m * b1 + slope * (1.0 - b1);
                *v = *v * b2 + slope * slope * (1.0 - b2);
                let by = lr * (*m * unbias1) / ((*v * unbias2).sqrt() + eps);
                *w -= by + decoupled * *w;
            }
        });
    });
}

/// `average = decay * average + (1 - decay) * new`.
pub fn average(average: &mut [f32], new: &[f32], decay: f64) {
    let (keep, take) = (decay as f32, (1.0 - decay) as f32);
    average.par_chunks_mut(CHUNK).zip(new.par_chunks(CHUNK)).for_each(|(a, n)| {
        a.iter_mut().zip(n).for_each(|(a, n)| *a = *a * keep + *n * take);
    });
}

/// See [`crate::ops::Kit::nesterov`].
pub fn nesterov(momentum: &mut [f32], gradient: &mut [f32], decay: f32, scale: f32) -> Vec<f32> {
    let mut ahead = vec![0f32; momentum.len()];
    let all = ahead.par_chunks_mut(CHUNK).zip(momentum.par_chunks_mut(CHUNK)).zip(gradient.par_chunks_mut(CHUNK));
    all.for_each(|((ahead, m), g)| {
        for ((ahead, m), g) in ahead.iter_mut().zip(m).zip(g) {
            let slope = *g * scale;
            *m = decay * *m + slope;
            *ahead = slope + decay * *m;
            *g = 0.0;
        }
    });
    ahead
}

/// See [`crate::ops::Kit::walk`].
pub fn walk(values: &mut [f32], direction: &[f32], by: f32, decay: f32) {
    values.par_chunks_mut(CHUNK).zip(direction.par_chunks(CHUNK)).for_each(|(w, d)| {
        w.iter_mut().zip(d).for_each(|(w, d)| *w -= by * d + decay * *w);
    });
}
