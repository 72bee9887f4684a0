//! DPM-Solver, multistep: 2M, 3M and their SDE forms (Lu et al. 2022, DPM-Solver++, Algorithm 2).

use super::call::{Call, Mix};
use super::levels::Levels;
use super::settings::{Dpm, SolverSettings};
use super::{SamplerError, dpm};
use alloc::vec::Vec;

pub(super) fn calls(
    levels: &Levels,
    s: &SolverSettings,
    form: Dpm,
    order: usize,
    heun: bool,
) -> Result<Vec<Call>, SamplerError> {
    let (points, n) = (&levels.points, levels.steps());
    dpm::check(form, order, &points[n])?;
    let call = |i: usize| {
        let left = n - i;
        let short = s.lower_order_final && n < 15;
        let most = if left == 1 && (s.euler_at_final || short || points[n].sigma == 0.0) {
            1
        } else if left == 2 && short {
            order.min(2)
        } else {
            order
        };
        let w = dpm::weights(form, &points[i], &points[i + 1]);
        let lambda = |k: usize| points[k].lambda();
        let (h, slot) = (lambda(i + 1) - lambda(i), |k: usize| (i - k) % 3);
        let mut next = Mix::of(w.x, 0.0).with_slot(slot(0), w.d0);
        // Where the last level is met twice there is nothing to do.
        let used = if h == 0.0 { 1 } else { most.min(i - s.start + 1) };
        if used == 2 {
            // D1 = (m0 - m1) / r0, r0 = h_0 / h.
            let d = if heun { w.d1_heun } else { w.d1_midpoint } * h / (lambda(i) - lambda(i - 1));
            next = next.with_slot(slot(0), d).with_slot(slot(1), -d);
        } else if used == 3 {
            let (r0, r1) = ((lambda(i) - lambda(i - 1)) / h, (lambda(i - 1) - lambda(i - 2)) / h);
            // D1 = a + r0 / (r0 + r1) * (a - b), D2 = (a - b) / (r0 + r1), a = (m0 - m1) / r0, b = (m1 - m2) / r1.
            let bent = (w.d1_heun * r0 + w.d2) / (r0 + r1);
            let (a, b) = ((w.d1_heun + bent) / r0, -bent / r1);
            next = next.with_slot(slot(0), a).with_slot(slot(1), b - a).with_slot(slot(2), -b);
        }
        let store = Some((slot(0), dpm::value(form, &points[i])));
        Call { store, next, noise: w.noise as f32, ..points[i].call(i, s) }
    };
    Ok((s.start..n).map(call).collect())
}
