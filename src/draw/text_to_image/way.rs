//! The way from noise to picture that the command line asks for, or the model's own.

use crate::cli::{SamplingOptions, TextOptions};
use crate::draw::solver;
use crate::fault::Fault;
use nijimi_runtime::Error;
use nijimi_runtime::model::LatentInfo;
use nijimi_runtime::sampler::{Calls, Prediction, Sigmas, Solver, SolverSettings};
use nijimi_runtime::schedule::Schedule;

/// Number of steps: as asked for, or as the file has it.
pub fn steps(info: &LatentInfo, asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| info.steps())
}

/// Strength of guidance: as asked for, or as the file has it.
pub fn guidance_scale(info: &LatentInfo, asked: Option<f32>) -> f32 {
    asked.unwrap_or_else(|| info.guidance_scale())
}

/// The name by which the model's own way is asked for.
pub fn own_method(info: &LatentInfo, asked: &SamplingOptions) -> String {
    info.solver_name(solver::sigmas(asked).ok().flatten(), steps(info, asked.steps)).to_owned()
}

/// How much of an init image is replaced.
pub fn strength(info: &LatentInfo, text: &TextOptions) -> f64 {
    text.strength.unwrap_or_else(|| info.strength())
}

/// Schedule and settings that are asked for, or the model's own; `of` has them for a solver and its noise levels.
pub fn settings(
    info: &LatentInfo,
    sampling: &SamplingOptions,
    text: &TextOptions,
    of: impl FnOnce(Option<Solver>, Option<Sigmas>) -> Result<(Schedule, SolverSettings), Error>,
) -> Result<(Schedule, SolverSettings), Fault> {
    let sigmas = solver::sigmas(sampling)?.or(info.defaults.sigmas);
    let method = sampling.method.as_deref().filter(|name| *name != info.scheduler);
    let solver = solver::solver(method)?.or(info.defaults.solver);
    let strength = text.strength.or(text.hires_strength);
    let (schedule, mut settings) = of(solver, sigmas).map_err(|e| solver::unfit(sampling, strength, e))?;
    solver::set_eta(&mut settings, sampling)?;
    if let Some(prediction) = text.prediction_type.as_deref().and_then(Prediction::from_name) {
        settings.prediction = prediction;
    }
    Ok((schedule, settings))
}

/// The way from noise to picture that is asked for, or the model's own.
pub fn calls(
    info: &LatentInfo,
    sampling: &SamplingOptions,
    text: &TextOptions,
    size: [usize; 2],
) -> Result<Calls, Fault> {
    let wrong = |e: Error| solver::unfit(sampling, text.strength, e);
    let own = |solver, sigmas| info.settings_for(size, solver, sigmas, steps(info, sampling.steps));
    let (schedule, mut settings) = settings(info, sampling, text, own)?;
    if text.init_img.is_some() {
        settings = settings.from_strength(strength(info, text));
    }
    Calls::new(&schedule, &settings).map_err(|e| wrong(e.into()))
}
