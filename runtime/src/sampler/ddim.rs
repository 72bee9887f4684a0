//! DDIM: implicit sampling (Song, Meng, Ermon 2021, eq. 12 with the sigma of eq. 16).

use super::call::{Call, Mix};
use super::levels::Point;
use super::settings::SolverSettings;
use super::{Prediction, SamplerError};
use crate::schedule::Schedule;
use alloc::vec::Vec;

/// x_next = sqrt(alpha_bar_next) * x_0 + sqrt(1 - alpha_bar_next - sigma^2) * epsilon + sigma * noise. Epsilon is the
/// network's, also where the estimate of x_0 was clipped; or, with [`SolverSettings::epsilon_from_x0`], the one that leads from
/// the (clipped) estimate to x.
pub(super) fn calls(
    schedule: &Schedule,
    s: &SolverSettings,
    eta: f64,
    set_alpha_to_one: bool,
) -> Result<Vec<Call>, SamplerError> {
    let levels = schedule.steps();
    let timesteps = s.spacing.timesteps(levels, s.steps, s.steps_offset)?;
    let end = if set_alpha_to_one { 1.0 } else { schedule.alpha_bar(1) };
    let call = |(i, &t): (usize, &usize)| {
        let point = Point::trained(schedule, t);
        let now = schedule.alpha_bar(t + 1);
        // By the stride and not the next timestep, as `diffusers` does; they differ where steps do not divide the levels.
        let next = t.checked_sub(levels / s.steps).map_or(end, |t| schedule.alpha_bar(t + 1));
        // Eq. 16.
        let variance = (1.0 - next) / (1.0 - now) * (1.0 - now / next);
        let sigma = eta * libm::sqrt(f64::max(variance, 0.0));
        let left = 1.0 - next - sigma * sigma;
        if !(eta >= 0.0 && left >= 0.0) {
            return Err(SamplerError::Eta(eta));
        }
        // Eq. 12: the estimate, the direction that points to x, and the noise.
        let direction = libm::sqrt(left);
        // Read as the network's answer, the estimate gives the epsilon that belongs to it.
        let answer = if s.epsilon_from_x0 { Prediction::Sample } else { s.prediction };
        let (from_x, from_answer) = answer.epsilon(point.alpha, point.sigma);
        let (from_x0, from_out) = if s.epsilon_from_x0 { (from_answer, 0.0) } else { (0.0, from_answer) };
        let mix = Mix::of(direction * from_x, libm::sqrt(next) + direction * from_x0).with_out(direction * from_out);
        Ok(Call { next: mix, noise: sigma as f32, ..point.call(i, s) })
    };
    timesteps.iter().enumerate().map(call).collect()
}
