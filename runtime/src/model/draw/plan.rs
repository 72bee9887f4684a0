//! What a run takes, known before it begins.

use super::{DrawRequest, passes::all_calls, pixel_calls, refuse};
use crate::Error;
use crate::gguf::File;
use crate::model::{Device, Enlarge, LatentInfo, LatentPlan, Loaded, Model, PlanRequest, SessionOptions};
use crate::plan::{ExecError, PlanError};
use crate::sampler::Calls;
use alloc::vec;
use alloc::vec::Vec;

/// What a run takes, known before it begins: from [`Model::plan`].
///
/// ```no_run
/// use nijimi_runtime::{Device, Error, Model, gguf::MappedFile};
///
/// # fn main() -> Result<(), Error> {
/// let (mapped, device) = (MappedFile::open("weights/emoji-q8_0.gguf")?, Device::Cpu);
/// let file = mapped.file()?;
/// let model = Model::load(&file, &device)?;
/// let plan = model.plan(&file, &device, &model.request("a red apple", 1)?)?;
/// println!("{} MB at the most, {} evaluations", plan.peak >> 20, plan.calls);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunPlan {
    /// Bytes of the model's weights, as the kernels read them.
    pub weights: u64,
    /// The most bytes at once, weights included.
    pub peak: u64,
    /// Steps, of both passes if there are two.
    pub steps: usize,
    /// Evaluations of the network: some solvers make several in a step.
    pub calls: usize,
}

impl Model {
    /// What [`Self::run`] would take, of a model that was loaded from `file` for `device`, and stays in memory. Nothing is
    /// drawn, and no memory of that size is taken.
    ///
    /// # Errors
    /// As [`Self::run`], as far as it does not draw.
    pub fn plan(&self, file: &File<'_>, device: &Device, request: &DrawRequest<'_>) -> Result<RunPlan, Error> {
        let _ = device;
        let options = SessionOptions { batch: request.seeds.len(), memory_limit: Some(0), ..request.options };
        let (weights, beside, calls) = match self {
            Self::TextToImage(model) => {
                let info = model.info();
                let guided = info.is_guided(request.guidance_scale);
                let prompts = [request.prompt, request.negative_prompt.filter(|_| guided).unwrap_or_default()];
                let refined = [("refiner", request.refiner.is_some())];
                refuse(&refined, "runs, and planned by LatentPlan from its own file")?;
                let (first, second) = all_calls(info, request)?;
                let first = (first, request.size, request.init_image.is_some());
                let second = second.map(|calls| match request.hires {
                    Some(hires) => (calls, hires.size, hires.enlarge != Enlarge::Latents),
                    None => (calls, request.size, false),
                });
                let references: Vec<_> = request.references.iter().map(|reference| reference.size).collect();
                let (also, working) = leading(info, request)?;
                let (mut weights, mut beside, mut made) = (model.weight_bytes() as u64, 0, Vec::new());
                for (calls, size, encodes) in [Some(first), second].into_iter().flatten() {
                    let asked = PlanRequest {
                        pictures: request.seeds.len(),
                        guided,
                        windows: info.windows(&prompts),
                        calls: calls.calls().len(),
                        encodes,
                        references: &references,
                        stays: true,
                        threads: request.options.threads,
                        #[cfg(feature = "gpu")]
                        gpu: if let Device::Gpu(gpu) = device { Some((gpu, Default::default())) } else { None },
                        ..PlanRequest::new(size)
                    };
                    let plan = LatentPlan::new(file, info, &asked)?;
                    let choice = plan.choices().next().unwrap_or_default();
                    let planned: u64 = plan.stages(&choice).map(|stage| stage.weights).sum();
                    weights = weights.max(planned);
                    beside = beside.max(plan.resident(&choice) - planned);
                    made.push(calls);
                }
                (weights + also, beside + working, made)
            }
            Self::Diffusion(model) => {
                let (label, calls) = pixel_calls(model, request)?;
                let guidance = label.is_some() && ![0.0, 1.0].contains(&request.guidance_scale);
                let session = model.session(&SessionOptions { guidance, ..options });
                (weights(model), needed(session)?, vec![calls])
            }
            Self::Vae(model) => {
                request.takes_no_steps(self)?;
                (weights(model), needed(model.session(&options))?, Vec::new())
            }
            Self::Hvae(model) => {
                request.takes_no_steps(self)?;
                (weights(model), needed(model.session(&options))?, Vec::new())
            }
            _ => return self.nothing(),
        };
        let (steps, calls) =
            (calls.iter().map(Calls::steps).sum(), calls.iter().map(|calls| calls.calls().len()).sum());
        Ok(RunPlan { weights, peak: weights.saturating_add(beside), steps, calls })
    }
}

/// What goes with a model of prompts: bytes of weights, and of the most that one of them works in, at the pictures' final size.
fn leading(info: &LatentInfo, request: &DrawRequest<'_>) -> Result<(u64, u64), Error> {
    let size = request.hires.map_or(request.size, |hires| hires.size);
    let options = SessionOptions { memory_limit: Some(0), ..request.options };
    let (mut also, mut working) = (0, 0);
    if let Some(Enlarge::Upscaler(upscaler)) = request.hires.map(|hires| hires.enlarge) {
        also += weights(upscaler);
        working = needed(upscaler.evaluator(request.size.map(|side| side.min(160)), &options))?;
    }
    if request.controls.is_empty() && request.image_prompt.is_none() {
        return Ok((also, working));
    }
    let guided = info.is_guided(request.guidance_scale);
    let mut unet = info.sd_request(request.seeds.len(), guided, size, info.states(1))?;
    for control in &request.controls {
        control.network.check(info)?;
        control.network.info().network.ask(&mut unet);
    }
    for control in &request.controls {
        also += weights(control.network);
        working = needed(control.network.evaluator(&unet, &options))?.max(working);
    }
    if let Some(led) = &request.image_prompt {
        also += weights(led.adapter);
        let tokens = led.tokens(info)? as u64;
        let channels: usize = led.adapter.info().network.channels.iter().sum();
        // Keys and values of each text, as they are made and as the network is given them.
        working += 2 * 2 * 4 * tokens * channels as u64 * unet.batch as u64;
    }
    Ok((also, working))
}

fn weights<I>(model: &Loaded<I>) -> u64 {
    model.weight_bytes() as u64
}

/// The bytes of a session that may have none: its refusal has the figure.
fn needed<T>(session: Result<T, Error>) -> Result<u64, Error> {
    match session {
        Err(
            Error::Plan(PlanError::Memory { needed, .. })
            | Error::Exec(ExecError::Plan(PlanError::Memory { needed, .. })),
        ) => Ok(needed),
        Err(e) => Err(e),
        Ok(_) => Ok(0),
    }
}
