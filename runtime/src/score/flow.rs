//! The probability flow: an ordinary differential equation whose solutions have the law of x_t at every level.

use super::{ScoreError, finite};
use crate::schedule::{Schedule, Spacing};
use alloc::vec;

/// How the equation is solved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Solver {
    /// First order, one score a step.
    Euler,
    /// Second order, two scores a step but the last (Karras et al. 2022, Algorithm 1).
    #[default]
    Heun,
}

/// Carries x from level T to the data in place, in `steps` steps (Song et al., "Score-based generative modeling through
/// stochastic differential equations", 2021, eq. 13, for the variance-preserving process).
///
/// Along u = ln(alpha_bar), which falls by the integral of beta, the equation is dx/du = (x + score(x, t)) / 2, so that only
/// alpha_bar is needed. `score` gets the 1-based level, x, and where to write grad log p(x_t); it is never asked for level 0,
/// where a network's would be infinite, so the last step is Euler's.
///
/// # Errors
/// More steps than the schedule has levels, or none; a schedule that ends in pure noise, whose ln(alpha_bar) is infinite;
/// x that became NaN or infinite.
pub fn probability_flow(
    schedule: &Schedule,
    steps: usize,
    solver: Solver,
    x: &mut [f64],
    mut score: impl FnMut(usize, &[f64], &mut [f64]),
) -> Result<(), ScoreError> {
    let timesteps = Spacing::Trailing.timesteps(schedule.steps(), steps, 0)?;
    let (mut here, mut there, mut next) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; x.len()]);
    for (step, timestep) in timesteps.iter().enumerate() {
        let (t, to) = (timestep + 1, timesteps.get(step + 1).map_or(0, |timestep| timestep + 1));
        if schedule.alpha_bar(t) == 0.0 {
            return Err(crate::schedule::ScheduleError::NoSignal { level: t }.into());
        }
        let du = libm::log(schedule.alpha_bar(to) / schedule.alpha_bar(t));
        score(t, x, &mut here);
        for ((next, x), score) in next.iter_mut().zip(&*x).zip(&here) {
            *next = x + du * 0.5 * (x + score);
        }
        if solver == Solver::Heun && to > 0 {
            score(to, &next, &mut there);
            for (((next, x), here), there) in next.iter_mut().zip(&*x).zip(&here).zip(&there) {
                *next = x + du * 0.25 * (x + here + *next + there);
            }
        }
        x.copy_from_slice(&next);
        finite(step, x)?;
    }
    Ok(())
}
