//! Scores, the gradients of log densities (step 10.2): from a network's answer, of an analytic mixture under the
//! forward process, and what samples by nothing else: [`Langevin`] dynamics and the probability [`Flow`].
//!
//! The score of q_t(x_t) is `-E[epsilon | x_t] / sqrt(1 - alpha_bar_t)` (Vincent 2011; Song et al. 2021, "Score-based
//! generative modeling through stochastic differential equations"), so a network that predicts epsilon knows it.
//!
//! A batch is a flat slice, row after row. Samplers take the score as a closure that fills a slice like the batch, and
//! stop at the first error that it returns.
//!
//! ```
//! use nijimi_book::score::{Diffused, Flow, ScoreError, Solver};
//! use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};
//! use nijimi_runtime::{raw::rng::Stream, schedule::{Schedule, Spacing}};
//! let normal = |mean, variance| MultivariateNormal::diagonal(vec![mean], &[variance]);
//! let data = Mixture::new(vec![0.3, 0.7], vec![normal(-1.0, 0.25)?, normal(2.0, 0.64)?])?;
//! let schedule = Schedule::linear(1e-4, 0.02, 1000)?;
//! let flow = Flow::spaced(&schedule, Spacing::Trailing, 50, Solver::Heun)?;
//! let levels = Diffused::levels(&data, &schedule)?;
//! let mut stream = Stream::new(7, "noise", 0);
//! let mut x: Vec<f64> = (0..100).map(|_| stream.normal_f64()).collect();
//! let mut scratch = flow.scratch(x.len());
//! for step in flow.steps() {
//!     step.advance(&mut x, &mut scratch, |level, x, out| {
//!         levels[level.t()].score(x, out);
//!         Ok::<(), ScoreError>(())
//!     })?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod diffused;
mod error;
mod flow;
mod langevin;
#[cfg(test)]
mod tests;

pub use diffused::Diffused;
pub use error::ScoreError;
pub use flow::{Flow, Scratch, Solver, Step};
pub use langevin::{Langevin, annealed};

use error::{noise, same_len};

/// Turns predictions of epsilon into scores, in place: `-epsilon / sqrt(1 - alpha_bar)` (eq. 10.1).
///
/// # Errors
/// An `alpha_bar` outside 0 to 1, or 1.
pub fn from_epsilon(alpha_bar: f64, epsilon: &mut [f64]) -> Result<(), ScoreError> {
    let noise = noise(alpha_bar)?;
    epsilon.iter_mut().for_each(|v| *v = -*v / noise);
    Ok(())
}

/// Turns scores into epsilon, in place: `-sqrt(1 - alpha_bar) * score`.
///
/// # Errors
/// An `alpha_bar` outside 0 to 1, or 1.
pub fn to_epsilon(alpha_bar: f64, score: &mut [f64]) -> Result<(), ScoreError> {
    let noise = noise(alpha_bar)?;
    score.iter_mut().for_each(|v| *v *= -noise);
    Ok(())
}

/// Turns predictions of x_0, given `x_t`, into scores, in place: `(sqrt(alpha_bar) x_0 - x_t) / (1 - alpha_bar)`
/// (Tweedie's formula, Efron 2011).
///
/// # Errors
/// An `alpha_bar` outside 0 to 1, or 1; lengths that differ.
pub fn from_sample(alpha_bar: f64, x_t: &[f64], x_0: &mut [f64]) -> Result<(), ScoreError> {
    noise(alpha_bar)?;
    same_len("x_0", x_0.len(), x_t.len())?;
    let signal = libm::sqrt(alpha_bar);
    x_0.iter_mut().zip(x_t).for_each(|(v, x)| *v = (signal * *v - x) / (1.0 - alpha_bar));
    Ok(())
}
