//! DPM-Solver++(2S) in sigma with ancestral noise (Lu et al. 2022, Algorithm 1; k-diffusion's
//! `sample_dpmpp_2s_ancestral`): the estimate at the middle of the step, in log sigma, is that of the whole step.

use super::call::{Call, Mix};
use super::levels::{Levels, Point};
use super::settings::SolverSettings;
use super::{euler, euler_a};
use alloc::vec::Vec;

pub(super) fn calls(levels: &Levels, s: &SolverSettings) -> Vec<Call> {
    let mut calls = Vec::new();
    for (i, p) in levels.points.windows(2).enumerate() {
        let (now, (down, up)) = (&p[0], euler_a::down_and_up(p[0].sigma, p[1].sigma));
        if down == 0.0 {
            calls.push(Call { next: euler::step(now.sigma, 0.0), noise: up as f32, ..now.call(i, s) });
            continue;
        }
        let middle = libm::sqrt(now.sigma * down);
        let half = Point::exploding(levels.trained.timestep(middle), middle);
        calls.push(Call { keep: true, next: euler::step(now.sigma, middle), ..now.call(i, s) });
        let whole = euler::step(now.sigma, down);
        let next = Mix { x: 0.0, base: whole.x, ..whole };
        calls.push(Call { next, noise: up as f32, ..half.call(i, s) });
    }
    calls
}
