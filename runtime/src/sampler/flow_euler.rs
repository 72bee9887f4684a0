//! Euler's method on rectified flow (Esser et al. 2024): x' = x + (sigma' - sigma) * out.

use super::call::{Call, Mix};
use super::levels::Levels;
use super::settings::SolverSettings;
use alloc::vec::Vec;

/// With `random`, the noise is exchanged for fresh one: x' = (1 - sigma') * x_0 + sigma' * noise.
pub(super) fn calls(levels: &Levels, s: &SolverSettings, random: bool) -> Vec<Call> {
    let call = |(i, p): (usize, &[super::levels::Point])| {
        let (now, next) = (p[0].sigma, p[1].sigma);
        if random {
            Call { next: Mix::of(0.0, 1.0 - next), noise: next as f32, ..p[0].call(i, s) }
        } else {
            Call { next: Mix { x: 1.0, out: (next - now) as f32, ..Mix::default() }, ..p[0].call(i, s) }
        }
    };
    levels.points.windows(2).enumerate().map(call).collect()
}
