//! DDPM: ancestral sampling (Ho, Jain, Abbeel 2020, Algorithm 2 with the mean and variance of eq. 6 and 7).

use super::SamplerError;
use super::call::{Call, Mix};
use super::levels::Point;
use super::settings::{SolverSettings, Variance};
use crate::schedule::Schedule;
use alloc::vec::Vec;

/// x_next is drawn from q(x_next | x, x_0) with the estimate in place of x_0. Where levels are skipped, `alpha` and
/// `beta` are those of the whole jump.
pub(super) fn calls(schedule: &Schedule, s: &SolverSettings, variance: Variance) -> Result<Vec<Call>, SamplerError> {
    let timesteps = s.spacing.timesteps(schedule.steps(), s.steps, s.steps_offset)?;
    let call = |(i, &t): (usize, &usize)| {
        let now = schedule.alpha_bar(t + 1);
        let next = timesteps.get(i + 1).map_or(1.0, |&t| schedule.alpha_bar(t + 1));
        let alpha = now / next;
        let beta = 1.0 - alpha;
        // Eq. 7, the posterior's mean.
        let x_from_x0 = libm::sqrt(next) * beta / (1.0 - now);
        let x_from_x = libm::sqrt(alpha) * (1.0 - next) / (1.0 - now);
        let variance = match variance {
            // Algorithm 2, line 3: no noise in the last step.
            _ if next >= 1.0 => 0.0,
            Variance::FixedSmall => (1.0 - next) / (1.0 - now) * beta,
            Variance::FixedLarge => beta,
        };
        let noise = libm::sqrt(variance) as f32;
        Call { next: Mix::of(x_from_x, x_from_x0), noise, ..Point::trained(schedule, t).call(i, s) }
    };
    Ok(timesteps.iter().enumerate().map(call).collect())
}
