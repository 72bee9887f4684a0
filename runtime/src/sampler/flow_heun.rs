//! Heun's method on rectified flow: two calls a step, one in the last.

use super::call::{Call, Mix};
use super::levels::Levels;
use super::settings::SolverSettings;
use alloc::vec::Vec;

pub(super) fn calls(levels: &Levels, s: &SolverSettings) -> Vec<Call> {
    let mut calls = Vec::new();
    for (i, p) in levels.points.windows(2).enumerate() {
        let gap = p[1].sigma - p[0].sigma;
        let there = Mix { x: 1.0, out: gap as f32, ..Mix::default() };
        if i + 1 == levels.steps() {
            calls.push(Call { next: there, ..p[0].call(i, s) });
            break;
        }
        calls.push(Call { store: Some((0, [0.0, 0.0, 1.0])), keep: true, next: there, ..p[0].call(i, s) });
        let mean = Mix { out: (gap / 2.0) as f32, ..Mix::default() }.with_base(1.0).with_slot(0, gap / 2.0);
        calls.push(Call { next: mean, ..p[1].call(i, s) });
    }
    calls
}
