//! DPM-Solver-2 with ancestral noise (k-diffusion's `sample_dpm_2_ancestral`).

use super::call::Call;
use super::levels::Levels;
use super::settings::SolverSettings;
use super::{dpm2, euler, euler_a};
use alloc::vec::Vec;

pub(super) fn calls(levels: &Levels, s: &SolverSettings) -> Vec<Call> {
    let mut calls = Vec::new();
    for (i, p) in levels.points.windows(2).enumerate() {
        let (down, up) = euler_a::down_and_up(p[0].sigma, p[1].sigma);
        if i + 1 < levels.steps() {
            calls.extend(dpm2::step(levels, s, i, &p[0], down, up));
        } else {
            calls.push(Call { next: euler::step(p[0].sigma, down), noise: up as f32, ..p[0].call(i, s) });
        }
    }
    calls
}
