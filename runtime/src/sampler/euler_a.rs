//! Euler with ancestral noise (k-diffusion's `sample_euler_ancestral`; the variances are those of Song et al. 2021,
//! DDIM, at eta 1).

use super::call::Call;
use super::euler;
use super::levels::Levels;
use super::settings::SolverSettings;
use alloc::vec::Vec;

/// Where the deterministic step from `sigma` to `next` goes, and how much noise leads back up to `next`.
pub(super) fn down_and_up(sigma: f64, next: f64) -> (f64, f64) {
    let up = next * next * (sigma * sigma - next * next) / (sigma * sigma);
    (libm::sqrt((next * next - up).max(0.0)), libm::sqrt(up.max(0.0)))
}

pub(super) fn calls(levels: &Levels, s: &SolverSettings) -> Vec<Call> {
    let call = |(i, p): (usize, &[super::levels::Point])| {
        let (down, up) = down_and_up(p[0].sigma, p[1].sigma);
        Call { next: euler::step(p[0].sigma, down), noise: up as f32, ..p[0].call(i, s) }
    };
    levels.points.windows(2).enumerate().map(call).collect()
}
