//! The score, grad_x log p(x) (step 10.2): what epsilon is but for a factor, and how to draw samples with it alone.
//!
//! A score function here is a closure `(x, out)` or `(level, x, out)`: a network's answer through [`from_epsilon`], or the
//! exact one of noised mixtures, [`Noised`].
//!
//! ```
//! use nijimi_runtime::dist::{Mixture, MultivariateNormal};
//! use nijimi_runtime::rng::Stream;
//! use nijimi_runtime::schedule::Schedule;
//! use nijimi_runtime::score::{Noised, Solver, probability_flow};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let side = |mean| MultivariateNormal::new(vec![mean], vec![0.25]);
//! let data = Mixture::new(vec![0.5, 0.5], vec![side(-2.0)?, side(2.0)?])?;
//! let schedule = Schedule::linear(1e-4, 0.02, 1000)?;
//! let levels = Noised::levels(&data, &schedule)?;
//! let mut x = [Stream::new(1, "noise", 0).normal_f64()];
//! probability_flow(&schedule, 50, Solver::Heun, &mut x, |t, x, out| levels[t].score(x, out))?;
//! assert!((x[0].abs() - 2.0).abs() < 2.0);
//! # Ok(())
//! # }
//! ```

mod flow;
mod langevin;
mod noised;

pub use flow::{Solver, probability_flow};
pub use langevin::{annealed_langevin, langevin};
pub use noised::Noised;

use crate::schedule::ScheduleError;

/// Why there are no samples.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// The levels do not fit the schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A step size that is not positive.
    #[error("step_size is {0}: it must be finite and above 0, and small against the least variance of the data")]
    StepSize(f64),
    /// A NaN or an infinity on the way.
    #[error("step {step} (from 0) made element {index} {value}: take smaller steps, or look into the score function")]
    NotFinite {
        /// The step.
        step: usize,
        /// The element of x.
        index: usize,
        /// What it became.
        value: f64,
    },
}

/// grad log p(x_t) = -E[epsilon | x_t] / sqrt(1 - alpha_bar) (Song et al. 2021; book eq. 10.1), of one element. Infinite at
/// alpha_bar = 1, where nothing was added.
#[must_use]
pub fn from_epsilon(alpha_bar: f64, epsilon: f64) -> f64 {
    -epsilon / libm::sqrt(1.0 - alpha_bar)
}

/// E[epsilon | x_t] = -sqrt(1 - alpha_bar) score, of one element.
#[must_use]
pub fn to_epsilon(alpha_bar: f64, score: f64) -> f64 {
    -libm::sqrt(1.0 - alpha_bar) * score
}

fn finite(step: usize, x: &[f64]) -> Result<(), ScoreError> {
    match x.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(ScoreError::NotFinite { step, index, value: x[index] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
