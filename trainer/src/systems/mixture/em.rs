//! Expectation-maximization for Gaussian mixtures (Dempster, Laird and Rubin 1977; book step 5), in log space.
use super::options::{Options, Start};
use super::parameters::{Parameters, Shape, pool, restrict};
use super::pass::{Prepared, Sums};
use super::start;
use crate::data::table::Table;
use crate::stats::FitError;

/// Parameters after some updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The parameters.
    pub parameters: Parameters,
    /// Mean of `ln p(x)` over the data under them.
    pub mean_log_likelihood: f64,
    /// Whether a component without rows was placed anew in this update: only then may the likelihood fall.
    pub reseeded: bool,
}

/// A fitted mixture and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The start and each update, of K (1 + D + D^2) numbers; the last one is the result.
    pub steps: Vec<Step>,
    /// Whether the tolerance was reached.
    pub converged: bool,
}

impl Fit {
    /// The fitted parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.last().parameters
    }
    /// Mean log-likelihood of the data under them.
    #[must_use]
    pub fn mean_log_likelihood(&self) -> f64 {
        self.last().mean_log_likelihood
    }
    /// Number of updates.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.steps.len() - 1
    }
    fn last(&self) -> &Step {
        &self.steps[self.steps.len() - 1]
    }
}

/// A component with less than this sum of responsibilities is empty.
const EMPTY: f64 = 1e-8;
/// Squared distance of a new mean from the sums' origin, in variances, beyond which the sums are taken anew: a variance
/// as their difference would lose more than two digits.
const FAR: f64 = 100.0;

/// Fits a mixture.
///
/// # Errors
/// If the data do not allow it (see [`FitError`]), or without a floor a component collapses.
pub fn fit(table: &Table, options: &Options) -> Result<Fit, FitError> {
    fit_watched(table, options, &mut |_, _, _| {})
}

/// Fits a mixture; `watch` is told the start (from 0), the number of updates and the step after each E-step.
///
/// # Errors
/// See [`fit`].
pub fn fit_watched(
    table: &Table,
    options: &Options,
    watch: &mut dyn FnMut(usize, usize, &Step),
) -> Result<Fit, FitError> {
    let data = start::examine(table, options)?;
    let restarts = if options.start == Start::KMeansPlusPlus { options.restarts.max(1) } else { 1 };
    let mut best: Option<Fit> = None;
    for restart in 0..restarts {
        let first = start::parameters(table, options, &data, restart as u64)?;
        let fit = climb(table, options, &data, first, &mut |iteration, step| watch(restart, iteration, step))?;
        if best.as_ref().is_none_or(|b| fit.mean_log_likelihood() > b.mean_log_likelihood()) {
            best = Some(fit);
        }
    }
    // There is at least one start.
    best.ok_or(FitError::NotFinite { what: "the likelihood" })
}

fn climb(
    table: &Table,
    options: &Options,
    data: &start::Data,
    first: Parameters,
    watch: &mut dyn FnMut(usize, &Step),
) -> Result<Fit, FitError> {
    let (n, mut tries) = (table.rows() as f64, 0);
    let mut steps: Vec<Step> = Vec::new();
    let (mut parameters, mut reseeded) = (first, false);
    loop {
        let iteration = steps.len();
        let prepared = Prepared::new(&parameters, options.shape.is_diagonal()).map_err(|k| match iteration {
            0 => FitError::Start(format!("component {}: the covariance is not positive definite", k + 1)),
            _ => FitError::Collapsed { iteration, component: k + 1, rows: parameters.weights[k] * n },
        })?;
        let sums = prepared.sums(table, &parameters.means);
        let value = sums.log_likelihood / n;
        if !value.is_finite() {
            return Err(FitError::NotFinite { what: "the likelihood" });
        }
        let rise = steps.last().map_or(f64::INFINITY, |s| value - s.mean_log_likelihood);
        // After a new placement the likelihood may have fallen: that is not convergence.
        let converged = rise < options.tolerance && !reseeded;
        let next = (!converged && iteration < options.max_iterations)
            .then(|| maximize(table, options, data, &prepared, sums, iteration + 1))
            .transpose()?;
        let step = Step { parameters, mean_log_likelihood: value, reseeded };
        watch(iteration, &step);
        steps.push(step);
        let Some((updated, emptied)) = next else { return Ok(Fit { steps, converged }) };
        parameters = updated;
        reseeded = emptied.is_some();
        tries += usize::from(reseeded);
        if let Some(component) = emptied.filter(|_| tries > 2 * options.k) {
            return Err(FitError::Emptied { iteration: iteration + 1, component: component + 1, tries: tries - 1 });
        }
    }
}

/// The M-step; also a component that was empty and has been placed anew.
fn maximize(
    table: &Table,
    options: &Options,
    data: &start::Data,
    prepared: &Prepared<'_>,
    sums: Sums,
    iteration: usize,
) -> Result<(Parameters, Option<usize>), FitError> {
    let old = prepared.parameters();
    let mut updated = estimate(&sums, &old.means, old.k(), options);
    if is_far(&updated, &old.means) {
        let origins = updated.means.clone();
        updated = estimate(&prepared.sums(table, &origins), &origins, old.k(), options);
    }
    let (k, dim) = (old.k(), old.dim());
    let size = dim * dim;
    let mut emptied = None;
    for c in 0..k {
        if sums.of[c * sums.stride] < EMPTY {
            // Where the mixture explains the data worst is where another component helps most.
            table.row(sums.worst.0, &mut updated.means[c * dim..(c + 1) * dim]);
            updated.covariances[c * size..(c + 1) * size].copy_from_slice(&data.covariance);
            updated.weights[c] = 1.0 / k as f64;
            emptied = Some(c);
        }
    }
    if emptied.is_some() {
        let total: f64 = updated.weights.iter().sum();
        updated.weights.iter_mut().for_each(|w| *w /= total);
    }
    if options.shape == Shape::Tied {
        pool(&mut updated);
    }
    for c in 0..k {
        restrict(&mut updated.covariances[c * size..(c + 1) * size], options.shape, &data.floor);
        // Rounding alone can leave a variance of nothing a little above or below zero.
        let flat = (0..dim)
            .find(|i| updated.covariances[c * size + i * dim + i] <= f64::EPSILON * data.covariance[i * dim + i]);
        if flat.is_some() {
            let rows = updated.weights[c] * table.rows() as f64;
            return Err(FitError::Collapsed { iteration, component: c + 1, rows });
        }
    }
    let all = updated.weights.iter().chain(&updated.means).chain(&updated.covariances);
    if !all.clone().all(|v| v.is_finite()) {
        return Err(FitError::NotFinite { what: "a parameter" });
    }
    Ok((updated, emptied))
}

/// Weights, means and covariances from sums about `origins`; garbage for empty components.
fn estimate(sums: &Sums, origins: &[f64], k: usize, options: &Options) -> Parameters {
    let dim = origins.len() / k;
    let total: f64 = (0..k).map(|c| sums.of[c * sums.stride]).sum();
    let mut out = Parameters { weights: Vec::new(), means: origins.to_vec(), covariances: vec![0.0; k * dim * dim] };
    for c in 0..k {
        let of = &sums.of[c * sums.stride..(c + 1) * sums.stride];
        let rows = of[0].max(f64::MIN_POSITIVE);
        out.weights.push(of[0] / total);
        let shift: Vec<f64> = of[1..=dim].iter().map(|s| s / rows).collect();
        out.means[c * dim..(c + 1) * dim].iter_mut().zip(&shift).for_each(|(m, s)| *m += s);
        let covariance = &mut out.covariances[c * dim * dim..(c + 1) * dim * dim];
        let mut kept = of[1 + dim..].iter();
        for i in 0..dim {
            for j in if options.shape.is_diagonal() { i } else { 0 }..=i {
                let value = kept.next().map_or(0.0, |s| s / rows - shift[i] * shift[j]);
                covariance[i * dim + j] = value;
                covariance[j * dim + i] = value;
            }
        }
    }
    out
}

/// Whether a mean moved so far from the sums' origin that the variances lost digits.
fn is_far(updated: &Parameters, origins: &[f64]) -> bool {
    let dim = updated.dim();
    (0..updated.means.len()).any(|i| {
        let (k, d) = (i / dim, i % dim);
        (updated.means[i] - origins[i]).powi(2) > FAR * updated.covariance(k)[d * dim + d]
    })
}
