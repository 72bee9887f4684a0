//! All calls of a run, worked out beforehand in f64.

use super::call::Call;
use super::ladder::{Ladder, Trained};
use super::levels::{Levels, Point};
use super::settings::{Sigmas, Solver, SolverSettings};
use super::{Prediction, SamplerError};
use super::{
    ddim, ddpm, deis, dpm_multi, dpm_single, dpm2, dpm2_a, dpmpp_2s_a, euler, euler_a, flow_euler, flow_heun, heun,
    lcm, lms, pndm, tcd, unipc,
};
use crate::schedule::{Schedule, Spacing};
use alloc::vec::Vec;

/// All calls of a run, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    calls: Vec<Call>,
    init_noise_sigma: f32,
    /// Of rectified flow, the shift of the levels, and of how many steps they were.
    flow: Option<(f64, usize)>,
}

impl Calls {
    /// Works out the calls of a run with `settings` on `schedule`. Flow solvers read only the number of levels of it.
    ///
    /// # Errors
    /// Steps or offset that do not fit the schedule, an order that the solver does not have, a network whose answer it
    /// cannot use, sigmas that it does not take, a clip range or an eta without meaning.
    pub fn new(schedule: &Schedule, settings: &SolverSettings) -> Result<Self, SamplerError> {
        let s = settings;
        if s.start >= s.steps.max(1) {
            return Err(SamplerError::Start { start: s.start, steps: s.steps });
        }
        if let Some([low, high]) = s.clip
            && (low.is_nan() || high.is_nan() || low >= high)
        {
            return Err(SamplerError::Clip(low, high));
        }
        let flow = s.solver.is_flow() || matches!(s.sigmas, Sigmas::Flow { .. });
        if flow != (s.prediction == Prediction::Flow) {
            return Err(SamplerError::Flow);
        }
        if let Sigmas::Flow { shift, .. } = s.sigmas
            && !(shift > 0.0 && shift.is_finite())
        {
            return Err(SamplerError::Shift(shift));
        }
        if let Some(edm) = &s.edm {
            edm.check(&s.solver, s.prediction)?;
        }
        if !s.solver.takes_sigmas() && s.sigmas != Sigmas::Discrete {
            return Err(SamplerError::Sigmas);
        }
        let mut init_noise_sigma = 1.0;
        let trained = Trained::new(schedule);
        let mut calls = match s.solver {
            Solver::Ddpm { variance } => ddpm::calls(schedule, s, variance)?,
            Solver::Ddim { eta, set_alpha_to_one } => ddim::calls(schedule, s, eta, set_alpha_to_one)?,
            Solver::Pndm { skip_prk, set_alpha_to_one } => pndm::calls(schedule, s, skip_prk, set_alpha_to_one)?,
            Solver::Lcm { original_steps, timestep_scaling } => {
                lcm::calls(schedule, s, original_steps, timestep_scaling)?
            }
            Solver::Tcd { original_steps, eta } => tcd::calls(schedule, s, original_steps, eta)?,
            Solver::FlowEuler { .. } | Solver::FlowHeun => {
                let Sigmas::Flow { shift, even } = s.sigmas else { return Err(SamplerError::Flow) };
                let points = Levels::new(&trained, Ladder::of_flow(schedule, s, shift, even)?, Point::straight);
                match s.solver {
                    Solver::FlowHeun => flow_heun::calls(&points, s),
                    _ => flow_euler::calls(&points, s, s.solver == Solver::FlowEuler { random: true }),
                }
            }
            Solver::DpmMulti { form, order, heun } => {
                dpm_multi::calls(&Levels::preserving(schedule, &trained, s)?, s, form, order, heun)?
            }
            Solver::DpmSingle { form, order, heun } => {
                dpm_single::calls(&Levels::preserving(schedule, &trained, s)?, s, form, order, heun)?
            }
            Solver::UniPc { order, predict_x0, bh2 } => {
                unipc::calls(&Levels::preserving(schedule, &trained, s)?, s, order, predict_x0, bh2)?
            }
            Solver::Deis { order } => deis::calls(&Levels::preserving(schedule, &trained, s)?, s, order)?,
            Solver::Euler
            | Solver::EulerAncestral
            | Solver::Heun
            | Solver::Lms
            | Solver::Dpm2
            | Solver::Dpm2Ancestral
            | Solver::Dpm2sAncestral => {
                let levels = match &s.edm {
                    Some(edm) => Levels::edm(schedule, &trained, s, edm)?,
                    None => {
                        let mut ladder = Ladder::of_sigmas(schedule, &trained, s)?;
                        if matches!(s.solver, Solver::Dpm2 | Solver::Dpm2Ancestral) && s.sigmas == Sigmas::Karras {
                            ladder.timesteps.iter_mut().for_each(|t| *t = libm::rint(*t));
                        }
                        let max = ladder.sigmas.iter().fold(0.0, |a: f64, &b| a.max(b));
                        let preserving = s.spacing == Spacing::Leading;
                        init_noise_sigma = if preserving { libm::sqrt(max * max + 1.0) } else { max };
                        Levels::new(&trained, ladder, Point::exploding)
                    }
                };
                match s.solver {
                    Solver::Euler => euler::calls(&levels, s),
                    Solver::EulerAncestral => euler_a::calls(&levels, s),
                    Solver::Heun => heun::calls(&levels, s),
                    Solver::Lms => lms::calls(&levels, s),
                    Solver::Dpm2 => dpm2::calls(&levels, s),
                    Solver::Dpm2sAncestral => dpmpp_2s_a::calls(&levels, s),
                    _ => dpm2_a::calls(&levels, s),
                }
            }
        };
        if let Some(edm) = &s.edm {
            init_noise_sigma = edm.init_noise_sigma();
        }
        calls.retain(|c| c.step >= s.start);
        if let Some(c) = calls.iter().find(|c| !c.is_finite()) {
            let timestep = c.t as usize;
            return Err(if c.alpha == 0.0 {
                SamplerError::NoSignal { timestep }
            } else {
                SamplerError::NoStep { timestep }
            });
        }
        let flow = if let Sigmas::Flow { shift, .. } = s.sigmas { Some((shift, s.steps)) } else { None };
        Ok(Self { calls, init_noise_sigma: init_noise_sigma as f32, flow })
    }

    /// Of rectified flow, the shift of its levels, and how many steps they were worked out for.
    #[must_use]
    pub fn flow(&self) -> Option<(f64, usize)> {
        self.flow
    }

    /// The calls, in their order.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How many steps they make; a step may have several.
    #[must_use]
    pub fn steps(&self) -> usize {
        steps(&self.calls)
    }

    /// The step with which a run of these calls has gone through the share `done` of the schedule's levels, as diffusers counts
    /// for `denoising_end` and `denoising_start`: the first that the network is told a lower timestep for. Steps of several
    /// calls are not taken apart.
    #[must_use]
    pub fn step_at(&self, schedule: &Schedule, done: f64) -> usize {
        let levels = schedule.steps() as f64;
        let least = libm::rint(levels - levels * done);
        let mut before = None;
        for call in &self.calls {
            if before != Some(call.step) && f64::from(call.t) < least {
                return call.step;
            }
            before = Some(call.step);
        }
        self.calls.last().map_or(0, |last| last.step + 1)
    }

    /// Without the steps from `step` on, which another model makes.
    #[must_use]
    pub fn until(mut self, step: usize) -> Self {
        self.calls.retain(|call| call.step < step);
        self
    }

    /// The run starts from standard normal noise times this; one that starts in the middle from
    /// `alpha * picture + sigma * noise` of its first call.
    #[must_use]
    pub fn init_noise_sigma(&self) -> f32 {
        self.init_noise_sigma
    }
}

/// How many steps the calls, of some run and in their order, make.
pub(crate) fn steps(calls: &[Call]) -> usize {
    calls.first().zip(calls.last()).map_or(0, |(first, last)| last.step + 1 - first.step)
}
