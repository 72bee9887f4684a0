//! Fitting a multivariate normal distribution (book step 3).
pub mod command;

use crate::data::table::Table;
use crate::error::Result;
use crate::stats::covariance;
use crate::systems::mixture::{Shape, check};
use nalgebra::{DMatrix, SymmetricEigen};
use nijimi_runtime::raw::dist::MultivariateNormal;

/// The normal with a table's mean and covariance: the most likely one, whose sums are divided by n, or with the
/// unbiased covariance, divided by n - 1.
///
/// # Errors
/// If a column is constant or a linear function of others, or rows are fewer than parameters.
pub fn fit(table: &Table, unbiased: bool) -> Result<MultivariateNormal> {
    let (mean, mle) = check(table, Shape::Full.free(1, table.dim()), true)?;
    let covariance = if unbiased { covariance(table, 1).1 } else { mle };
    Ok(MultivariateNormal::new(mean, covariance).map_err(nijimi_runtime::Error::from)?)
}

/// Log-likelihood: the sum of `ln p(x)` over the rows.
#[must_use]
pub fn log_likelihood(table: &Table, normal: &MultivariateNormal) -> f64 {
    super::mixture::density::sum_over(table, |row| normal.log_pdf(row))
}

/// What a covariance matrix says of its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Anatomy {
    /// Determinant.
    pub determinant: f64,
    /// Inverse, row-major D x D.
    pub inverse: Vec<f64>,
    /// Eigenvalues, rising: the variances along the axes of the ellipsoids of equal density.
    pub eigenvalues: Vec<f64>,
    /// Correlations, row-major D x D.
    pub correlations: Vec<f64>,
}

/// Takes a positive definite covariance apart.
#[must_use]
pub fn anatomy(normal: &MultivariateNormal) -> Anatomy {
    let (dim, covariance) = (normal.dim(), normal.covariance());
    let matrix = DMatrix::from_row_slice(dim, dim, covariance);
    let mut eigenvalues: Vec<f64> = SymmetricEigen::new(matrix.clone()).eigenvalues.iter().copied().collect();
    eigenvalues.sort_unstable_by(f64::total_cmp);
    // The distribution was made by its Cholesky factor, so there is one here too.
    let inverse = matrix.cholesky().map(|c| c.inverse().iter().copied().collect()).unwrap_or_default();
    let scale = |i: usize| covariance[i * dim + i].sqrt();
    let correlations = (0..dim * dim).map(|at| covariance[at] / (scale(at / dim) * scale(at % dim))).collect();
    Anatomy { determinant: normal.log_det().exp(), inverse, eigenvalues, correlations }
}
