//! DPM-Solver-2 in sigma (Lu et al. 2022, Algorithm 1; Karras et al. 2022, Algorithm 3): the slope at the middle of a
//! step, geometrically, is that of the whole step. Two calls a step, one in the last.

use super::call::{Call, Mix};
use super::euler;
use super::levels::{Levels, Point};
use super::settings::SolverSettings;
use alloc::vec::Vec;

/// The calls of a step from `now` to `down`, with `up` fresh noise at its end.
pub(super) fn step(levels: &Levels, s: &SolverSettings, i: usize, now: &Point, down: f64, up: f64) -> [Call; 2] {
    let middle = libm::sqrt(now.sigma * down);
    let half = Point::exploding(levels.trained.timestep(middle), middle);
    let slope = (down - now.sigma) / middle;
    [
        Call { keep: true, next: euler::step(now.sigma, middle), ..now.call(i, s) },
        Call { next: Mix::of(slope, -slope).with_base(1.0), noise: up as f32, ..half.call(i, s) },
    ]
}

pub(super) fn calls(levels: &Levels, s: &SolverSettings) -> Vec<Call> {
    let mut calls = Vec::new();
    for (i, p) in levels.points.windows(2).enumerate() {
        if i + 1 < levels.steps() {
            calls.extend(step(levels, s, i, &p[0], p[1].sigma, 0.0));
        } else {
            calls.push(Call { next: euler::step(p[0].sigma, p[1].sigma), ..p[0].call(i, s) });
        }
    }
    calls
}
