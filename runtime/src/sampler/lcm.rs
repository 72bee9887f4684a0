//! Latent consistency models (Luo et al. 2023, Algorithm 3): the estimate of every call, noised again for the next.

use super::SamplerError;
use super::call::{Call, Mix};
use super::levels::Point;
use super::settings::SolverSettings;
use crate::schedule::{Schedule, ScheduleError};
use alloc::vec::Vec;

/// The data's standard deviation in the boundary condition (section 4.2).
const SIGMA_DATA: f64 = 0.5;

pub(super) fn calls(
    schedule: &Schedule,
    s: &SolverSettings,
    original_steps: usize,
    timestep_scaling: f64,
) -> Result<Vec<Call>, SamplerError> {
    let timesteps = timesteps(schedule, s, original_steps)?;
    let call = |(i, &t): (usize, &usize)| {
        let scaled = t as f64 * timestep_scaling;
        let size = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (SIGMA_DATA * SIGMA_DATA / size, scaled / libm::sqrt(size));
        let (signal, noise) = timesteps.get(i + 1).map_or((1.0, 0.0), |&t| schedule.forward(t + 1));
        let next = Mix::of(signal * skip, signal * out);
        Call { next, noise: noise as f32, ..Point::trained(schedule, t).call(i, s) }
    };
    Ok(timesteps.iter().enumerate().map(call).collect())
}

/// `steps` of the `original_steps` levels of the distillation, evenly from the noisiest.
pub(super) fn timesteps(
    schedule: &Schedule,
    s: &SolverSettings,
    original_steps: usize,
) -> Result<Vec<usize>, SamplerError> {
    let levels = schedule.steps();
    if original_steps == 0 || original_steps > levels {
        return Err(ScheduleError::Steps { steps: original_steps, levels }.into());
    }
    if s.steps == 0 || s.steps > original_steps {
        return Err(ScheduleError::Steps { steps: s.steps, levels: original_steps }.into());
    }
    let (stride, gap) = (levels / original_steps, original_steps as f64 / s.steps as f64);
    Ok((0..s.steps).map(|i| (original_steps - (i as f64 * gap) as usize) * stride - 1).collect())
}
