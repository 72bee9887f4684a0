//! The evidence lower bound of a chain (Ho et al. 2020, eq. 5), exactly or estimated level by level.

use super::{DiffusionError, Level, Target, same_len};
use alloc::vec;
use core::f64::consts::TAU;
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::schedule::Schedule;

/// KL(N(p_mean, p_variance I) || N(q_mean, q_variance I)) in nats, of as many dimensions as the means have.
///
/// ```
/// use nijimi_book::diffusion::kl;
/// assert!((kl(&[1.0], 0.25, &[0.0], 1.0)? - 0.8181471805599454).abs() < 1e-15);
/// # Ok::<(), nijimi_book::diffusion::DiffusionError>(())
/// ```
///
/// # Errors
/// Lengths that differ.
pub fn kl(p_mean: &[f64], p_variance: f64, q_mean: &[f64], q_variance: f64) -> Result<f64, DiffusionError> {
    same_len("the second mean", q_mean.len(), p_mean.len())?;
    let squares: f64 = p_mean.iter().zip(q_mean).map(|(p, q)| (p - q) * (p - q)).sum();
    let excess = (p_variance - q_variance) / q_variance;
    // excess - log(1 + excess), which keeps its digits where the variances are nearly equal.
    Ok(0.5 * (squares / q_variance + p_mean.len() as f64 * (excess - libm::log1p(excess))))
}

/// KL(q(x_T | x_0) || N(0, I)) in nats: what of `x_0` is still to be seen at the last level.
#[must_use]
pub fn prior_kl(schedule: &Schedule, x_0: &[f64]) -> f64 {
    let alpha_bar = schedule.alpha_bar(schedule.steps());
    let squares: f64 = x_0.iter().map(|x| x * x).sum();
    0.5 * (alpha_bar * squares - x_0.len() as f64 * (alpha_bar + libm::log1p(-alpha_bar)))
}

/// The terms of a negative ELBO, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// -log p(x_0 | x_1).
    pub reconstruction: f64,
    /// Sum over t = 2..=T of KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)).
    pub denoising: f64,
    /// KL(q(x_T | x_0) || p(x_T)), exact.
    pub prior: f64,
}

impl Estimate {
    /// The ELBO: a lower bound of log p(x_0), in expectation over the noise.
    #[must_use]
    pub fn elbo(&self) -> f64 {
        -(self.reconstruction + self.denoising + self.prior)
    }
}

/// ELBO of the chain p(x_T) = N(0, I), p(x_{t-1} | x_t) = N(mean that a network predicts, posterior variance I), and
/// p(x_0 | x_1) = N(mean, `variance` I) with a variance of its own, as the posterior's is 0 there.
#[derive(Clone, Copy, Debug)]
pub struct Elbo<'a> {
    schedule: &'a Schedule,
    target: Target,
    variance: f64,
}

impl<'a> Elbo<'a> {
    /// For networks that predict `target`. A usual `variance` is beta_1.
    ///
    /// # Errors
    /// A variance that is not above 0.
    pub fn new(schedule: &'a Schedule, target: Target, variance: f64) -> Result<Self, DiffusionError> {
        let positive = variance > 0.0 && variance.is_finite();
        if positive { Ok(Self { schedule, target, variance }) } else { Err(DiffusionError::Variance(variance)) }
    }

    /// The term of level t >= 2 for the `noise` that led from `x_0` to x_t, or the reconstruction of t = 1, given what
    /// the network predicted for x_t.
    ///
    /// # Errors
    /// Lengths that differ; a target that says nothing at this level.
    pub fn term(&self, level: &Level, x_0: &[f64], noise: &[f64], predicted: &[f64]) -> Result<f64, DiffusionError> {
        same_len("the noise", noise.len(), x_0.len())?;
        same_len("the prediction", predicted.len(), x_0.len())?;
        let [from_x, from_x0] = level.convert(Target::Sample, self.target)?;
        let [_, to_mean] = level.convert(self.target, Target::Mean)?;
        let marginal = level.marginal();
        let square = |((x_0, noise), predicted): ((&f64, &f64), &f64)| {
            let error = from_x * marginal.at(*x_0, *noise) + from_x0 * x_0 - predicted;
            error * error
        };
        let squares: f64 = x_0.iter().zip(noise).zip(predicted).map(square).sum();
        Ok(match level.elbo_weight(self.target)? {
            Some(weight) => weight * squares,
            // The mean of t = 1 is the prediction of x_0, and its error scales as the target's.
            None => {
                let dim = x_0.len() as f64;
                0.5 * (to_mean * to_mean * squares / self.variance + dim * libm::log(TAU * self.variance))
            }
        })
    }

    /// One draw of noise at every level: T answers of the network, `predict(level, x_t, out)`.
    ///
    /// # Errors
    /// Those of `predict`, and of [`term`](Self::term).
    pub fn estimate<E: From<DiffusionError>>(
        &self,
        x_0: &[f64],
        stream: &mut Stream,
        predict: impl FnMut(&Level, &[f64], &mut [f64]) -> Result<(), E>,
    ) -> Result<Estimate, E> {
        self.sum(x_0, stream, predict, 1..=self.schedule.steps(), 1.0)
    }

    /// The same in expectation from level 1 and `draws` (at least 1) random others, each standing for its share of the
    /// sum: unbiased, and `draws + 1` answers instead of T (8.3: Monte Carlo over t).
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate).
    pub fn estimate_of<E: From<DiffusionError>>(
        &self,
        draws: usize,
        x_0: &[f64],
        stream: &mut Stream,
        predict: impl FnMut(&Level, &[f64], &mut [f64]) -> Result<(), E>,
    ) -> Result<Estimate, E> {
        let others = self.schedule.steps() as u64 - 1;
        let draws = if others == 0 { 0 } else { draws.max(1) };
        let levels: vec::Vec<usize> = (0..draws).map(|_| 2 + stream.below(others) as usize).collect();
        self.sum(x_0, stream, predict, core::iter::once(1).chain(levels), others as f64 / draws.max(1) as f64)
    }

    /// Level 1 once, every other times `share`.
    fn sum<E: From<DiffusionError>>(
        &self,
        x_0: &[f64],
        stream: &mut Stream,
        mut predict: impl FnMut(&Level, &[f64], &mut [f64]) -> Result<(), E>,
        levels: impl Iterator<Item = usize>,
        share: f64,
    ) -> Result<Estimate, E> {
        let (mut noise, mut x_t, mut out) = (vec![0.0; x_0.len()], vec![0.0; x_0.len()], vec![0.0; x_0.len()]);
        let mut estimate = Estimate { prior: prior_kl(self.schedule, x_0), ..Estimate::default() };
        for t in levels {
            let level = Level::new(self.schedule, t)?;
            noise.iter_mut().for_each(|v| *v = stream.normal_f64());
            level.marginal().apply(x_0, &noise, &mut x_t)?;
            predict(&level, &x_t, &mut out)?;
            let term = self.term(&level, x_0, &noise, &out)?;
            if t == 1 {
                estimate.reconstruction += term;
            } else {
                estimate.denoising += share * term;
            }
        }
        Ok(estimate)
    }
}
