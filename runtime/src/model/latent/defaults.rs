//! How a model is best sampled, if its file says so.

use super::super::ModelError;
use super::super::info::wrong;
use crate::Error;
use crate::gguf::{File, Writer};
use crate::sampler::{Sigmas, Solver};
use alloc::format;

/// How a model is best sampled, if the user says nothing. What is absent is the caller's choice: published models say none of
/// it.
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
            w.meta(STEPS, super::write::n(steps))?;
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
