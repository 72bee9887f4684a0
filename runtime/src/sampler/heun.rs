//! Heun's method on the probability flow in sigma (Karras et al. 2022, Algorithm 2, no churn): two calls a step, one in
//! the last.

use super::call::{Call, Mix};
use super::euler;
use super::levels::Levels;
use super::settings::SolverSettings;
use alloc::vec::Vec;

pub(super) fn calls(levels: &Levels, s: &SolverSettings) -> Vec<Call> {
    let mut calls = Vec::new();
    for (i, p) in levels.points.windows(2).enumerate() {
        let (now, next) = (&p[0], &p[1]);
        let there = Call { next: euler::step(now.sigma, next.sigma), ..now.call(i, s) };
        if i + 1 == levels.steps() {
            calls.push(there);
            break;
        }
        calls.push(Call { store: Some((0, now.epsilon())), keep: true, ..there });
        // Once more from where it began, by the mean of both slopes.
        let half = (next.sigma - now.sigma) / 2.0;
        let mean = Mix::of(half / next.sigma, -half / next.sigma).with_base(1.0).with_slot(0, half);
        calls.push(Call { next: mean, ..next.call(i, s) });
    }
    calls
}
