//! What is asked of a model of any kind, and the run that it gives.

mod passes;
mod plan;

pub use passes::{Hires, Refiner};
pub use plan::RunPlan;

use super::options::check;
use super::wait::wait;
use super::{
    ControlNetwork, DepthMap, Diffusion, ImagePrompt, LatentControl, LatentInfo, LatentRequest, Model, ReferenceImage,
    Request, RequestError, Run, SessionOptions, StepInfo, TextToImage, is_of_one_color,
};
use crate::Error;
use crate::sampler::{Calls, Sigmas, Solver, SolverSettings};
use crate::schedule::Schedule;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use passes::{Next, Passes, all_calls};

/// What to draw, of a model of any kind: from [`Model::request`], with whatever is to be another. What a model cannot do is
/// refused by its name here.
///
/// ```no_run
/// use nijimi_runtime::{Device, Error, Model, model::{DrawRequest, batch_seeds}, sampler::Solver};
///
/// # fn main() -> Result<(), Error> {
/// let model = Model::open("weights/emoji-q8_0.gguf", &Device::Cpu)?;
/// let request = DrawRequest {
///     seeds: batch_seeds(1, 4),
///     solver: Some(Solver::EulerAncestral),
///     steps: Some(30),
///     guidance_scale: 5.0,
///     ..model.request("a red apple", 1)?
/// };
/// let mut run = model.run(&request)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DrawRequest<'a> {
    /// What the pictures show: words, or, of a model of labels, the name of one; empty for any picture.
    pub prompt: &'a str,
    /// What they shall not show, of a model that reads prompts. Without guidance it has no effect.
    pub negative_prompt: Option<&'a str>,
    /// One a picture; they are drawn together. A picture depends on its own seed alone, never on its neighbours.
    pub seeds: Vec<u64>,
    /// Height and width of the pictures; of a model of latents, multiples of [`LatentInfo::factor`](super::LatentInfo::factor).
    pub size: [usize; 2],
    /// The solver; none is the model's own scheduler.
    pub solver: Option<Solver>,
    /// How the noise levels are spread; none is as the solver has them.
    pub sigmas: Option<Sigmas>,
    /// The number of steps; none is what suits the solver.
    pub steps: Option<usize>,
    /// Strength of classifier-free guidance; 1 is none. Without a label, a model of labels is not guided.
    pub guidance_scale: f32,
    /// How strongly the picture is kept to, of models that change pictures by instruction; none is what suits them.
    pub image_guidance_scale: Option<f32>,
    /// Pictures to start from, in [0, 1], `(n, height, width, 3)`, or one for all, of a model that reads prompts.
    pub init_image: Option<&'a [f32]>,
    /// How much of them is replaced, 0 to 1; none is what suits the model.
    pub strength: Option<f64>,
    /// 1 where they are repainted, 0 where they are kept, `(n, height, width)`, or one for all.
    pub mask: Option<&'a [f32]>,
    /// A second pass at another size, of a model that reads prompts.
    pub hires: Option<Hires<'a>>,
    /// A second model that takes the last steps, of SDXL.
    pub refiner: Option<Refiner<'a>>,
    /// Layers of the text encoders that are left out: as [`LatentRequest::clip_skip`].
    pub clip_skip: usize,
    /// As [`LatentRequest::guidance_rescale`].
    pub guidance_rescale: f32,
    /// As [`LatentRequest::guidance_normalization`].
    pub guidance_normalization: Option<f32>,
    /// As [`LatentRequest::guidance_truncation`].
    pub guidance_truncation: Option<f32>,
    /// How near everything is, of models that are led by depth, which need it.
    pub depth: Option<DepthMap<'a>>,
    /// ControlNets and T2I-Adapters with what they are shown, which in a second pass is enlarged.
    pub controls: Vec<LatentControl<'a>>,
    /// Pictures that lead as the prompt does, by an IP-Adapter.
    pub image_prompt: Option<ImagePrompt<'a>>,
    /// Pictures that are looked at, of models that know them.
    pub references: Vec<ReferenceImage<'a>>,
    /// Threads, limits and devices; their batch and guidance are worked out.
    pub options: SessionOptions,
}

impl Model {
    /// One picture, of the size, and with the solver, steps and guidance, that suit the model.
    ///
    /// # Errors
    /// [`RequestError::DrawsNothing`] of a model that makes no pictures.
    pub fn request<'a>(&self, prompt: &'a str, seed: u64) -> Result<DrawRequest<'a>, Error> {
        let request = DrawRequest {
            prompt,
            negative_prompt: None,
            seeds: vec![seed],
            size: [0, 0],
            solver: None,
            sigmas: None,
            steps: None,
            guidance_scale: 1.0,
            image_guidance_scale: None,
            init_image: None,
            strength: None,
            mask: None,
            hires: None,
            refiner: None,
            clip_skip: 0,
            guidance_rescale: 0.0,
            guidance_normalization: None,
            guidance_truncation: None,
            depth: None,
            controls: Vec::new(),
            image_prompt: None,
            references: Vec::new(),
            options: SessionOptions::default(),
        };
        Ok(match self {
            Self::TextToImage(model) => {
                let info = model.info();
                DrawRequest {
                    size: info.size(),
                    solver: info.defaults.solver,
                    sigmas: info.defaults.sigmas,
                    steps: Some(info.steps()),
                    guidance_scale: info.guidance_scale(),
                    ..request
                }
            }
            Self::Diffusion(model) => {
                let (network, defaults) = (&model.info().network, model.info().defaults);
                DrawRequest {
                    size: network.size(),
                    solver: Some(defaults.solver),
                    steps: Some(defaults.steps),
                    guidance_scale: defaults.guidance_scale,
                    ..request
                }
            }
            Self::Vae(model) => {
                DrawRequest { size: [model.info().network.height, model.info().network.width], ..request }
            }
            Self::Hvae(model) => {
                DrawRequest { size: [model.info().network.height, model.info().network.width], ..request }
            }
            _ => return self.nothing(),
        })
    }

    /// What a model is for that draws no pictures.
    fn nothing<T>(&self) -> Result<T, Error> {
        let (kind, instead) = match self {
            Self::Classifier(_) => ("a classifier", "it guides a diffusion model: see ClassifierGuided"),
            Self::ControlNet(control) if matches!(control.info().network, ControlNetwork::T2iAdapter(_)) => {
                ("a T2I-Adapter", "it guides a text-to-image model: see DrawRequest::controls")
            }
            Self::ControlNet(_) => ("a ControlNet", "it guides a text-to-image model: see DrawRequest::controls"),
            Self::IpAdapter(_) => ("an IP-Adapter", "it guides a text-to-image model: see DrawRequest::image_prompt"),
            Self::ImageEncoder(_) => ("an image encoder", "an IP-Adapter reads what it says: see ImageEncoder::see"),
            Self::TinyAutoencoder(_) => {
                ("a tiny autoencoder", "it decodes a text-to-image model's latents: see Decoding")
            }
            Self::Upscaler(_) => ("an upscaler", "it enlarges pictures: see Upscaler::run"),
            Self::Autoencoder(_) => ("an autoencoder", "it is for training a text-to-image model"),
            _ => ("a model of numbers", "its `sample` gives rows of them"),
        };
        Err(RequestError::DrawsNothing { kind, instead }.into())
    }

    /// Begins a run. It has memory of its own and borrows nothing, so that it may be kept, and dropped at any step.
    ///
    /// # Errors
    /// A request that the model cannot serve, or more memory than the options allow; [`RequestError::NotOf`] with the name of
    /// what this kind of model does not do.
    pub fn run(&self, request: &DrawRequest<'_>) -> Result<ModelRun, Error> {
        wait(self.run_async(request))
    }

    /// [`Self::run`], awaited.
    ///
    /// # Errors
    /// As [`Self::run`] has.
    pub async fn run_async(&self, request: &DrawRequest<'_>) -> Result<ModelRun, Error> {
        let options = SessionOptions { batch: request.seeds.len(), ..request.options };
        let made = match self {
            Self::TextToImage(model) => text_to_image(model, request).await?,
            Self::Diffusion(model) => Made::InSteps(diffusion(model, request)?),
            Self::Vae(model) => {
                request.takes_no_steps(self)?;
                let mut session = model.session(&options)?;
                Made::AtOnce(session.picture_shape(), session.sample_u8_async(&request.seeds).await?)
            }
            Self::Hvae(model) => {
                request.takes_no_steps(self)?;
                let mut session = model.session(&options)?;
                Made::AtOnce(session.picture_shape(), session.sample_u8_async(&request.seeds).await?)
            }
            _ => return self.nothing(),
        };
        Ok(ModelRun { model: self.clone(), options: SessionOptions { batch: 1, ..options }, made })
    }

    /// Why a picture may be of one color, if a network makes the same number of everything.
    async fn check_constant_async(&self, options: &SessionOptions) -> Result<(), Error> {
        match self {
            Self::TextToImage(model) => model.check_constant_async(options).await,
            Self::Diffusion(model) => model.check_constant_async(options).await,
            Self::Vae(model) => model.check_constant_async(options).await,
            Self::Hvae(model) => model.check_constant_async(options).await,
            _ => Ok(()),
        }
    }
}

impl DrawRequest<'_> {
    /// That nothing is asked for that only a model of prompts does.
    fn reads_no_prompt(&self, size: [usize; 2]) -> Result<(), RequestError> {
        let given = [
            ("negative_prompt", self.negative_prompt.is_some()),
            ("image_guidance_scale", self.image_guidance_scale.is_some()),
            ("init_image", self.init_image.is_some()),
            ("strength", self.strength.is_some()),
            ("mask", self.mask.is_some()),
            ("hires", self.hires.is_some()),
            ("refiner", self.refiner.is_some()),
            ("clip_skip", self.clip_skip != 0),
            ("guidance_rescale", self.guidance_rescale != 0.0),
            ("guidance_normalization", self.guidance_normalization.is_some()),
            ("guidance_truncation", self.guidance_truncation.is_some()),
            ("depth", self.depth.is_some()),
            ("a ControlNet or T2I-Adapter", !self.controls.is_empty()),
            ("an IP-Adapter", self.image_prompt.is_some()),
            ("a reference picture", !self.references.is_empty()),
        ];
        refuse(&given, "models that read prompts")?;
        for (what, found, own) in [("height", self.size[0], size[0]), ("width", self.size[1], size[1])] {
            if found != own {
                check(false, what, found, own.to_string())?;
            }
        }
        Ok(())
    }

    /// That nothing is asked for of a model that draws in one step.
    fn takes_no_steps(&self, model: &Model) -> Result<(), Error> {
        let label = self.prompt.trim();
        if !label.is_empty() {
            return Err(RequestError::UnknownLabel { label: label.to_string(), known: Vec::new() }.into());
        }
        self.reads_no_prompt(model.request("", 0)?.size)?;
        let given = [
            ("solver", self.solver.is_some()),
            ("sigmas", self.sigmas.is_some()),
            ("steps", self.steps.is_some()),
            ("guidance_scale", self.guidance_scale != 1.0),
        ];
        Ok(refuse(&given, "models that draw in steps")?)
    }
}

/// That nothing of it is given.
fn refuse(given: &[(&'static str, bool)], of: &'static str) -> Result<(), RequestError> {
    let given = given.iter().find(|(_, is)| *is);
    given.map_or(Ok(()), |&(what, _)| Err(RequestError::NotOf { what, of }))
}

/// The noise levels and the solver that a model of prompts is asked for; of its refiner, too.
fn latent_settings(info: &LatentInfo, request: &DrawRequest<'_>) -> Result<(Schedule, SolverSettings), Error> {
    let &DrawRequest { solver, sigmas, steps, .. } = request;
    info.settings_for(request.size, solver, sigmas, steps.unwrap_or_else(|| info.steps()))
}

/// The calls of the network that a model of prompts makes, without a second one.
fn latent_calls(info: &LatentInfo, request: &DrawRequest<'_>) -> Result<Calls, Error> {
    let (schedule, mut settings) = latent_settings(info, request)?;
    let strength = request.strength;
    if request.init_image.is_some() {
        let strength = strength.unwrap_or_else(|| info.strength());
        check((0.0..=1.0).contains(&strength), "strength", strength, "0 to 1")?;
        settings = settings.from_strength(strength);
    } else {
        refuse(&[("strength", strength.is_some()), ("mask", request.mask.is_some())], "runs from an init_image")?;
    }
    Ok(Calls::new(&schedule, &settings)?)
}

async fn text_to_image(model: &TextToImage, asked: &DrawRequest<'_>) -> Result<Made, Error> {
    let ((calls, second), n) = (all_calls(model.info(), asked)?, asked.seeds.len());
    let request = LatentRequest {
        prompts: vec![asked.prompt; n],
        negatives: vec![asked.negative_prompt; n],
        clip_skip: asked.clip_skip,
        seeds: asked.seeds.clone(),
        size: asked.size,
        guidance_scale: asked.guidance_scale,
        image_guidance_scale: asked.image_guidance_scale,
        guidance_rescale: asked.guidance_rescale,
        guidance_normalization: asked.guidance_normalization,
        guidance_truncation: asked.guidance_truncation,
        init_image: asked.init_image,
        mask: asked.mask,
        depth: asked.depth,
        controls: asked.controls.clone(),
        image_prompt: asked.image_prompt,
        references: asked.references.clone(),
        options: asked.options,
        ..model.request(asked.prompt, 0, &calls)
    };
    let next = asked.hires.map(Next::Hires).or(asked.refiner.map(Next::Refiner));
    match next.zip(second) {
        Some((next, calls)) => Ok(Made::Passes(Passes::begin(model, &request, next, calls).await?.into())),
        None => Ok(Made::InSteps(model.run_async(&request).await?)),
    }
}

/// The label that is asked for, and the calls of the network, of a model of pixels.
pub(super) fn pixel_calls(model: &Diffusion, request: &DrawRequest<'_>) -> Result<(Option<u32>, Calls), Error> {
    let info = model.info();
    request.reads_no_prompt(info.network.size())?;
    let label = Some(request.prompt.trim()).filter(|label| !label.is_empty());
    let label = label.map(|label| model.label(label)).transpose()?;
    let solver = request.solver.unwrap_or(info.defaults.solver);
    let mut settings = info.settings(solver, request.steps.unwrap_or_else(|| info.steps(solver)))?;
    settings.sigmas = request.sigmas.unwrap_or(settings.sigmas);
    Ok((label, Calls::new(&info.schedule, &settings)?))
}

fn diffusion(model: &Diffusion, request: &DrawRequest<'_>) -> Result<Run<'static>, Error> {
    let (label, calls) = pixel_calls(model, request)?;
    let DrawRequest { seeds, options, .. } = request;
    let labels = vec![label; seeds.len()];
    // Without a label there is nothing to be guided to.
    let guidance_scale = if label.is_some() { request.guidance_scale } else { 1.0 };
    model.run(&Request { labels: &labels, seeds, calls: &calls, guidance_scale }, options)
}

/// Pictures in the making, of a model of any kind: from [`Model::run`].
///
/// ```no_run
/// # fn main() -> Result<(), nijimi_runtime::Error> {
/// # let model = nijimi_runtime::Model::open("weights/emoji-q8_0.gguf", &nijimi_runtime::Device::Cpu)?;
/// let mut run = model.run(&model.request("a red apple", 1)?)?;
/// let mut pixels = vec![0; run.bytes()];
/// while let Some(step) = run.step()? {
///     run.write_preview(&mut pixels)?; // what the picture will be; leaving the loop cancels
///     eprintln!("{} of {}", step.index + 1, step.total);
/// }
/// run.write_u8(&mut pixels)?;
/// let [height, width, channels] = run.picture_shape();
/// # Ok(())
/// # }
/// ```
pub struct ModelRun {
    model: Model,
    options: SessionOptions,
    made: Made,
}

enum Made {
    InSteps(Run<'static>),
    Passes(Box<Passes>),
    /// Height, width and channels, and the pictures.
    AtOnce([usize; 3], Vec<u8>),
}

impl ModelRun {
    /// Makes the next step; `None` when all are made, and of a model that draws without steps.
    ///
    /// # Errors
    /// As [`Run::step`].
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        wait(self.step_async())
    }

    /// [`Self::step`], awaited.
    ///
    /// # Errors
    /// As [`Run::step`].
    pub async fn step_async(&mut self) -> Result<Option<StepInfo>, Error> {
        match &mut self.made {
            Made::InSteps(run) => run.step_async().await,
            Made::Passes(passes) => passes.step_async().await,
            Made::AtOnce(..) => Ok(None),
        }
    }

    /// The run within, of a model that draws in steps: its samples, and how it draws into a texture. With a second pass, that of
    /// the pass which the last step was of.
    pub fn steps(&mut self) -> Option<&mut Run<'static>> {
        match &mut self.made {
            Made::InSteps(run) => Some(run),
            Made::Passes(passes) => Some(passes.run()),
            Made::AtOnce(..) => None,
        }
    }

    /// Height, width and channels (1 or 3) of a picture.
    pub fn picture_shape(&self) -> [usize; 3] {
        match &self.made {
            Made::InSteps(run) => run.picture_shape(),
            Made::Passes(passes) => passes.picture_shape(),
            Made::AtOnce(shape, _) => *shape,
        }
    }

    /// How many pictures this run makes.
    pub fn len(&self) -> usize {
        match &self.made {
            Made::InSteps(run) => run.len(),
            Made::Passes(passes) => passes.len(),
            Made::AtOnce(shape, bytes) => bytes.len() / shape.iter().product::<usize>().max(1),
        }
    }

    /// Never: a run has at least one picture.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all pictures, `(n, h, w, c)` of [`Self::picture_shape`].
    pub fn bytes(&self) -> usize {
        self.len() * self.picture_shape().iter().product::<usize>()
    }

    /// The pictures, row by row from the top, into memory of [`Self::bytes`].
    ///
    /// # Errors
    /// Another length; as [`Run::to_u8`]; and, where a picture is of one color, because an operation of the network makes the same
    /// number of everything, which one: the weights are damaged.
    pub fn write_u8(&mut self, out: &mut [u8]) -> Result<(), Error> {
        wait(self.write_u8_async(out))
    }

    /// [`Self::write_u8`], awaited.
    ///
    /// # Errors
    /// As [`Self::write_u8`] has.
    pub async fn write_u8_async(&mut self, out: &mut [u8]) -> Result<(), Error> {
        match &mut self.made {
            Made::InSteps(run) => run.write_u8_async(out).await?,
            Made::Passes(passes) => passes.write_u8_async(out).await?,
            Made::AtOnce(_, bytes) => copy(bytes, out)?,
        }
        let [height, width, channels] = self.picture_shape();
        if out.chunks_exact(height * width * channels).any(|picture| is_of_one_color(picture, channels)) {
            self.model.check_constant_async(&self.options).await?;
        }
        Ok(())
    }

    /// What the pictures will be, as the network guessed at the last step, into memory of [`Self::bytes`].
    ///
    /// # Errors
    /// Another length; as [`Run::preview`].
    pub fn write_preview(&mut self, out: &mut [u8]) -> Result<(), Error> {
        wait(self.write_preview_async(out))
    }

    /// [`Self::write_preview`], awaited.
    ///
    /// # Errors
    /// As [`Self::write_preview`] has.
    pub async fn write_preview_async(&mut self, out: &mut [u8]) -> Result<(), Error> {
        match &mut self.made {
            Made::InSteps(run) => run.write_preview_async(out).await,
            Made::Passes(passes) => passes.write_preview_async(out).await,
            Made::AtOnce(_, bytes) => Ok(copy(bytes, out)?),
        }
    }
}

fn copy(bytes: &[u8], out: &mut [u8]) -> Result<(), RequestError> {
    check(out.len() == bytes.len(), "bytes for pictures", out.len(), bytes.len().to_string())?;
    out.copy_from_slice(bytes);
    Ok(())
}
