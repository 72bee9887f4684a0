//! The multivariate normal distribution (step 3): one Cholesky factorization, made once.

use super::{DistError, LN_2_PI, finite};
use crate::rng::Stream;
use alloc::vec;
use alloc::vec::Vec;

/// How much the halves of a covariance may differ, as a share of the two standard deviations' product: what rounding does.
const SYMMETRY: f64 = 1e-10;

/// N(mean, covariance) in `dim()` dimensions.
///
/// With covariance = L L^T, it keeps L for draws and W = L^-1 for densities: |W (x - mean)|^2 is the squared distance of
/// Mahalanobis, so that neither a density nor a score needs memory.
///
/// ```
/// use nijimi_runtime::raw::dist::MultivariateNormal;
/// let normal = MultivariateNormal::new(vec![1.0, 2.0], vec![1.0, 0.0, 0.0, 1.0])?;
/// assert!((normal.log_pdf(&[0.0, 0.0]).exp() - 0.013064233284684921).abs() < 1e-15);
/// # Ok::<(), nijimi_runtime::raw::dist::DistError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MultivariateNormal {
    mean: Vec<f64>,
    covariance: Vec<f64>,
    cholesky: Vec<f64>,
    whitening: Vec<f64>,
    log_det: f64,
}

impl MultivariateNormal {
    /// From a mean of D numbers and a covariance of D * D, row-major.
    ///
    /// # Errors
    /// No dimension; a covariance of another length; NaN or infinity; a covariance that is not symmetric (to rounding) or
    /// not positive definite (to rounding), with the place.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self, DistError> {
        let dim = mean.len();
        if dim == 0 {
            return Err(DistError::Empty { what: "dimensions" });
        }
        if dim.checked_mul(dim) != Some(covariance.len()) {
            let expected = dim.saturating_mul(dim);
            return Err(DistError::Length { what: "the covariance", found: covariance.len(), expected });
        }
        finite("the mean", &mean)?;
        finite("the covariance", &covariance)?;
        symmetric(&covariance, dim)?;
        let cholesky = cholesky(&covariance, dim)?;
        let log_det = 2.0 * (0..dim).map(|i| libm::log(cholesky[i * dim + i])).sum::<f64>();
        let whitening = inverse_of_lower(&cholesky, dim);
        Ok(Self { mean, covariance, cholesky, whitening, log_det })
    }

    /// Independent columns.
    ///
    /// # Errors
    /// As [`new`](Self::new); a variance that is not positive is a pivot that is not.
    pub fn diagonal(mean: Vec<f64>, variances: &[f64]) -> Result<Self, DistError> {
        let dim = variances.len();
        let mut covariance = vec![0.0; dim * dim];
        variances.iter().enumerate().for_each(|(i, v)| covariance[i * dim + i] = *v);
        Self::new(mean, covariance)
    }

    /// Number of dimensions, D.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The mean, D numbers.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance, D * D, row-major, as it was given.
    #[must_use]
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// L, the lower triangle with L L^T = covariance: D * D, row-major, zeros above the diagonal.
    #[must_use]
    pub fn cholesky(&self) -> &[f64] {
        &self.cholesky
    }

    /// Logarithm of the covariance's determinant.
    #[must_use]
    pub fn log_det(&self) -> f64 {
        self.log_det
    }

    /// (x - mean)^T covariance^-1 (x - mean).
    ///
    /// # Panics
    /// Where `x` is not of `dim()` numbers.
    #[must_use]
    pub fn mahalanobis_squared(&self, x: &[f64]) -> f64 {
        assert_eq!(x.len(), self.dim(), "a point has as many numbers as the distribution has dimensions");
        self.whitening.chunks_exact(self.dim()).enumerate().map(|(i, row)| square(self.whitened(row, i, x))).sum()
    }

    /// Element i of W (x - mean).
    fn whitened(&self, row: &[f64], i: usize, x: &[f64]) -> f64 {
        row.iter().zip(x).zip(&self.mean).take(i + 1).map(|((w, x), m)| w * (x - m)).sum()
    }

    #[cfg(test)]
    pub(super) fn whitening_at(&self, row: usize, column: usize) -> f64 {
        self.whitening[row * self.dim() + column]
    }

    /// Logarithm of the density at x; allocates nothing.
    ///
    /// # Panics
    /// Where `x` is not of `dim()` numbers.
    #[must_use]
    pub fn log_pdf(&self, x: &[f64]) -> f64 {
        -0.5 * (self.mahalanobis_squared(x) + self.log_det + self.dim() as f64 * LN_2_PI)
    }

    /// [`log_pdf`](Self::log_pdf) of each row of `rows` (n * D) into `out` (n).
    ///
    /// # Panics
    /// Where `rows` is not n rows of `dim()` numbers.
    pub fn log_pdf_many(&self, rows: &[f64], out: &mut [f64]) {
        assert_eq!(rows.len(), out.len() * self.dim(), "a density for each whole row");
        rows.chunks_exact(self.dim()).zip(out).for_each(|(row, out)| *out = self.log_pdf(row));
    }

    /// Gradient of [`log_pdf`](Self::log_pdf) by x, -covariance^-1 (x - mean), into `out`.
    ///
    /// # Panics
    /// Where `x` or `out` is not of `dim()` numbers.
    pub fn score(&self, x: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.add_score(x, 1.0, out);
    }

    /// Adds `share` times the score: -W^T (W (x - mean)), a row of W at a time.
    pub(super) fn add_score(&self, x: &[f64], share: f64, out: &mut [f64]) {
        assert_eq!((x.len(), out.len()), (self.dim(), self.dim()), "as many numbers as there are dimensions");
        for (i, row) in self.whitening.chunks_exact(self.dim()).enumerate() {
            let scaled = share * self.whitened(row, i, x);
            out.iter_mut().zip(row).take(i + 1).for_each(|(out, w)| *out -= scaled * w);
        }
    }

    /// A draw into `out`: mean + L times D standard normals.
    ///
    /// # Panics
    /// Where `out` is not of `dim()` numbers.
    pub fn sample(&self, stream: &mut Stream, out: &mut [f64]) {
        assert_eq!(out.len(), self.dim(), "as many numbers as there are dimensions");
        out.iter_mut().for_each(|v| *v = stream.normal_f64());
        // From the last row up, so that each row still finds the normals that it needs.
        for (i, row) in self.cholesky.chunks_exact(self.dim()).enumerate().rev() {
            out[i] = self.mean[i] + row.iter().zip(&*out).take(i + 1).map(|(l, z)| l * z).sum::<f64>();
        }
    }

    /// The distribution of some columns, in the order given.
    ///
    /// # Errors
    /// No column, one that does not exist, or one twice.
    pub fn marginal(&self, columns: &[usize]) -> Result<Self, DistError> {
        let dim = self.dim();
        for (i, &column) in columns.iter().enumerate() {
            if column >= dim || columns[..i].contains(&column) {
                return Err(DistError::Column { column, dim });
            }
        }
        let pairs = columns.iter().flat_map(|row| columns.iter().map(move |column| row * dim + column));
        Self::new(columns.iter().map(|c| self.mean[*c]).collect(), pairs.map(|i| self.covariance[i]).collect())
    }

    /// The distribution of sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise:
    /// N(sqrt(alpha_bar) mean, alpha_bar covariance + (1 - alpha_bar) I).
    ///
    /// # Errors
    /// An `alpha_bar` outside 0 to 1.
    pub fn noised(&self, alpha_bar: f64) -> Result<Self, DistError> {
        if !(0.0..=1.0).contains(&alpha_bar) {
            return Err(DistError::AlphaBar(alpha_bar));
        }
        let (dim, signal) = (self.dim(), libm::sqrt(alpha_bar));
        let mut covariance: Vec<f64> = self.covariance.iter().map(|v| alpha_bar * v).collect();
        (0..dim).for_each(|i| covariance[i * dim + i] += 1.0 - alpha_bar);
        Self::new(self.mean.iter().map(|v| signal * v).collect(), covariance)
    }
}

fn square(v: f64) -> f64 {
    v * v
}

fn symmetric(covariance: &[f64], dim: usize) -> Result<(), DistError> {
    for row in 0..dim {
        for column in 0..row {
            let (value, mirrored) = (covariance[row * dim + column], covariance[column * dim + row]);
            let scale = libm::sqrt(covariance[row * dim + row].abs() * covariance[column * dim + column].abs());
            if (value - mirrored).abs() > SYMMETRY * scale {
                return Err(DistError::NotSymmetric { row, column, value, mirrored });
            }
        }
    }
    Ok(())
}

/// L of a matrix whose lower triangle is read, row by row (Golub and Van Loan, "Matrix computations", 4.2).
fn cholesky(matrix: &[f64], dim: usize) -> Result<Vec<f64>, DistError> {
    let mut l = vec![0.0; dim * dim];
    for i in 0..dim {
        for j in 0..=i {
            let (above, below) = l.split_at_mut(i * dim);
            let known: f64 = if i == j {
                below[..j].iter().map(|v| v * v).sum()
            } else {
                above[j * dim..j * dim + j].iter().zip(&below[..j]).map(|(a, b)| a * b).sum()
            };
            let left = matrix[i * dim + j] - known;
            if i == j {
                let variance = matrix[i * dim + i];
                // What rounding leaves of a singular matrix is no pivot.
                if left.is_nan() || left <= dim as f64 * f64::EPSILON * variance || left <= 0.0 {
                    return Err(DistError::NotPositiveDefinite { pivot: i, value: left, variance });
                }
                below[j] = libm::sqrt(left);
            } else {
                below[j] = left / above[j * dim + j];
            }
        }
    }
    Ok(l)
}

/// The inverse of a lower triangle with a nonzero diagonal, a lower triangle too.
fn inverse_of_lower(l: &[f64], dim: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; dim * dim];
    for i in 0..dim {
        let pivot = 1.0 / l[i * dim + i];
        inverse[i * dim + i] = pivot;
        for j in 0..i {
            let sum: f64 = (j..i).map(|k| l[i * dim + k] * inverse[k * dim + j]).sum();
            inverse[i * dim + j] = -sum * pivot;
        }
    }
    inverse
}
