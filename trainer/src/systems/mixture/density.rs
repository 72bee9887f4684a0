//! Densities of a mixture over data: the bound of EM, hard assignments, and why the likelihood has no maximum.
use super::parameters::Parameters;
use super::pass::Prepared;
use crate::data::table::Table;
use crate::error::Result;
use crate::stats::{FitError, sum};
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};
use rayon::prelude::*;

impl Parameters {
    /// The distribution with these parameters.
    ///
    /// # Errors
    /// If they are none: a covariance not positive definite, weights that do not sum to 1.
    pub fn mixture(&self) -> Result<Mixture> {
        let component = |k| MultivariateNormal::new(self.mean(k).to_vec(), self.covariance(k).to_vec());
        let components: std::result::Result<Vec<_>, _> = (0..self.k()).map(component).collect();
        let components = components.map_err(nijimi_runtime::Error::from)?;
        Ok(Mixture::new(self.weights.clone(), components).map_err(nijimi_runtime::Error::from)?)
    }
}

/// Rows of a task.
const ROWS: usize = 4096;

/// The sum of a function of each row.
pub(crate) fn sum_over(table: &Table, f: impl Fn(&[f64]) -> f64 + Sync) -> f64 {
    let starts: Vec<usize> = (0..table.rows()).step_by(ROWS).collect();
    let part = |from: &usize| {
        let mut row = vec![0.0; table.dim()];
        sum((*from..(from + ROWS).min(table.rows())).map(|i| {
            table.row(i, &mut row);
            f(&row)
        }))
    };
    sum(starts.par_iter().map(part).collect::<Vec<_>>())
}

/// Mean of `ln(p(x) + epsilon)`. The book adds 1e-8 before it takes the logarithm; 0 is the log-likelihood.
#[must_use]
pub fn mean_log_likelihood(table: &Table, mixture: &Mixture, epsilon: f64) -> f64 {
    let log = |row: &[f64]| {
        let log = mixture.log_pdf(row);
        if epsilon > 0.0 { (log.exp() + epsilon).ln() } else { log }
    };
    sum_over(table, log) / table.rows() as f64
}

/// The log-likelihood of a table, by EM's kernel: threaded and in vectors.
///
/// # Errors
/// If a covariance is not positive definite.
pub fn log_likelihood(table: &Table, parameters: &Parameters) -> Result<f64> {
    let prepared = Prepared::new(parameters, false)
        .map_err(|k| FitError::Start(format!("component {}: the covariance is not positive definite", k + 1)))?;
    Ok(prepared.sums(table, &parameters.means).log_likelihood)
}

/// Number of rows to which each component is the most likely, the first one where several are.
#[must_use]
pub fn hard_counts(table: &Table, mixture: &Mixture) -> Vec<usize> {
    let (k, rows) = (mixture.weights().len(), table.rows());
    let starts: Vec<usize> = (0..rows).step_by(ROWS).collect();
    let part = |from: &usize| {
        let (mut counts, mut row, mut logs) = (vec![0; k], vec![0.0; table.dim()], vec![0.0; k]);
        for i in *from..(from + ROWS).min(rows) {
            table.row(i, &mut row);
            mixture.log_joint(&row, &mut logs);
            let best = (1..k).fold(0, |best, k| if logs[k] > logs[best] { k } else { best });
            counts[best] += 1;
        }
        counts
    };
    let add = |a: Vec<usize>, b: Vec<usize>| a.iter().zip(&b).map(|(a, b)| a + b).collect();
    starts.par_iter().map(part).reduce(|| vec![0; k], add)
}

/// `ln p(x)` as the sum of a bound and what it lacks (book step 5.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decomposition {
    /// `ln p(x)`.
    pub log_p: f64,
    /// `sum_z q(z) ln (p(x, z) / q(z))`: the evidence lower bound.
    pub elbo: f64,
    /// `KL(q(z) || p(z | x))`, from the responsibilities; infinite where one is 0 and q is not.
    pub kl: f64,
}

/// Decomposes `ln p(x)` by a distribution `q` over the components.
///
/// # Panics
/// If `x` is not of the mixture's dimension, or `q` not of its number of components.
#[must_use]
pub fn decompose(mixture: &Mixture, x: &[f64], q: &[f64]) -> Decomposition {
    let (mut joint, mut posterior) = (vec![0.0; q.len()], vec![0.0; q.len()]);
    mixture.log_joint(x, &mut joint);
    let log_p = mixture.responsibilities(x, &mut posterior);
    let expect = |f: &dyn Fn(usize) -> f64| sum((0..q.len()).filter(|z| q[*z] > 0.0).map(|z| q[z] * f(z)));
    let elbo = expect(&|z| joint[z] - q[z].ln());
    let kl = expect(&|z| (q[z] / posterior[z]).ln());
    Decomposition { log_p, elbo, kl }
}

/// Mean log-likelihood as the first component shrinks onto a row: its mean becomes that row and its covariance `sigma^2
/// I`, for each of `sigmas`. It grows like `-D ln(sigma) / n` without bound, so a maximum of the likelihood does not
/// exist (book step 4.4).
///
/// # Errors
/// If the parameters or a sigma make no distribution.
pub fn collapse(table: &Table, parameters: &Parameters, row: usize, sigmas: &[f64]) -> Result<Vec<f64>> {
    let dim = table.dim();
    let mut p = parameters.clone();
    table.row(row, &mut p.means[..dim]);
    let value = |sigma: &f64| {
        (0..dim * dim).for_each(|at| p.covariances[at] = if at % (dim + 1) == 0 { sigma * sigma } else { 0.0 });
        Ok(log_likelihood(table, &p)? / table.rows() as f64)
    };
    sigmas.iter().map(value).collect()
}
