//! UniPC: a predictor of order p, and a corrector of order p + 1 that costs no call (Zhao et al. 2023, Algorithms 1, 2).

use super::SamplerError;
use super::call::{Call, Mix};
use super::dpm;
use super::levels::{Levels, Point};
use super::settings::{Dpm, SolverSettings};
use alloc::vec::Vec;

const MOST: usize = 4;

pub(super) fn calls(
    levels: &Levels,
    s: &SolverSettings,
    order: usize,
    predict_x0: bool,
    bh2: bool,
) -> Result<Vec<Call>, SamplerError> {
    let (points, n) = (&levels.points, levels.steps());
    if order == 0 || order > MOST {
        return Err(SamplerError::Order { order, most: MOST });
    }
    let form = if predict_x0 { Dpm::Data } else { Dpm::Noise };
    if !predict_x0 && points[n].sigma == 0.0 {
        return Err(SamplerError::CleanEnd);
    }
    let used = |i: usize| {
        let most = if s.lower_order_final { order.min(n - i) } else { order };
        // Nothing but the estimate leads to the clean level.
        if points[i + 1].sigma == 0.0 { 1 } else { most.min(i - s.start + 1) }
    };
    let call = |i: usize| {
        let correct = (i > s.start).then(|| update(points, i - 1, used(i - 1), order + 1, form, bh2, true));
        let next = update(points, i, used(i), order + 1, form, bh2, false);
        let mut call = Call { store: Some((i % (order + 1), dpm::value(form, &points[i]))), ..points[i].call(i, s) };
        call.correct = correct;
        call.keep = true;
        call.next = next;
        call
    };
    Ok((s.start..n).map(call).collect())
}

/// From the kept sample at level i to level i + 1, by the values of the last `order` levels and, where it corrects, that
/// of level i + 1 as well.
fn update(points: &[Point], i: usize, order: usize, ring: usize, form: Dpm, bh2: bool, corrects: bool) -> Mix {
    let (from, to) = (&points[i], &points[i + 1]);
    let h = to.lambda() - from.lambda();
    let (data, slot) = (form == Dpm::Data, |k: usize| k % ring);
    let hh = if data { -h } else { h };
    let phi_1 = libm::expm1(hh);
    let (x, scale) = if data { (to.sigma / from.sigma, to.alpha) } else { (to.alpha / from.alpha, to.sigma) };
    let start = Mix::default().with_base(x).with_slot(slot(i), -scale * phi_1);
    let unknowns = if corrects { order } else { order - 1 };
    if unknowns == 0 || h == 0.0 || !h.is_finite() {
        return start;
    }
    let b_h = if bh2 { phi_1 } else { hh };
    // Positions of the values in units of h: the earlier ones, then the new one.
    let ratio = |k: usize| if k + 1 == order { 1.0 } else { (points[i - 1 - k].lambda() - from.lambda()) / h };
    let rho = if unknowns == 1 && (corrects || order == 2) {
        // The paper's choice for the first order.
        [0.5, 0.0, 0.0, 0.0]
    } else {
        solve(unknowns, ratio, hh, b_h)
    };
    (0..unknowns).fold(start, |mix, k| {
        let value = if k + 1 == order { i + 1 } else { i - 1 - k };
        let weight = -scale * b_h * rho[k] / ratio(k);
        mix.with_slot(slot(value), weight).with_slot(slot(i), -weight)
    })
}

/// Solves sum over k of ratio_k^(row) * rho_k = b_row, b_row = row! * phi_{row + 1}(hh) / B(h) (eq. 5, Theorem 3.1).
fn solve(n: usize, ratio: impl Fn(usize) -> f64, hh: f64, b_h: f64) -> [f64; MOST] {
    let mut rows = [[0.0; MOST + 1]; MOST];
    let (mut phi, mut factorial) = (libm::expm1(hh) / hh - 1.0, 1.0);
    for (i, row) in rows.iter_mut().enumerate().take(n) {
        (0..n).for_each(|k| row[k] = libm::pow(ratio(k), i as f64));
        row[MOST] = phi * factorial / b_h;
        factorial *= (i + 2) as f64;
        phi = phi / hh - 1.0 / factorial;
    }
    // Gauss and Jordan; the ratios differ, so a row with a pivot is found.
    for pivot in 0..n {
        let best = (pivot..n).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()));
        rows.swap(pivot, best.unwrap_or(pivot));
        let lead = rows[pivot].map(|v| v / rows[pivot][pivot]);
        rows[pivot] = lead;
        for other in (0..n).filter(|&other| other != pivot) {
            let factor = rows[other][pivot];
            rows[other].iter_mut().zip(lead).for_each(|(v, l)| *v -= factor * l);
        }
    }
    core::array::from_fn(|k| rows[k][MOST])
}
