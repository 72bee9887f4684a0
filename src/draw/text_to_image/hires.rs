//! `--hires`: a second pass over the picture, enlarged.

use super::way::{settings, steps};
use crate::cli::value::HiresUpscaler;
use crate::cli::{SamplingOptions, TextOptions};
use crate::draw::solver;
use crate::fault::Fault;
use crate::file;
use crate::file::image_in;
use nijimi_runtime::Error;
use nijimi_runtime::model::{Enlarge, LatentInfo, Upscaler};
use nijimi_runtime::sampler::Calls;
use std::path::Path;

/// How much of the enlarged picture is replaced where nothing is said, as in the web UI's newer versions.
pub const STRENGTH: f64 = 0.5;

/// What the second pass draws.
pub struct SecondPass {
    /// Height and width of the pictures.
    pub size: [usize; 2],
    pub calls: Calls,
    /// What each ControlNet and T2I-Adapter is shown, of that size.
    pub controls: Vec<Vec<f32>>,
    how: Option<HiresUpscaler>,
}

/// Height and width of the pictures, so many times larger, of the multiples that the model takes.
pub fn size(info: &LatentInfo, first: [usize; 2], scale: f64) -> [usize; 2] {
    let multiple = info.multiple();
    first.map(|side| ((side as f64 * scale) as usize / multiple * multiple).max(side))
}

impl SecondPass {
    /// The pass that the command line asks for, if it does, over pictures of the size `first`.
    pub fn new(
        info: &LatentInfo,
        sampling: &SamplingOptions,
        text: &TextOptions,
        first: [usize; 2],
    ) -> Result<Option<Self>, Fault> {
        let Some(scale) = text.hires else { return Ok(None) };
        if info.repaints() || info.sees_depth() {
            return Err(Fault::Usage(
                "--hires is not for models that repaint or are led by depth: leave it out".into(),
            ));
        }
        let size = size(info, first, scale);
        if size == first {
            let [height, width] = first;
            let multiple = info.multiple();
            return Err(Fault::Usage(format!(
                "--hires {scale}: {width}x{height} grows in steps of {multiple} pixels, so give a larger one"
            )));
        }
        let wrong = |e: Error| solver::unfit(sampling, text.hires_strength, e);
        let (schedule, settings) = settings(info, sampling, text, |solver, sigmas| {
            info.second_pass(size, solver, sigmas, steps(info, sampling.steps), text.hires_strength.unwrap_or(STRENGTH))
        })?;
        let calls = Calls::new(&schedule, &settings).map_err(|e| wrong(e.into()))?;
        let controls = text.controls.iter().map(|control| image_in::picture(&control.image, size));
        let controls = controls.collect::<Result<_, _>>()?;
        Ok(Some(Self { size, calls, controls, how: text.hires_upscaler.clone() }))
    }

    /// How the picture comes to that size; the upscaler is loaded where the command line names one.
    pub fn how<'a>(&self, upscaler: Option<&'a Upscaler>) -> Enlarge<'a> {
        match (&self.how, upscaler) {
            (Some(HiresUpscaler::File(_)), Some(upscaler)) => Enlarge::Upscaler(upscaler),
            (Some(HiresUpscaler::Lanczos), _) => Enlarge::Pixels,
            _ => Enlarge::Latents,
        }
    }
}

/// The file of an upscaler, if one is named.
pub fn upscaler(how: Option<&HiresUpscaler>) -> Option<&Path> {
    if let Some(HiresUpscaler::File(path)) = how { Some(path) } else { None }
}

/// Whether the picture is decoded and encoded between the passes.
pub fn encodes(how: Option<&HiresUpscaler>) -> bool {
    !matches!(how, None | Some(HiresUpscaler::Latent))
}

/// What the picture's text says: the scale, the strength, and the upscaler's name.
pub fn told(text: &TextOptions) -> Option<(f64, f64, String)> {
    let name = match &text.hires_upscaler {
        None | Some(HiresUpscaler::Latent) => "Latent".to_owned(),
        Some(HiresUpscaler::Lanczos) => "Lanczos".to_owned(),
        Some(HiresUpscaler::File(path)) => file::name(path),
    };
    text.hires.map(|scale| (scale, text.hires_strength.unwrap_or(STRENGTH), name))
}
