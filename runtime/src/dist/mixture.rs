//! Mixtures of multivariate normals (steps 4 and 5): everything in logarithms, since far from the means densities underflow.

use super::multivariate::MultivariateNormal;
use super::{DistError, discrete};
use crate::rng::Stream;
use alloc::vec;
use alloc::vec::Vec;

/// `p(x) = sum over k of weights[k] N(x; means[k], covariances[k])`: K components in `dim()` dimensions.
///
/// ```
/// use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};
/// let short = MultivariateNormal::new(vec![2.0, 54.5], vec![0.07, 0.44, 0.44, 33.7])?;
/// let long = MultivariateNormal::new(vec![4.3, 80.0], vec![0.17, 0.94, 0.94, 36.0])?;
/// let geyser = Mixture::new(vec![0.35, 0.65], vec![short, long])?;
/// assert!((geyser.log_pdf(&[3.6, 79.0]).exp() - 0.009359025752525797).abs() < 1e-12);
/// # Ok::<(), nijimi_runtime::raw::dist::DistError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    weights: Vec<f64>,
    log_weights: Vec<f64>,
    components: Vec<MultivariateNormal>,
}

impl Mixture {
    /// From K weights and K components.
    ///
    /// # Errors
    /// No component; as many weights as components there are not; weights that are no probabilities or do not sum to 1 (to
    /// 1e-9); components of different dimensions.
    pub fn new(weights: Vec<f64>, components: Vec<MultivariateNormal>) -> Result<Self, DistError> {
        if weights.len() != components.len() {
            return Err(DistError::Length { what: "the weights", found: weights.len(), expected: components.len() });
        }
        discrete::probabilities("the weights", &weights)?;
        let expected = components[0].dim();
        if let Some(component) = components.iter().position(|c| c.dim() != expected) {
            return Err(DistError::Dimensions { component, found: components[component].dim(), expected });
        }
        let log_weights = weights.iter().map(|w| libm::log(*w)).collect();
        Ok(Self { weights, log_weights, components })
    }

    /// The weights, K numbers.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The components, K of them.
    #[must_use]
    pub fn components(&self) -> &[MultivariateNormal] {
        &self.components
    }

    /// Number of dimensions, D.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.components[0].dim()
    }

    /// log p(x, k), one after another.
    fn joints(&self, x: &[f64]) -> impl Iterator<Item = f64> {
        self.log_weights.iter().zip(&self.components).map(|(w, c)| w + c.log_pdf(x))
    }

    /// log p(x); allocates nothing.
    ///
    /// # Panics
    /// Where `x` is not of `dim()` numbers.
    #[must_use]
    pub fn log_pdf(&self, x: &[f64]) -> f64 {
        log_sum_exp(self.joints(x))
    }

    /// [`log_pdf`](Self::log_pdf) of each row of `rows` (n * D) into `out` (n).
    ///
    /// # Panics
    /// Where `rows` is not n rows of `dim()` numbers.
    pub fn log_pdf_many(&self, rows: &[f64], out: &mut [f64]) {
        assert_eq!(rows.len(), out.len() * self.dim(), "a density for each whole row");
        rows.chunks_exact(self.dim()).zip(out).for_each(|(row, out)| *out = self.log_pdf(row));
    }

    /// `log p(x, k) = log weights[k] + log N(x; k)` into `out` (K).
    ///
    /// # Panics
    /// Where `x` is not of `dim()` numbers, or `out` not of K.
    pub fn log_joint(&self, x: &[f64], out: &mut [f64]) {
        assert_eq!(out.len(), self.weights.len(), "a number for each component");
        out.iter_mut().zip(self.joints(x)).for_each(|(out, joint)| *out = joint);
    }

    /// p(k | x) into `out` (K), which sums to 1; returns log p(x). So far from everything that even the logarithms
    /// overflow, the weights.
    ///
    /// # Panics
    /// Where `x` is not of `dim()` numbers, or `out` not of K.
    pub fn responsibilities(&self, x: &[f64], out: &mut [f64]) -> f64 {
        self.log_joint(x, out);
        let log_pdf = log_sum_exp(out.iter().copied());
        if log_pdf == f64::NEG_INFINITY {
            out.copy_from_slice(&self.weights);
        } else {
            out.iter_mut().for_each(|v| *v = libm::exp(*v - log_pdf));
        }
        log_pdf
    }

    /// Gradient of [`log_pdf`](Self::log_pdf) by x into `out`: the components' scores, by their responsibilities.
    ///
    /// # Panics
    /// Where `x` or `out` is not of `dim()` numbers.
    pub fn score(&self, x: &[f64], out: &mut [f64]) {
        let log_pdf = self.log_pdf(x);
        out.fill(0.0);
        for ((joint, component), weight) in self.joints(x).zip(&self.components).zip(&self.weights) {
            let share = if log_pdf == f64::NEG_INFINITY { *weight } else { libm::exp(joint - log_pdf) };
            component.add_score(x, share, out);
        }
    }

    /// A draw into `out`; returns the component that it came from.
    ///
    /// # Panics
    /// Where `out` is not of `dim()` numbers.
    pub fn sample(&self, stream: &mut Stream, out: &mut [f64]) -> usize {
        let k = discrete::pick(&self.weights, stream.uniform_f64());
        self.components[k].sample(stream, out);
        k
    }

    /// The mean of the whole, D numbers.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dim()];
        for (w, c) in self.weights.iter().zip(&self.components) {
            mean.iter_mut().zip(c.mean()).for_each(|(sum, m)| *sum += w * m);
        }
        mean
    }

    /// The covariance of the whole, D * D, row-major: that within the components, and that of their means.
    #[must_use]
    pub fn covariance(&self) -> Vec<f64> {
        let (dim, mean) = (self.dim(), self.mean());
        let mut covariance = vec![0.0; dim * dim];
        for (w, c) in self.weights.iter().zip(&self.components) {
            for (i, (sum, within)) in covariance.iter_mut().zip(c.covariance()).enumerate() {
                let (row, column) = (i / dim, i % dim);
                *sum += w * (within + (c.mean()[row] - mean[row]) * (c.mean()[column] - mean[column]));
            }
        }
        covariance
    }

    /// The distribution of some columns, in the order given.
    ///
    /// # Errors
    /// No column, one that does not exist, or one twice.
    pub fn marginal(&self, columns: &[usize]) -> Result<Self, DistError> {
        self.map(|c| c.marginal(columns))
    }

    /// q_t, the distribution of sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise: each component's, with the same weights.
    ///
    /// # Errors
    /// An `alpha_bar` outside 0 to 1.
    pub fn noised(&self, alpha_bar: f64) -> Result<Self, DistError> {
        self.map(|c| c.noised(alpha_bar))
    }

    fn map(&self, f: impl Fn(&MultivariateNormal) -> Result<MultivariateNormal, DistError>) -> Result<Self, DistError> {
        Self::new(self.weights.clone(), self.components.iter().map(f).collect::<Result<_, _>>()?)
    }
}

/// log of the sum of exp, in one pass: the sum is kept relative to the largest so far. Minus infinity for no terms.
pub(super) fn log_sum_exp(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut largest, mut sum) = (f64::NEG_INFINITY, 0.0);
    for term in terms {
        if term.is_nan() {
            return term;
        }
        if term > largest {
            sum = sum * libm::exp(largest - term) + 1.0;
            largest = term;
        } else if term > f64::NEG_INFINITY {
            sum += libm::exp(term - largest);
        }
    }
    largest + libm::log(sum)
}
