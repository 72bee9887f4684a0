//! Langevin dynamics: walks that end in the distribution whose score they follow.

use super::{ScoreError, finite};
use crate::rng::Stream;
use crate::schedule::{Schedule, Spacing};
use alloc::vec;

/// The unadjusted Langevin algorithm in place: x += step_size / 2 score(x) + sqrt(step_size) noise, `steps` times (Song and
/// Ermon, "Generative modeling by estimating gradients of the data distribution", 2019, eq. 4).
///
/// `score` writes grad log p(x) into its second argument. The walk's own law differs from p by O(step_size), and it seldom
/// crosses between modes far apart: see [`annealed_langevin`].
///
/// # Errors
/// A step size that is not finite and positive; x that became NaN or infinite.
pub fn langevin(
    step_size: f64,
    steps: usize,
    stream: &mut Stream,
    x: &mut [f64],
    mut score: impl FnMut(&[f64], &mut [f64]),
) -> Result<(), ScoreError> {
    let mut gradient = vec![0.0; x.len()];
    for step in 0..steps {
        move_once(step_size, stream, x, &mut gradient, &mut score)?;
        finite(step, x)?;
    }
    Ok(())
}

/// Annealed Langevin dynamics in place, from noise to data (Song and Ermon 2019, Algorithm 1): `steps` moves at each of
/// `levels` levels of the schedule, from T down. The step size at level t is `step_size` (1 - alpha_bar_t): it shrinks with
/// the noise, as theirs with sigma^2.
///
/// `score` gets the 1-based level, x, and where to write grad log p(x_t). Start with x from N(0, I).
///
/// # Errors
/// More levels than the schedule has, or none; a step size that is not finite and positive; x that became NaN or infinite.
pub fn annealed_langevin(
    schedule: &Schedule,
    levels: usize,
    step_size: f64,
    steps: usize,
    stream: &mut Stream,
    x: &mut [f64],
    mut score: impl FnMut(usize, &[f64], &mut [f64]),
) -> Result<(), ScoreError> {
    let mut gradient = vec![0.0; x.len()];
    for (i, timestep) in Spacing::Trailing.timesteps(schedule.steps(), levels, 0)?.into_iter().enumerate() {
        let t = timestep + 1;
        let size = step_size * (1.0 - schedule.alpha_bar(t));
        for step in 0..steps {
            move_once(size, stream, x, &mut gradient, &mut |x: &[f64], out: &mut [f64]| score(t, x, out))?;
            finite(i * steps + step, x)?;
        }
    }
    Ok(())
}

fn move_once(
    step_size: f64,
    stream: &mut Stream,
    x: &mut [f64],
    gradient: &mut [f64],
    score: &mut impl FnMut(&[f64], &mut [f64]),
) -> Result<(), ScoreError> {
    if !(step_size > 0.0 && step_size.is_finite()) {
        return Err(ScoreError::StepSize(step_size));
    }
    score(x, gradient);
    let noise = libm::sqrt(step_size);
    for (x, g) in x.iter_mut().zip(gradient) {
        *x += 0.5 * step_size * *g + noise * stream.normal_f64();
    }
    Ok(())
}
