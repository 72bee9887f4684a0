//! The theory of diffusion models (step 8) as functions of a [`Schedule`], in f64.
//!
//! a_t = 1 - beta_t, A_t = a_1 ... a_t ([`Schedule::alpha_bar`]), A_0 = 1. All distributions are isotropic, so each is a
//! few numbers that hold for every element of a picture. Equations of Ho, Jain, Abbeel: "Denoising diffusion probabilistic
//! models" (2020); those of v of Salimans and Ho: "Progressive distillation" (2022).
//!
//! ```
//! use nijimi_runtime::{diffusion::Target, schedule::Schedule};
//! let schedule = Schedule::linear(1e-4, 0.02, 1000)?;
//! let x_t = schedule.kernel(0, 500).mean_plus(0.7, -0.3); // x_0 = 0.7, epsilon = -0.3
//! let (from_x_t, from_epsilon) = schedule.conversion(500, Target::Epsilon, Target::Mean)?;
//! assert!((from_x_t * x_t + from_epsilon * -0.3 - schedule.posterior(500).mean(x_t, 0.7)).abs() < 1e-15);
//! # Ok::<(), nijimi_runtime::schedule::ScheduleError>(())
//! ```

use crate::dist::{Normal, discrete::kl_normal};
use crate::rng::Stream;
use crate::schedule::{Schedule, ScheduleError};

/// q(x_t | x_s) = N(signal x_s, variance I), s < t: what the forward process does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    /// By what the mean is scaled.
    pub signal: f64,
    /// Variance of each element.
    pub variance: f64,
}

impl Kernel {
    /// signal x + sqrt(variance) noise, of one element.
    #[must_use]
    pub fn mean_plus(&self, x: f64, noise: f64) -> f64 {
        self.signal * x + libm::sqrt(self.variance) * noise
    }

    /// A draw for each element of `x`, in place.
    pub fn sample(&self, stream: &mut Stream, x: &mut [f64]) {
        x.iter_mut().for_each(|x| *x = self.mean_plus(*x, stream.normal_f64()));
    }

    /// This one, then `next`: normals of normals are normal, and variances add (book 8.4.3).
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        let signal = self.signal * next.signal;
        Self { signal, variance: next.signal * next.signal * self.variance + next.variance }
    }
}

/// q(x_{t-1} | x_t, x_0) = N(from_x_t x_t + from_x_0 x_0, variance I) (eq. 6 and 7; book 8.5.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    /// Share of x_t in the mean.
    pub from_x_t: f64,
    /// Share of x_0 in the mean.
    pub from_x_0: f64,
    /// Variance of each element; 0 at t = 1.
    pub variance: f64,
}

impl Posterior {
    /// The mean of one element.
    #[must_use]
    pub fn mean(&self, x_t: f64, x_0: f64) -> f64 {
        self.from_x_t * x_t + self.from_x_0 * x_0
    }
}

/// What a network may be asked to predict at a level; given x_t, each determines the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The posterior's mean.
    Mean,
    /// The clean picture.
    X0,
    /// The noise.
    Epsilon,
    /// sqrt(A_t) epsilon - sqrt(1 - A_t) x_0.
    V,
}

impl Schedule {
    /// q(x_t | x_s): from level s to level t. s = t - 1 is the definition (eq. 2), s = 0 its closed form (eq. 4).
    ///
    /// # Panics
    /// Where t is above T or s not below t, as indexing does.
    #[must_use]
    pub fn kernel(&self, s: usize, t: usize) -> Kernel {
        assert!(s < t, "from level {s} to level {t}: noise is added upwards");
        let left = self.alpha_bar(t) / self.alpha_bar(s);
        // One step's variance is beta itself: 1 - (1 - beta) would lose digits of it.
        let variance = if s + 1 == t { self.beta(t) } else { 1.0 - left };
        Kernel { signal: libm::sqrt(if s + 1 == t { 1.0 - variance } else { left }), variance }
    }

    /// q(x_{t-1} | x_t, x_0).
    ///
    /// # Panics
    /// Where t is not in 1..=T, as indexing does.
    #[must_use]
    pub fn posterior(&self, t: usize) -> Posterior {
        let (before, beta, noise) = (self.alpha_bar(t - 1), self.beta(t), 1.0 - self.alpha_bar(t));
        Posterior {
            from_x_t: libm::sqrt(1.0 - beta) * (1.0 - before) / noise,
            from_x_0: libm::sqrt(before) * beta / noise,
            variance: self.posterior_variance(t),
        }
    }

    /// `to` = first * x_t + second * `from`, at level t.
    ///
    /// # Errors
    /// At a level of pure noise (A_t = 0), epsilon and the mean say nothing of x_0.
    ///
    /// # Panics
    /// Where t is not in 1..=T, as indexing does.
    pub fn conversion(&self, t: usize, from: Target, to: Target) -> Result<(f64, f64), ScheduleError> {
        if from == to {
            return Ok((0.0, 1.0));
        }
        let (signal, noise) = self.forward(t);
        let posterior = self.posterior(t);
        // x_0 from what is given.
        let (from_x_t, from_given) = match from {
            Target::X0 => (0.0, 1.0),
            Target::Epsilon => (1.0 / signal, -noise / signal),
            Target::V => (signal, -noise),
            Target::Mean => (-posterior.from_x_t / posterior.from_x_0, 1.0 / posterior.from_x_0),
        };
        if !(from_x_t.is_finite() && from_given.is_finite()) {
            return Err(ScheduleError::NoSignal { level: t });
        }
        // What is wanted from x_t and x_0.
        let (of_x_t, of_x_0) = match to {
            Target::X0 => (0.0, 1.0),
            Target::Epsilon => (1.0 / noise, -signal / noise),
            Target::V => (signal / noise, -1.0 / noise),
            Target::Mean => (posterior.from_x_t, posterior.from_x_0),
        };
        Ok((of_x_t + of_x_0 * from_x_t, of_x_0 * from_given))
    }

    /// The weight of a squared error of `target` in the ELBO: KL(q(x_{t-1} | x_t, x_0) || N(mean_theta, same variance)) is
    /// this times |target - prediction|^2, in nats (book 8.6). Training usually drops it.
    ///
    /// Infinite at t = 1, where the posterior is a point, and the ELBO has log p(x_0 | x_1) instead.
    ///
    /// # Panics
    /// Where t is not in 1..=T, as indexing does.
    #[must_use]
    pub fn elbo_weight(&self, t: usize, target: Target) -> f64 {
        let Posterior { from_x_0, variance, .. } = self.posterior(t);
        let (beta, noise) = (self.beta(t), 1.0 - self.alpha_bar(t));
        // By what an error of the target is multiplied in the mean.
        let share = match target {
            Target::Mean => 1.0,
            Target::X0 => from_x_0 * from_x_0,
            Target::Epsilon => beta * beta / ((1.0 - beta) * noise),
            // Given x_t, an error of v is one of x_0 times the noise.
            Target::V => from_x_0 * from_x_0 * noise,
        };
        share / (2.0 * variance)
    }

    /// KL(q(x_T | x_0) || N(0, I)), the ELBO's part that nothing can learn, summed over the elements of `x_0`, in nats.
    ///
    /// # Errors
    /// An x_0 that is not finite, or a schedule whose end keeps everything (A_T = 1).
    pub fn prior_kl(&self, x_0: &[f64]) -> Result<f64, crate::dist::DistError> {
        let (signal, noise) = self.forward(self.steps());
        let of = |x: &f64| Ok(kl_normal(&Normal::new(signal * x, noise)?, &Normal::STANDARD));
        x_0.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests;
