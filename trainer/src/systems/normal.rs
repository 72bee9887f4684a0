//! Fitting a normal distribution (book step 2).
pub mod command;

use crate::data::table::Table;
use crate::error::Result;
use crate::stats::{FitError, Moments, sum};
use crate::systems::mixture::check;
use nijimi_runtime::raw::dist::Normal;

/// The most likely normal for a table of one column: its mean, and the root of the mean squared deviation (divided by
/// n).
///
/// # Errors
/// If there are more columns, fewer than two rows, or the column is constant.
pub fn fit(table: &Table) -> Result<Normal> {
    if table.dim() != 1 {
        return Err(FitError::Columns { found: table.dim(), names: table.names().join(", ") }.into());
    }
    check(table, 2, true)?;
    let moments = Moments::of(&table.columns()[0]);
    Ok(Normal::new(moments.mean, moments.sigma()).map_err(nijimi_runtime::Error::from)?)
}

/// Log-likelihood of a normal: the sum of `ln p(x)`.
#[must_use]
pub fn log_likelihood(values: &[f64], mean: f64, sigma: f64) -> f64 {
    let squares = sum(values.iter().map(|x| ((x - mean) / sigma).powi(2)));
    -0.5 * squares - values.len() as f64 * (0.5 * (2.0 * std::f64::consts::PI).ln() + sigma.ln())
}

/// The gradient of [`log_likelihood`] by mean and sigma: `sum(x - mean) / sigma^2` and `-n / sigma + sum(x - mean)^2 /
/// sigma^3`. It vanishes at the fit.
#[must_use]
pub fn gradient(values: &[f64], mean: f64, sigma: f64) -> [f64; 2] {
    let first = sum(values.iter().map(|x| x - mean));
    let second = sum(values.iter().map(|x| (x - mean).powi(2)));
    [first / sigma.powi(2), second / sigma.powi(3) - values.len() as f64 / sigma]
}
