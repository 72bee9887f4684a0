//! Linear multistep in sigma: Adams-Bashforth of order 4 on uneven levels (k-diffusion's `sample_lms`).

use super::call::{Call, Mix};
use super::levels::{Levels, Point};
use super::settings::SolverSettings;
use alloc::vec::Vec;

const ORDER: usize = 4;

/// x' = x + sum over the last slopes of slope_j * integral from sigma_i to sigma_{i+1} of Lagrange's polynomial of j.
pub(super) fn calls(levels: &Levels, s: &SolverSettings) -> Vec<Call> {
    let call = |i: usize| {
        let order = (i.saturating_sub(s.start) + 1).min(ORDER);
        let mut next = Mix::of(1.0, 0.0);
        for j in 0..order {
            next = next.with_slot((i - j) % ORDER, integral(&levels.points, i, j, order));
        }
        let point = &levels.points[i];
        Call { store: Some((i % ORDER, point.epsilon())), next, ..point.call(i, s) }
    };
    (s.start..levels.steps()).map(call).collect()
}

/// Gauss's rule of three points, exact for these cubics.
fn integral(points: &[Point], i: usize, j: usize, order: usize) -> f64 {
    let sigma = |k: usize| points[i - k].sigma;
    let (from, to) = (points[i].sigma, points[i + 1].sigma);
    let lagrange = |tau: f64| {
        let others = (0..order).filter(|&k| k != j);
        others.map(|k| (tau - sigma(k)) / (sigma(j) - sigma(k))).product::<f64>()
    };
    let (middle, half, node) = ((from + to) / 2.0, (to - from) / 2.0, libm::sqrt(0.6));
    let ends = lagrange(middle - half * node) + lagrange(middle + half * node);
    half * (5.0 * ends + 8.0 * lagrange(middle)) / 9.0
}
