//! How a mixture is fitted.
use super::parameters::{Parameters, Shape};

/// Where EM begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// Rows drawn by k-means++ (Arthur and Vassilvitskii 2007) as means, with equal weights and the covariance within
    /// their cells.
    KMeansPlusPlus,
    /// These values.
    Given(Parameters),
}

/// How a mixture is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Components.
    pub k: usize,
    /// What their covariances may be.
    pub shape: Shape,
    /// Where EM begins.
    pub start: Start,
    /// EM ends when the mean log-likelihood rises by less.
    pub tolerance: f64,
    /// EM ends after so many updates.
    pub max_iterations: usize,
    /// Least variance of a component in any direction, as a share of the data's in that column. 0 leaves the likelihood
    /// unbounded.
    pub floor: f64,
    /// Starts, of which the best is kept. Given values are tried once.
    pub restarts: usize,
    /// Keys the starts.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            k: 2,
            shape: Shape::Full,
            start: Start::KMeansPlusPlus,
            tolerance: 1e-6,
            max_iterations: 1000,
            floor: 1e-6,
            restarts: 1,
            seed: 0,
        }
    }
}
