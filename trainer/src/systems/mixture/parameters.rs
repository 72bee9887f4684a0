//! The numbers of a mixture, and the restrictions on its covariances.
use crate::stats::FitError;
use nalgebra::{DMatrix, SymmetricEigen};

/// What a covariance may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Any, for each component its own.
    Full,
    /// Zero off the diagonal.
    Diagonal,
    /// A multiple of the unit matrix.
    Spherical,
    /// Any, the same for all components.
    Tied,
}

impl std::str::FromStr for Shape {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "diagonal" => Ok(Self::Diagonal),
            "spherical" => Ok(Self::Spherical),
            "tied" => Ok(Self::Tied),
            _ => Err("expected full, diagonal, spherical or tied".into()),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Diagonal => "diagonal",
            Self::Spherical => "spherical",
            Self::Tied => "tied",
        })
    }
}

impl Shape {
    /// Free numbers of `k` components in `dim` dimensions: weights, means and covariances.
    #[must_use]
    pub fn free(self, k: usize, dim: usize) -> usize {
        let covariances = match self {
            Self::Full => k * dim * (dim + 1) / 2,
            Self::Diagonal => k * dim,
            Self::Spherical => k,
            Self::Tied => dim * (dim + 1) / 2,
        };
        k - 1 + k * dim + covariances
    }

    /// Whether off-diagonal elements are zero.
    #[must_use]
    pub fn is_diagonal(self) -> bool {
        matches!(self, Self::Diagonal | Self::Spherical)
    }
}

/// Weights (K), means (row-major K x D) and covariances (K x D x D).
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// Probabilities of the components; they sum to 1.
    pub weights: Vec<f64>,
    /// Means, one component behind the other.
    pub means: Vec<f64>,
    /// Covariances, row-major, one component behind the other.
    pub covariances: Vec<f64>,
}

impl Parameters {
    /// Number of components.
    #[must_use]
    pub fn k(&self) -> usize {
        self.weights.len()
    }
    /// Number of dimensions.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.means.len() / self.weights.len()
    }
    /// The mean of component `k`.
    #[must_use]
    pub fn mean(&self, k: usize) -> &[f64] {
        let dim = self.dim();
        &self.means[k * dim..(k + 1) * dim]
    }
    /// The covariance of component `k`, row-major.
    #[must_use]
    pub fn covariance(&self, k: usize) -> &[f64] {
        let size = self.dim() * self.dim();
        &self.covariances[k * size..(k + 1) * size]
    }

    /// The book's start for Old Faithful (step 5.5): weights 1/2, means (0, 50) and (0, 100), unit covariances.
    #[must_use]
    pub fn book_start() -> Self {
        Self {
            weights: vec![0.5, 0.5],
            means: vec![0.0, 50.0, 0.0, 100.0],
            covariances: vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0],
        }
    }

    /// What the book samples in steps 4.2 and 5.5.3: rounded parameters of Old Faithful.
    #[must_use]
    pub fn book_rounded() -> Self {
        Self {
            weights: vec![0.35, 0.65],
            means: vec![2.0, 54.5, 4.3, 80.0],
            covariances: vec![0.07, 0.44, 0.44, 33.7, 0.17, 0.94, 0.94, 36.0],
        }
    }

    /// Starting values from text: a row of numbers for each component, weight, mean (D) and covariance (D x D,
    /// row-major).
    ///
    /// # Errors
    /// If rows are not of that length, weights are not positive, or a covariance is not symmetric.
    pub fn from_rows(rows: &[Vec<f64>], dim: usize) -> Result<Self, FitError> {
        let mut start = Self { weights: Vec::new(), means: Vec::new(), covariances: Vec::new() };
        for (k, row) in rows.iter().enumerate() {
            let wrong = |what: String| FitError::Start(format!("component {}: {what}", k + 1));
            let expected = 1 + dim + dim * dim;
            if row.len() != expected {
                let what = format!(
                    "{} numbers, expected {expected}: weight, {dim} of the mean, {dim}x{dim} of the covariance",
                    row.len()
                );
                return Err(wrong(what));
            }
            let (mean, covariance) = row[1..].split_at(dim);
            if row[0] <= 0.0 {
                return Err(wrong(format!("weight {} is not positive", row[0])));
            }
            for (i, j) in (0..dim).flat_map(|i| (0..i).map(move |j| (i, j))) {
                if covariance[i * dim + j] != covariance[j * dim + i] {
                    return Err(wrong(format!("the covariance is not symmetric at ({}, {})", i + 1, j + 1)));
                }
            }
            start.weights.push(row[0]);
            start.means.extend(mean);
            start.covariances.extend(covariance);
        }
        let total: f64 = start.weights.iter().sum();
        start.weights.iter_mut().for_each(|w| *w /= total);
        Ok(start)
    }
}

/// The most likely covariance not below a floor: of all matrices with `C - diag(floor)` positive semidefinite, the one
/// that maximizes `-ln |C| - tr(C^-1 S)`. In coordinates divided by `sqrt(floor)` that raises the eigenvalues of S
/// below 1 to 1; so an M-step with a floor is still a maximization, and the likelihood still never falls. Leaves S as
/// it is, bit for bit, where it is above the floor. `floor` has D variances; zeros ask for nothing.
fn raise(covariance: &mut [f64], floor: &[f64]) {
    let dim = floor.len();
    if floor.iter().any(|f| *f <= 0.0) {
        return;
    }
    let root: Vec<f64> = floor.iter().map(|f| f.sqrt()).collect();
    let scaled = DMatrix::from_fn(dim, dim, |i, j| covariance[i * dim + j] / (root[i] * root[j]));
    if scaled.iter().any(|v| !v.is_finite()) {
        return;
    }
    let eigen = SymmetricEigen::new(scaled);
    if eigen.eigenvalues.iter().all(|e| *e >= 1.0) {
        return;
    }
    let raised = eigen.eigenvalues.map(|e| e.max(1.0));
    let mended = &eigen.eigenvectors * DMatrix::from_diagonal(&raised) * eigen.eigenvectors.transpose();
    for (i, j) in (0..dim).flat_map(|i| (0..=i).map(move |j| (i, j))) {
        let value = 0.5 * (mended[(i, j)] + mended[(j, i)]) * root[i] * root[j];
        covariance[i * dim + j] = value;
        covariance[j * dim + i] = value;
    }
}

/// Brings a component's covariance to a shape, and above a floor. For `Tied` the caller has pooled it.
pub(super) fn restrict(covariance: &mut [f64], shape: Shape, floor: &[f64]) {
    let dim = floor.len();
    if !shape.is_diagonal() {
        return raise(covariance, floor);
    }
    let mean = (0..dim).map(|i| covariance[i * dim + i]).sum::<f64>() / dim as f64;
    // A ball has to be above every direction's floor.
    let highest = floor.iter().copied().fold(0.0, f64::max);
    for (i, j) in (0..dim).flat_map(|i| (0..dim).map(move |j| (i, j))) {
        let value = if shape == Shape::Spherical { mean.max(highest) } else { covariance[i * dim + i].max(floor[i]) };
        covariance[i * dim + j] = if i == j { value } else { 0.0 };
    }
}

/// The lower triangular Cholesky factor L of a covariance, as `L^-1` (row-major), with `ln |L|`; none if it is not
/// positive definite.
pub(super) fn inverse_factor(covariance: &[f64], dim: usize) -> Option<(Vec<f64>, f64)> {
    let factor = DMatrix::from_row_slice(dim, dim, covariance).cholesky()?;
    let l = factor.l_dirty();
    let log_det = (0..dim).map(|i| l[(i, i)].ln()).sum::<f64>();
    let inverse = factor.l().solve_lower_triangular(&DMatrix::identity(dim, dim))?;
    let rows: Vec<f64> = inverse.transpose().iter().copied().collect();
    (log_det.is_finite() && rows.iter().all(|v| v.is_finite())).then_some((rows, log_det))
}

/// The covariances' mean by weight, in the place of each.
pub(super) fn pool(parameters: &mut Parameters) {
    let size = parameters.dim() * parameters.dim();
    let of = |i: usize| (0..parameters.k()).map(|k| parameters.weights[k] * parameters.covariances[k * size + i]).sum();
    let pooled: Vec<f64> = (0..size).map(of).collect();
    parameters.covariances.chunks_exact_mut(size).for_each(|c| c.copy_from_slice(&pooled));
}

/// Start values brought to the shape and above the floor.
pub(super) fn restricted(mut parameters: Parameters, shape: Shape, floor: &[f64]) -> Parameters {
    let size = parameters.dim() * parameters.dim();
    if shape == Shape::Tied {
        pool(&mut parameters);
    }
    parameters.covariances.chunks_exact_mut(size).for_each(|c| restrict(c, shape, floor));
    parameters
}
