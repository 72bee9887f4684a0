//! Euler's method on the probability flow in sigma (Karras et al. 2022, Algorithm 2 with first-order steps, no churn).

use super::call::{Call, Mix};
use super::levels::Levels;
use super::settings::SolverSettings;
use alloc::vec::Vec;

/// x' = x + (sigma' - sigma) * (x - x_0) / sigma.
pub(super) fn step(sigma: f64, next: f64) -> Mix {
    Mix::of(next / sigma, 1.0 - next / sigma)
}

pub(super) fn calls(levels: &Levels, s: &SolverSettings) -> Vec<Call> {
    let pairs = levels.points.windows(2).enumerate();
    pairs.map(|(i, p)| Call { next: step(p[0].sigma, p[1].sigma), ..p[0].call(i, s) }).collect()
}
