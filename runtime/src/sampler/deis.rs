//! DEIS, log-rho multistep (Zhang and Chen 2023, "Fast Sampling of Diffusion Models with Exponential Integrator"): the
//! noise is a polynomial in log rho, rho = sigma / alpha, and is integrated over rho exactly.

use super::SamplerError;
use super::call::{Call, Mix};
use super::levels::Levels;
use super::settings::SolverSettings;
use alloc::vec::Vec;

pub(super) fn calls(levels: &Levels, s: &SolverSettings, order: usize) -> Result<Vec<Call>, SamplerError> {
    let (points, n) = (&levels.points, levels.steps());
    if order == 0 || order > 3 {
        return Err(SamplerError::Order { order, most: 3 });
    }
    if points[n].sigma == 0.0 {
        return Err(SamplerError::CleanEnd);
    }
    let short = s.lower_order_final && n < 15;
    let call = |i: usize| {
        let most = if short { order.min(n - i) } else { order };
        let used = most.min(i - s.start + 1);
        let log_rho = |k: usize| -points[k].lambda();
        let (from, to) = (log_rho(i), log_rho(i + 1));
        let mut next = Mix::of(points[i + 1].alpha / points[i].alpha, 0.0);
        for j in 0..used {
            let others: Vec<f64> = (0..used).filter(|&k| k != j).map(|k| log_rho(i - k)).collect();
            let basis = others.iter().map(|other| log_rho(i - j) - other).product::<f64>();
            let weight = (antiderivative(to, &others) - antiderivative(from, &others)) / basis;
            next = next.with_slot((i - j) % 3, points[i + 1].alpha * weight);
        }
        Call { store: Some((i % 3, points[i].epsilon())), next, ..points[i].call(i, s) }
    };
    Ok((s.start..n).map(call).collect())
}

/// Of the product of (log rho - root) over rho, for at most two roots, at `l` = log rho.
fn antiderivative(l: f64, roots: &[f64]) -> f64 {
    let polynomial = match *roots {
        [] => 1.0,
        [c] => l - 1.0 - c,
        [c, d, ..] => l * l - 2.0 * l + 2.0 - (c + d) * (l - 1.0) + c * d,
    };
    libm::exp(l) * polynomial
}
