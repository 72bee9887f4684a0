//! The theory of diffusion in closed form, f64 (step 8): every Gaussian of the chain, the weights of its ELBO, and the
//! four things that a network can be asked for.
//!
//! Ho, Jain, Abbeel 2020: "Denoising diffusion probabilistic models"; Salimans and Ho 2022 for `v`. Levels are those of
//! [`schedule`](nijimi_runtime::schedule): level 0 is the data, `alpha_t = 1 - beta_t`, `alpha_bar_0 = 1`. Vectors are flat
//! slices of any number of dimensions, since every covariance is a multiple of the identity.
//!
//! ```
//! use nijimi_book::diffusion::{Level, Target};
//! use nijimi_runtime::schedule::Schedule;
//! let level = Level::new(&Schedule::linear(1e-4, 0.02, 1000)?, 500)?;
//! let x_t = level.marginal().at(0.7, -0.3); // x_0, noise
//! let [from_x, from_epsilon] = level.convert(Target::Epsilon, Target::Mean)?;
//! let mean = from_x * x_t + from_epsilon * -0.3;
//! assert!((mean - level.posterior().mean(x_t, 0.7)).abs() < 1e-15);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod elbo;
#[cfg(test)]
mod tests;

pub use elbo::{Elbo, Estimate, kl, prior_kl};

use core::f64::consts::TAU;
use nijimi_runtime::schedule::Schedule;

/// Why something of the theory cannot be told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum DiffusionError {
    /// A level that the chain has not.
    #[error("level {t} of a schedule of {levels}: give 1 to {levels} (0 is the data, and has no step before it)")]
    Level { t: usize, levels: usize },
    /// Betas too small for f64.
    #[error("level {t} has no noise: its beta of {beta} is lost beside 1; begin the schedule at 1e-15 or more")]
    NoNoise { t: usize, beta: f64 },
    /// Two levels of which the first is not the cleaner.
    #[error("from level {from} to level {to}: noise is only added, so give the lesser level first")]
    Order { from: usize, to: usize },
    /// The target says nothing of the data at this level.
    #[error(
        "{target:?} at level {t}, where alpha_bar is {alpha_bar}: it does not determine the data there; use \
         Target::V or Target::Sample, or a schedule without zero terminal SNR"
    )]
    Undetermined { target: Target, t: usize, alpha_bar: f64 },
    /// A variance that is none.
    #[error("the variance of p(x_0 | x_1) is {0}: it must be finite and above 0, else the likelihood is unbounded")]
    Variance(f64),
    /// Slices of different lengths.
    #[error("{what}: {found} numbers where {expected} are needed")]
    Length { what: &'static str, found: usize, expected: usize },
}

/// N(scale * x, variance I), given x: one step of a chain, or several together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// What x is multiplied with.
    pub scale: f64,
    /// Variance of each dimension.
    pub variance: f64,
}

impl Transition {
    /// The transition that changes nothing.
    pub const IDENTITY: Self = Self { scale: 1.0, variance: 0.0 };

    /// This one and then `next`, as one: scales multiply, and the variance so far is scaled (8.4.3: sums of independent
    /// Gaussians).
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { scale: next.scale * self.scale, variance: next.scale * next.scale * self.variance + next.variance }
    }

    /// The outcome for x and a standard normal `noise`, one dimension.
    #[must_use]
    pub fn at(self, x: f64, noise: f64) -> f64 {
        self.scale * x + libm::sqrt(self.variance) * noise
    }

    /// [`at`](Self::at) for all dimensions, into `out`.
    ///
    /// # Errors
    /// Lengths that differ.
    pub fn apply(self, x: &[f64], noise: &[f64], out: &mut [f64]) -> Result<(), DiffusionError> {
        same_len("the noise", noise.len(), x.len())?;
        same_len("the outcome", out.len(), x.len())?;
        out.iter_mut().zip(x.iter().zip(noise)).for_each(|(out, (x, noise))| *out = self.at(*x, *noise));
        Ok(())
    }

    /// Logarithm of the density of `outcome` given x. A transition without variance has none: infinite where the
    /// outcome is the only possible, minus infinity elsewhere.
    ///
    /// # Errors
    /// Lengths that differ.
    pub fn log_pdf(self, x: &[f64], outcome: &[f64]) -> Result<f64, DiffusionError> {
        same_len("the outcome", outcome.len(), x.len())?;
        let squares: f64 = x.iter().zip(outcome).map(|(x, y)| (y - self.scale * x) * (y - self.scale * x)).sum();
        if self.variance == 0.0 {
            return Ok(if squares == 0.0 { f64::INFINITY } else { f64::NEG_INFINITY });
        }
        Ok(-0.5 * (squares / self.variance + x.len() as f64 * libm::log(TAU * self.variance)))
    }
}

/// q(x_{t-1} | x_t, x_0) = N(from_x * x_t + from_x0 * x_0, variance I) (Ho et al. 2020, eq. 6 and 7; 8.5.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    /// The mean's share of x_t.
    pub from_x: f64,
    /// The mean's share of x_0.
    pub from_x0: f64,
    /// Variance of each dimension.
    pub variance: f64,
}

impl Posterior {
    /// The mean, one dimension.
    #[must_use]
    pub fn mean(self, x_t: f64, x_0: f64) -> f64 {
        self.from_x * x_t + self.from_x0 * x_0
    }
}

/// What a network can be asked for, given x_t (8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The mean of the posterior q(x_{t-1} | x_t, x_0).
    Mean,
    /// The data, x_0.
    Sample,
    /// The noise in x_t.
    Epsilon,
    /// `sqrt(alpha_bar) * noise - sqrt(1 - alpha_bar) * x_0` (Salimans and Ho 2022).
    V,
}

/// Level t of a chain, 1 to T: everything that is true of it alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    t: usize,
    beta: f64,
    /// `alpha_bar` of t - 1 and of t.
    before: f64,
    alpha_bar: f64,
}

impl Level {
    /// Level t of a schedule.
    ///
    /// # Errors
    /// A t that is not in 1..=T; a level whose noise is lost in rounding.
    pub fn new(schedule: &Schedule, t: usize) -> Result<Self, DiffusionError> {
        let levels = schedule.steps();
        if t == 0 || t > levels {
            return Err(DiffusionError::Level { t, levels });
        }
        let (before, alpha_bar) = (schedule.alpha_bar(t - 1), schedule.alpha_bar(t));
        if alpha_bar >= 1.0 {
            return Err(DiffusionError::NoNoise { t, beta: schedule.beta(t) });
        }
        Ok(Self { t, beta: schedule.beta(t), before, alpha_bar })
    }

    /// t.
    #[must_use]
    pub fn t(&self) -> usize {
        self.t
    }

    /// Share of the data's variance left.
    #[must_use]
    pub fn alpha_bar(&self) -> f64 {
        self.alpha_bar
    }

    /// q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I) (Ho et al. 2020, eq. 2).
    #[must_use]
    pub fn step(&self) -> Transition {
        Transition { scale: libm::sqrt(1.0 - self.beta), variance: self.beta }
    }

    /// q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I) (Ho et al. 2020, eq. 4).
    #[must_use]
    pub fn marginal(&self) -> Transition {
        Transition { scale: libm::sqrt(self.alpha_bar), variance: 1.0 - self.alpha_bar }
    }

    /// q(x_{t-1} | x_t, x_0). At t = 1 it is the point x_0: the variance is 0, since `alpha_bar_0` is 1.
    #[must_use]
    pub fn posterior(&self) -> Posterior {
        let (noise, noise_before) = (1.0 - self.alpha_bar, 1.0 - self.before);
        Posterior {
            from_x: libm::sqrt(1.0 - self.beta) * noise_before / noise,
            // At t = 1 the noise is beta, to rounding.
            from_x0: if self.t == 1 { 1.0 } else { libm::sqrt(self.before) * self.beta / noise },
            variance: noise_before / noise * self.beta,
        }
    }

    /// `[a, b]` such that `to = a * x_t + b * from`, where both speak of the same x_0.
    ///
    /// # Errors
    /// A target that does not determine x_0 at this level: the noise, where there is no signal left, and the mean,
    /// where it has no share of x_0.
    pub fn convert(&self, from: Target, to: Target) -> Result<[f64; 2], DiffusionError> {
        if from == to {
            return Ok([0.0, 1.0]);
        }
        let (signal, noise) = (libm::sqrt(self.alpha_bar), libm::sqrt(1.0 - self.alpha_bar));
        let posterior = self.posterior();
        // Where the general way would subtract nearly equal numbers.
        match (from, to) {
            (Target::V, Target::Epsilon) => return Ok([noise, signal]),
            (Target::Epsilon, Target::V) if signal > 0.0 => return Ok([-noise / signal, 1.0 / signal]),
            _ => {}
        }
        // x_0 = a x_t + b from.
        let [a, b] = match from {
            Target::Mean => [-posterior.from_x / posterior.from_x0, 1.0 / posterior.from_x0],
            Target::Sample => [0.0, 1.0],
            Target::Epsilon => [1.0 / signal, -noise / signal],
            Target::V => [signal, -noise],
        };
        if !(a.is_finite() && b.is_finite()) {
            return Err(DiffusionError::Undetermined { target: from, t: self.t, alpha_bar: self.alpha_bar });
        }
        // to = c x_t + d x_0, and x_0 put in.
        let [c, d] = match to {
            Target::Mean => [posterior.from_x, posterior.from_x0],
            Target::Sample => [0.0, 1.0],
            Target::Epsilon => [1.0 / noise, -signal / noise],
            Target::V => [signal / noise, -1.0 / noise],
        };
        Ok([c + d * a, d * b])
    }

    /// What the squared error of a prediction is multiplied with in the negative ELBO: w such that
    /// `KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) = w * |target - prediction|^2`, for a p with the posterior's
    /// variance (8.6; Ho et al. 2020, eq. 8 and 12). The book, as Ho et al., then trains with w = 1.
    ///
    /// `None` at t = 1, where the posterior is a point and the term is the reconstruction -log p(x_0 | x_1) instead.
    ///
    /// # Errors
    /// As [`convert`](Self::convert), from this target to the mean.
    pub fn elbo_weight(&self, target: Target) -> Result<Option<f64>, DiffusionError> {
        let variance = self.posterior().variance;
        let [_, share] = self.convert(target, Target::Mean)?;
        Ok((variance > 0.0).then(|| share * share / (2.0 * variance)))
    }
}

/// q(x_to | x_from), of any two levels, 0 included: the chain's steps between them as one.
///
/// # Errors
/// A level above T; the first above the second.
pub fn between(schedule: &Schedule, from: usize, to: usize) -> Result<Transition, DiffusionError> {
    let levels = schedule.steps();
    if to > levels {
        return Err(DiffusionError::Level { t: to, levels });
    }
    if from > to {
        return Err(DiffusionError::Order { from, to });
    }
    if from + 1 == to {
        // beta itself: 1 - (1 - beta) would lose digits of it.
        let beta = schedule.beta(to);
        return Ok(Transition { scale: libm::sqrt(1.0 - beta), variance: beta });
    }
    // Of the alphas, and not alpha_bar by alpha_bar, which may be 0 by 0.
    let alpha: f64 = schedule.betas()[from..to].iter().map(|beta| 1.0 - beta).product();
    Ok(Transition { scale: libm::sqrt(alpha), variance: 1.0 - alpha })
}

fn same_len(what: &'static str, found: usize, expected: usize) -> Result<(), DiffusionError> {
    if found == expected { Ok(()) } else { Err(DiffusionError::Length { what, found, expected }) }
}
