//! Trajectory consistency distillation (Zheng et al. 2024, Algorithm 4): to an earlier level s along the trajectory, and
//! back up with fresh noise; eta is their gamma.

use super::SamplerError;
use super::call::{Call, Mix};
use super::lcm;
use super::levels::Point;
use super::settings::SolverSettings;
use crate::schedule::Schedule;
use alloc::vec::Vec;

pub(super) fn calls(
    schedule: &Schedule,
    s: &SolverSettings,
    original_steps: usize,
    eta: f64,
) -> Result<Vec<Call>, SamplerError> {
    if !(0.0..=1.0).contains(&eta) {
        return Err(SamplerError::Eta(eta));
    }
    let timesteps = lcm::timesteps(schedule, s, original_steps)?;
    let call = |(i, &t): (usize, &usize)| {
        let next = timesteps.get(i + 1).copied();
        let earlier = ((1.0 - eta) as f32 * next.unwrap_or(0) as f32) as usize;
        let (signal, noise) = schedule.forward(earlier + 1);
        let (up, fresh) = match next {
            Some(next) if eta > 0.0 => {
                let ratio = schedule.alpha_bar(next + 1) / schedule.alpha_bar(earlier + 1);
                (libm::sqrt(ratio), libm::sqrt(1.0 - ratio))
            }
            _ => (1.0, 0.0),
        };
        let point = Point::trained(schedule, t);
        // alpha_s * x_0 + sigma_s * epsilon, epsilon = (x - alpha * x_0) / sigma.
        let from_x = noise / point.sigma;
        let mix = Mix::of(up * from_x, up * (signal - from_x * point.alpha));
        Call { next: mix, noise: fresh as f32, ..point.call(i, s) }
    };
    Ok(timesteps.iter().enumerate().map(call).collect())
}
