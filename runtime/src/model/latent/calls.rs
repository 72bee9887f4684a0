//! How a model's own scheduler, or another, takes its steps.

use super::super::scheduler::Scheduler;
use super::LatentInfo;
use crate::Error;
use crate::model::RequestError;
use crate::model::options::check;
use crate::nn::{Denoiser, Flux2};
use crate::sampler::{Calls, Field, Sigmas, Solver, SolverSettings};
use crate::schedule::Schedule;
use alloc::format;

impl LatentInfo {
    /// [`Self::settings_for`], of pictures of [`Self::size`].
    ///
    /// # Errors
    /// SolverSettings that do not fit each other.
    pub fn settings_by(
        &self,
        solver: Option<Solver>,
        sigmas: Option<Sigmas>,
        steps: usize,
    ) -> Result<(Schedule, SolverSettings), Error> {
        self.settings_for(self.size(), solver, sigmas, steps)
    }

    /// Schedule and settings of `steps` steps of another solver, or other noise levels, than the model's own scheduler has, for
    /// pictures of that height and width, on which the noise levels of some models depend (FLUX.2).
    /// As with diffusers' `from_config`, what the file says stays, and the solver brings the rest: the spacing that
    /// published pipelines use with it.
    ///
    /// # Errors
    /// SolverSettings that do not fit each other.
    pub fn settings_for(
        &self,
        size: [usize; 2],
        solver: Option<Solver>,
        sigmas: Option<Sigmas>,
        steps: usize,
    ) -> Result<(Schedule, SolverSettings), Error> {
        let (schedule, mut settings) = self.scheduling_for(size, steps).by(solver, steps)?;
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
    /// settings, of which `changed` take the place; of pictures of [`Self::size`].
    ///
    /// # Errors
    /// A class or a setting that is not known, or does not fit.
    pub fn settings(
        &self,
        class: Option<&str>,
        changed: &[(&str, Field)],
        steps: usize,
    ) -> Result<(Schedule, SolverSettings), Error> {
        self.scheduling_for(self.size(), steps).of(class, changed, steps)
    }

    /// The calls of [`Self::settings_by`].
    ///
    /// # Errors
    /// SolverSettings that do not fit each other.
    pub fn calls_by(&self, solver: Option<Solver>, sigmas: Option<Sigmas>, steps: usize) -> Result<Calls, Error> {
        self.calls_for(self.size(), solver, sigmas, steps)
    }

    /// The calls of [`Self::settings_for`].
    ///
    /// # Errors
    /// SolverSettings that do not fit each other.
    pub fn calls_for(
        &self,
        size: [usize; 2],
        solver: Option<Solver>,
        sigmas: Option<Sigmas>,
        steps: usize,
    ) -> Result<Calls, Error> {
        let (schedule, settings) = self.settings_for(size, solver, sigmas, steps)?;
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
        let even = self.denoiser.even_sigmas();
        Scheduler { class: &self.scheduler, settings: &self.settings, even, shift: None }
    }

    fn scheduling_for(&self, size: [usize; 2], steps: usize) -> Scheduler<'_> {
        Scheduler { shift: self.flow_shift(size, steps), ..self.scheduling() }
    }

    /// How far the noise levels of so many steps are moved to the noisy side, where that depends on the size of the pictures.
    fn flow_shift(&self, size: [usize; 2], steps: usize) -> Option<f64> {
        let [height, width] = size.map(|side| side / self.multiple().max(1));
        match self.denoiser {
            Denoiser::Flux2(_) => Some(Flux2::shift([height, width], steps)),
            _ => self.scheduling().dynamic_shift(height * width),
        }
    }

    /// That calls were made for pictures of that size, where it matters.
    pub(super) fn check_calls(&self, calls: &Calls, size: [usize; 2]) -> Result<(), RequestError> {
        let Some((shift, steps)) = calls.flow() else { return Ok(()) };
        let Some(own) = self.flow_shift(size, steps) else { return Ok(()) };
        if (shift - own).abs() <= 1e-6 * own {
            return Ok(());
        }
        let expected = format!("{own:.6}, as of LatentInfo::calls_for pictures of {}x{}", size[1], size[0]);
        check(false, "shift of the noise levels", shift, expected)
    }
}
