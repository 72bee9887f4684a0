//! How a model's own scheduler, or another, takes its steps.

use super::LatentInfo;
use crate::Error;
use crate::sampler::{Calls, Field, FinalSigma, Sigmas, Solver, SolverSettings, class_of, from_diffusers, is_edm};
use crate::schedule::Schedule;
use alloc::vec::Vec;

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
        let (schedule, mut settings) = match solver.map(|solver| (solver, class_of(&solver))) {
            None => self.settings(None, &[], steps)?,
            // The levels are what the model was trained by, whoever goes through them.
            Some((solver, _)) if is_edm(&self.scheduler) => {
                let (schedule, own) = self.settings(None, &[], steps)?;
                // DEIS cannot end at the clean picture.
                let deis = matches!(solver, Solver::Deis { .. });
                let final_sigma = if deis { FinalSigma::SigmaMin } else { own.final_sigma };
                (schedule, SolverSettings { solver, final_sigma, ..own })
            }
            Some((_, Some((class, changed)))) => self.settings(Some(class), &changed, steps)?,
            Some((solver, None)) => {
                let (schedule, SolverSettings { prediction, .. }) = self.settings(None, &[], steps)?;
                (schedule, SolverSettings { prediction, ..SolverSettings::new(solver, steps) })
            }
        };
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
        Ok(from_diffusers(class.unwrap_or(&self.scheduler), &self.fields(changed), steps)?)
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

    /// The scheduler's settings, `changed` in place of those of the same names.
    fn fields<'a>(&'a self, changed: &[(&'a str, Field)]) -> Vec<(&'a str, Field)> {
        let own = self.settings.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        own.map(|(name, field)| (name.as_str(), field.clone())).chain(changed.iter().cloned()).collect()
    }
}
