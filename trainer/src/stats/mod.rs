//! Statistics of samples: moments, quantiles, histograms, the Kolmogorov-Smirnov test, means and sums of uniforms.
pub(crate) mod fault;
mod histogram;
mod ks;
mod moments;
mod uniforms;

pub use fault::FitError;
pub use histogram::Histogram;
pub use ks::{KsTest, ks_test};
pub use moments::{Moments, covariance, quantile, sum};
pub use uniforms::{uniform_means, uniform_sums};
