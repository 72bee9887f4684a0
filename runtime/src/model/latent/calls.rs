//! How a model's own scheduler, or another, takes its steps.

use super::super::scheduler::Scheduler;
use super::LatentInfo;
use crate::Error;
use crate::sampler::{Calls, Field, Sigmas, Solver, SolverSettings};
use crate::schedule::Schedule;

impl LatentInfo {
    /// Schedule and settings of `steps` steps of another solver, or other noise levels, than the model's own scheduler has.
    /// As with diffusers' `from_config`, what the file says stays, and the solver brings the rest: the spacing that
    /// published pipelines use with it.
    ///
    /// # Errors
    /// SolverSettings that do not fit each other.
    pub fn settings_by(
        &self,
        solver: Option<Solver>,
        sigmas: Option<Sigmas>,
        steps: usize,
    ) -> Result<(Schedule, SolverSettings), Error> {
        let (schedule, mut settings) = self.scheduling().by(solver, steps)?;
        // Latents have no range; some classes clip where nothing is said.
        if !self.settings.iter().any(|(name, _)| name == "clip_sample") {
            settings.clip = None;
        }
        if let Some(sigmas) = sigmas {
            settings.sigmas = sigmas;
        }
        // What suits the file's own solver is not asked of another.
        if !settings.solver.takes_sigmas() && (sigmas.is_none() || sigmas == self.defaults.sigmas) {
            settings.sigmas = Sigmas::Discrete;
        }
        Ok((schedule, settings))
    }

    /// Schedule and settings of `steps` steps of the model's own scheduler, or of another class of diffusers' with its
    /// settings, of which `changed` take the place.
    ///
    /// # Errors
    /// A class or a setting that is not known, or does not fit.
    pub fn settings(
        &self,
        class: Option<&str>,
        changed: &[(&str, Field)],
        steps: usize,
    ) -> Result<(Schedule, SolverSettings), Error> {
        self.scheduling().of(class, changed, steps)
    }

    /// The calls of [`Self::settings_by`].
    ///
    /// # Errors
    /// SolverSettings that do not fit each other.
    pub fn calls_by(&self, solver: Option<Solver>, sigmas: Option<Sigmas>, steps: usize) -> Result<Calls, Error> {
        let (schedule, settings) = self.settings_by(solver, sigmas, steps)?;
        Ok(Calls::new(&schedule, &settings)?)
    }

    /// The calls of [`Self::settings`].
    ///
    /// # Errors
    /// A class or a setting that is not known, or does not fit.
    pub fn calls(&self, class: Option<&str>, changed: &[(&str, Field)], steps: usize) -> Result<Calls, Error> {
        let (schedule, settings) = self.settings(class, changed, steps)?;
        Ok(Calls::new(&schedule, &settings)?)
    }

    /// Its scheduler.
    pub(super) fn scheduling(&self) -> Scheduler<'_> {
        Scheduler { class: &self.scheduler, settings: &self.settings, even: self.denoiser.even_sigmas() }
    }
}
