//! What numbers can be wrong with a distribution.

/// Why numbers make no distribution.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum DistError {
    /// No dimension, component or outcome at all.
    #[error("{what}: there are none; give at least one")]
    Empty { what: &'static str },
    /// NaN or infinity.
    #[error("{what}: number {index} (from 0) is {value}; only finite numbers are possible")]
    NotFinite { what: &'static str, index: usize, value: f64 },
    /// A list of the wrong length.
    #[error("{what}: {found} numbers where {expected} are needed")]
    Length { what: &'static str, found: usize, expected: usize },
    /// A standard deviation that is not positive.
    #[error("sigma is {0}: a standard deviation is finite and above 0; constant data has no normal distribution")]
    Sigma(f64),
    /// A covariance whose two halves differ.
    #[error(
        "the covariance is not symmetric: ({row}, {column}) is {value} and ({column}, {row}) is {mirrored}, from 0; \
         give both the same value"
    )]
    NotSymmetric { row: usize, column: usize, value: f64, mirrored: f64 },
    /// A covariance that is singular, or has a negative eigenvalue.
    #[error(
        "the covariance is not positive definite: pivot {pivot} (from 0) of its Cholesky factorization is {value}, \
         where the variance is {variance}; column {pivot} is constant or a combination of those before it: leave it \
         out, give more rows, or add a floor to the diagonal"
    )]
    NotPositiveDefinite { pivot: usize, value: f64, variance: f64 },
    /// A probability that is none.
    #[error("{what}: number {index} (from 0) is {value}; a probability is 0 to 1")]
    Probability { what: &'static str, index: usize, value: f64 },
    /// Probabilities that do not add up.
    #[error("{what}: the sum is {sum}; probabilities sum to 1, so divide each by the sum")]
    ProbabilitySum { what: &'static str, sum: f64 },
    /// Components of different dimensions.
    #[error("component {component} (from 0) has {found} dimensions, and component 0 has {expected}")]
    Dimensions { component: usize, found: usize, expected: usize },
    /// A share of signal that is none.
    #[error("alpha_bar is {0}: the share of the variance that is left of the data is 0 to 1")]
    AlphaBar(f64),
    /// A column that is not there, or twice.
    #[error("column {column} (from 0) of {dim}: choose each at most once, from those that exist")]
    Column { column: usize, dim: usize },
    /// A number of uniforms that cannot be summed.
    #[error("the sum of {n} uniforms: give 1 to {limit}")]
    Uniforms { n: usize, limit: usize },
    /// Bounds of an integral that are not two rising finite numbers.
    #[error("an integral from {from} to {to}: give two finite numbers, the lesser first")]
    Bounds { from: f64, to: f64 },
    /// An integral that did not settle.
    #[error("an integral did not settle: it changed by {change} at {points} points; split it where the function jumps")]
    NotSettled { change: f64, points: usize },
}
