//! DPM-Solver, singlestep: 2S and 3S (Lu et al. 2022, DPM-Solver++, Algorithm 1), on the levels of the schedule: groups
//! of one, two or three calls that all begin at the group's first sample, of rising order.

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
    let orders = orders(
        n,
        order,
        s.lower_order_final || !n.is_multiple_of(order) || points[n].sigma == 0.0,
        points[n].sigma == 0.0,
    );
    let call = |i: usize| {
        // A run that starts in the middle of a group has no earlier values.
        let used = orders[i].min(i - s.start + 1);
        let first = i + 1 - used;
        let w = dpm::weights(form, &points[first], &points[i + 1]);
        let lambda = |k: usize| points[k].lambda();
        let (h, slot) = (lambda(i + 1) - lambda(first), |k: usize| (i - k) % 3);
        let r = |k: usize| (lambda(i - k) - lambda(first)) / h;
        // The oldest value is D0.
        let mut next = Mix::default().with_base(w.x).with_slot(slot(used - 1), w.d0);
        if used == 2 {
            let d = if heun { w.d1_heun } else { w.d1_midpoint } / r(0);
            next = next.with_slot(slot(0), d).with_slot(slot(1), -d);
        } else if used == 3 {
            let (r0, r1) = (r(0), r(1));
            // D1_0 = (m1 - m2) / r1, D1_1 = (m0 - m2) / r0; D1 and D2 of both.
            let (of_0, of_1) = if heun {
                let (d1, d2) = (w.d1_heun / (r0 - r1), 2.0 * w.d2 / (r0 - r1));
                (r0 * d1 - d2, d2 - r1 * d1)
            } else {
                (0.0, w.d1_heun)
            };
            let (a, b) = (of_1 / r0, of_0 / r1);
            next = next.with_slot(slot(0), a).with_slot(slot(1), b).with_slot(slot(2), -a - b);
        }
        let store = Some((slot(0), dpm::value(form, &points[i])));
        Call { store, keep: used == 1, next, noise: w.noise as f32, ..points[i].call(i, s) }
    };
    Ok((s.start..n).map(call).collect())
}

/// The order of every call; with `lower`, the last ones are lower so that all calls are used.
fn orders(n: usize, order: usize, lower: bool, clean_end: bool) -> Vec<usize> {
    let mut orders: Vec<usize> = (0..n).map(|i| i % order + 1).collect();
    if lower && order > 1 && n.is_multiple_of(order) {
        // The last whole group becomes one shorter and one of order 1.
        orders[n - 1] = 1;
    }
    if clean_end {
        orders[n - 1] = 1;
    }
    orders
}
