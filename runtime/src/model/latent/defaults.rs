//! How a model is best sampled, if its file says so.

use super::super::ModelError;
use super::super::info::wrong;
use super::LatentInfo;
use crate::Error;
use crate::gguf::{File, Writer};
use crate::sampler::{Calls, Sigmas, Solver};
use alloc::format;

/// How a model is best sampled, as far as its file says: published ones say none of it. [`LatentInfo::steps`] and its
/// neighbours fill in what is usual.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LatentDefaults {
    /// The solver, in place of the model's own scheduler.
    pub solver: Option<Solver>,
    /// How its noise levels are spread.
    pub sigmas: Option<Sigmas>,
    /// Number of steps.
    pub steps: Option<usize>,
    /// Strength of classifier-free guidance; 1 is none.
    pub guidance_scale: Option<f32>,
}

/// Steps and guidance of a model whose file says nothing.
const USUAL: (usize, f32) = (20, 7.0);

impl LatentInfo {
    /// The number of steps that suits the model: as its file says, or 20.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.defaults.steps.unwrap_or(USUAL.0)
    }

    /// The strength of classifier-free guidance that suits the model: as its file says, or 7.
    #[must_use]
    pub fn guidance_scale(&self) -> f32 {
        self.defaults.guidance_scale.unwrap_or(USUAL.1)
    }

    /// How much of an init image is replaced, if nothing is said: three quarters, or, by a model that sees the picture beside
    /// the noise, for inpainting or to change it, all.
    #[must_use]
    pub fn strength(&self) -> f64 {
        if self.repaints() || self.edits() { 1.0 } else { 0.75 }
    }

    /// How strongly a model that changes pictures keeps to the picture, if nothing is said: 1.5 (Brooks et al. 2023).
    #[must_use]
    pub fn image_guidance_scale(&self) -> f32 {
        1.5
    }

    /// Height and width of the pictures that the model was trained on.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        [self.sample_size * self.autoencoder.factor(); 2]
    }

    /// The name by which [`Solver::from_name`] gives the model's own way of so many steps, with these noise levels or its own;
    /// that of its scheduler's class if it has settings without a name.
    #[must_use]
    pub fn solver_name(&self, sigmas: Option<Sigmas>, steps: usize) -> &str {
        let sigmas = sigmas.or(self.defaults.sigmas);
        let way = |solver| self.calls_by(solver, sigmas, steps).ok();
        let own = way(self.defaults.solver);
        Solver::NAMES.split(", ").find(|name| way(Solver::from_name(name)) == own).unwrap_or(&self.scheduler)
    }

    /// The calls of [`Self::steps`] steps with the solver and the noise levels that suit the model.
    ///
    /// # Errors
    /// SolverSettings of the file's that do not fit each other.
    pub fn default_calls(&self) -> Result<Calls, Error> {
        self.calls_by(self.defaults.solver, self.defaults.sigmas, self.steps())
    }
}

const METHOD: &str = "nijimi.sampler.method";
const SIGMAS: &str = "nijimi.sampler.scheduler";
const STEPS: &str = "nijimi.sampler.steps";
const GUIDANCE: &str = "nijimi.sampler.guidance_scale";

impl LatentDefaults {
    pub(super) fn read(file: &File<'_>) -> Result<Self, Error> {
        let mut defaults = Self::default();
        if file.get(METHOD).is_some() {
            defaults.solver = Some(named(file, METHOD, Solver::from_name, Solver::NAMES)?);
        }
        if file.get(SIGMAS).is_some() {
            defaults.sigmas = Some(named(file, SIGMAS, Sigmas::from_name, Sigmas::NAMES)?);
        }
        if file.get(STEPS).is_some() {
            let (steps, levels) = (file.u32(STEPS)?, file.u32("nijimi.schedule.steps")?);
            if steps == 0 || steps > levels {
                return Err(wrong(STEPS, steps, format!("1 to {levels}, the number of noise levels")));
            }
            defaults.steps = Some(steps as usize);
        }
        if file.get(GUIDANCE).is_some() {
            let scale = file.f32(GUIDANCE)?;
            if !scale.is_finite() {
                return Err(wrong(GUIDANCE, scale, "a finite number"));
            }
            defaults.guidance_scale = Some(scale);
        }
        Ok(defaults)
    }

    pub(super) fn write(&self, w: &mut Writer) -> Result<(), Error> {
        if let Some(solver) = &self.solver {
            let unnamed = || wrong(METHOD, format!("{solver:?}"), format!("one of {}, as named", Solver::NAMES));
            w.meta(METHOD, solver.name().ok_or_else(unnamed)?)?;
        }
        if let Some(sigmas) = self.sigmas {
            let unnamed = || wrong(SIGMAS, format!("{sigmas:?}"), format!("one of {}", Sigmas::NAMES));
            w.meta(SIGMAS, sigmas.name().ok_or_else(unnamed)?)?;
        }
        if let Some(steps) = self.steps {
            w.meta(STEPS, super::super::unet_keys::n(steps))?;
        }
        if let Some(scale) = self.guidance_scale {
            w.meta(GUIDANCE, scale)?;
        }
        Ok(())
    }
}

/// A value by its name.
fn named<T>(
    file: &File<'_>,
    key: &'static str,
    from_name: impl Fn(&str) -> Option<T>,
    expected: &'static str,
) -> Result<T, Error> {
    let name = file.str(key)?;
    let unknown = || ModelError::Unsupported { key, found: format!("{name:?}"), expected };
    Ok(from_name(name).ok_or_else(unknown)?)
}
