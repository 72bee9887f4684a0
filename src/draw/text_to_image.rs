//! Pictures from a latent diffusion model and a prompt.

mod inputs;
pub mod loading;
pub mod planning;
mod preview;

use crate::cli::{Cli, none_of};
use crate::draw::artist::{self, Artist, Done, Drawing, failed, ms};
use crate::draw::backend::Loaded;
use crate::draw::parameters::{Extras, Parameters, Sampling};
use crate::draw::progress::{Progress, tell};
use crate::draw::solver;
use crate::fault::Fault;
use crate::file::grid::Size;
use crate::file::latents;
use crate::file::source::Source;
use crate::memory;
use inputs::Inputs;
use loading::{Beside, file_name};
use nijimi_runtime::Error;
use nijimi_runtime::model::{
    Choice, Control, Decoding, LatentControl, LatentInfo, LatentRequest, ModelPart, NoiseSource, RequestError, Run,
    SessionOptions, TextToImage, TinyAutoencoder,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::Calls;
use preview::Preview;
use std::time::{Duration, Instant};

/// How much of an init image is given up, if nothing is said.
const STRENGTH: f64 = 0.75;

/// The model, and what goes with it.
pub struct Parts {
    on: Loaded<TextToImage>,
    control: Option<Control>,
    tiny: Option<TinyAutoencoder>,
}

/// A model, ready to draw.
pub struct PromptArtist {
    parts: Parts,
    /// Where it came from, and the bytes of its weights there: they are loaded in parts.
    source: String,
    weights: usize,
    /// Height and width of the pictures.
    size: [usize; 2],
    /// All steps, worked out.
    calls: Calls,
    inputs: Inputs,
    /// Which parts of the model stay in memory, and whether pictures are decoded in tiles.
    choice: Choice,
    started: Instant,
    loaded: Duration,
}

impl PromptArtist {
    /// Opens the weight file, and whatever goes with it, where the command line says. What a run takes is planned, and refused
    /// if it is more than there is.
    pub fn load(source: &Source, cli: &Cli, started: Instant) -> Result<Self, Fault> {
        let given = [("--classifier", cli.classifier.is_some()), ("--no-clip", cli.no_clip)];
        none_of(&given, "models of pixels: ")?;
        // What one part of the model gives back, the next one takes.
        memory::give_back();
        let dtype = cli.kind.unwrap_or(DType::F16);
        let beside = Beside::open(cli.control_net.as_deref(), cli.taesd.as_deref(), dtype)?;
        let on = loading::open(source, cli)?;
        let info = on.model.info();
        let size = loading::size(info, cli)?;
        on.model.info().latent_size(size).map_err(|e| asked(e.into()))?;
        let layers = info.texts.iter().map(|text| text.network.layers).min().unwrap_or(0);
        if let Some(n) = cli.clip_skip.filter(|&n| n > layers) {
            return Err(Fault::Usage(format!("--clip-skip {n}: the text encoder has {layers} layers")));
        }
        let calls = calls(info, cli)?;
        let asked = planning::Asked {
            runs: cli.batch,
            size,
            calls: calls.calls().len(),
            cfg_scale: cli.cfg_scale,
            encodes: cli.init_img.is_some(),
            vae_tiling: cli.vae_tiling,
            patched: !cli.lora.is_empty(),
            stay_resident: cli.stay_resident,
            threads: cli.threads,
        };
        let plan = planning::plan(source, info, &beside, &asked, on.gpu())?;
        let choice = match planning::allowed(cli.memory_limit, on.gpu()) {
            Some(allowed) => plan.fits(allowed).map_err(|e| Fault::Input(e.to_string()))?,
            None => plan.choices().next().unwrap_or_default(),
        };
        let mut parts = loading::load(on, &beside)?;
        let model = &parts.on.model;
        let inputs = Inputs::read(model, cli, size)?;
        if cli.stay_resident {
            let used = model.used(inputs.init_image.is_some(), parts.tiny.as_ref());
            parts.on.model = model.hold(&used).map_err(|e| source.wrong(e))?;
        }
        let weights = source.file()?.tensors().map(|tensor| tensor.data.len()).sum();
        let source = source.name.clone();
        Ok(Self { parts, source, weights, size, calls, inputs, choice, started, loaded: started.elapsed() })
    }

    fn name(&self) -> String {
        let name = &self.parts.on.model.info().name;
        if name.is_empty() { self.source.clone() } else { name.clone() }
    }

    fn decoding(&self) -> Decoding<'_> {
        match (&self.parts.tiny, self.choice.tiling) {
            (Some(tiny), _) => Decoding::Tiny(tiny),
            (None, Some(tiling)) => Decoding::Tiled(tiling),
            (None, None) => Decoding::Whole,
        }
    }

    fn request<'a>(&'a self, cli: &'a Cli, index: usize, seed: u64) -> LatentRequest<'a> {
        let control = self.parts.control.as_ref().zip(self.inputs.control.as_deref());
        let control = control.map(|(network, picture)| {
            let strength = cli.control_strength.unwrap_or(1.0);
            LatentControl { network, picture, strength }
        });
        LatentRequest {
            negatives: vec![cli.negative_prompt.as_deref()],
            clip_skip: cli.clip_skip.unwrap_or(0),
            noise: cli.rng.and_then(|rng| NoiseSource::from_name(rng.name())).unwrap_or_default(),
            guidance_scale: guidance_scale(self.parts.on.model.info(), cli.cfg_scale),
            guidance_rescale: cli.cfg_rescale.unwrap_or(0.0),
            latents: self.inputs.latents(index),
            init_image: self.inputs.init_image.as_deref(),
            mask: self.inputs.mask.as_deref(),
            controls: control.into_iter().collect(),
            decoding: self.decoding(),
            options: options(cli),
            size: self.size,
            ..self.parts.on.model.request(cli.prompt(), seed, &self.calls)
        }
    }

    /// Takes a run's steps.
    fn steps(&self, model: &TextToImage, run: &mut Run<'_>, cli: &Cli, progress: &mut Progress) -> Result<(), Fault> {
        let mut preview = Preview::new(cli, self.parts.tiny.as_ref());
        while let Some(step) = run.step().map_err(failed)? {
            progress.step();
            if let Some(preview) = &mut preview {
                preview.show(model, run, step)?;
            }
        }
        match &cli.save_latents {
            Some(path) => save(path, run),
            None => Ok(()),
        }
    }
}

/// Number of steps: as asked for, or as the file has it.
pub fn steps(info: &LatentInfo, asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| info.steps())
}

/// Strength of guidance: as asked for, or as the file has it.
pub fn guidance_scale(info: &LatentInfo, asked: Option<f32>) -> f32 {
    asked.unwrap_or_else(|| info.guidance_scale())
}

/// What the way is called: as asked for, or as the file has it.
fn method(info: &LatentInfo, asked: Option<&str>) -> String {
    let own = || info.defaults.solver.and_then(|solver| solver.name()).unwrap_or(&info.scheduler);
    asked.unwrap_or_else(own).to_owned()
}

/// How much of an init image is given up. A model for inpainting sees what is kept beside the noise.
fn strength(info: &LatentInfo, cli: &Cli) -> f64 {
    let repaints = info.unet.in_channels > info.autoencoder.latent_channels;
    cli.strength.unwrap_or(if repaints { 1.0 } else { STRENGTH })
}

/// The way from noise to picture that is asked for, or the model's own.
fn calls(info: &LatentInfo, cli: &Cli) -> Result<Calls, Fault> {
    let sigmas = solver::sigmas(cli)?.or(info.defaults.sigmas);
    let solver = solver::solver(cli.sampling_method.as_deref())?.or(info.defaults.solver);
    let wrong = |e: Error| Fault::Usage(format!("{e} ({})", solver::OPTIONS));
    let (schedule, mut settings) = info.settings_by(solver, sigmas, steps(info, cli.steps)).map_err(wrong)?;
    solver::set_eta(&mut settings, cli)?;
    if cli.init_img.is_some() {
        settings = settings.from_strength(strength(info, cli));
    }
    Calls::new(&schedule, &settings).map_err(|e| wrong(e.into()))
}

impl Artist for PromptArtist {
    fn size(&self) -> Size {
        (self.size[1], self.size[0], self.parts.on.model.info().autoencoder.out_channels)
    }

    fn drawing(&self, cli: &Cli, seed: u64) -> Result<Drawing, Fault> {
        let info = self.parts.on.model.info();
        let sampling = Sampling {
            steps: steps(info, cli.steps),
            sampler: method(info, cli.sampling_method.as_deref()),
            eta: cli.eta.unwrap_or(0.0),
            guidance_scale: guidance_scale(info, cli.cfg_scale),
            classifier: None,
        };
        let strength = strength(info, cli) as f32;
        let extras = Extras {
            schedule: cli.scheduler.clone(),
            guidance_rescale: cli.cfg_rescale.unwrap_or(0.0),
            init_image: cli.init_img.as_deref().map(|path| (file_name(path), strength)),
            mask: cli.mask.as_deref().map(file_name),
            loras: cli.lora.iter().map(|lora| (file_name(&lora.path), lora.strength)).collect(),
            clip_skip: cli.clip_skip.filter(|&n| n > 0),
            rng: cli.rng.map(|rng| rng.name().to_owned()),
            control_net: cli.control_net.as_deref().map(|path| (file_name(path), cli.control_strength.unwrap_or(1.0))),
            tiny_decoder: self.parts.tiny.is_some(),
            vae_tiling: self.parts.tiny.is_none() && self.choice.tiling.is_some(),
        };
        let parameters = Parameters {
            prompt: cli.prompt().to_owned(),
            negative: cli.negative_prompt.clone().unwrap_or_default(),
            sampling: Some(sampling),
            seed,
            batch: cli.batch,
            width: self.size[1],
            height: self.size[0],
            model: self.name(),
            extras,
        };
        Ok(Drawing { labels: vec![None], words: Vec::new(), calls: None, parameters })
    }

    fn draw(&self, drawing: &Drawing, cli: &Cli, done: Done<'_>) -> Result<(), Fault> {
        let total = drawing.pictures();
        // The prompts are the same for all, and so is the init image.
        let reading = Instant::now();
        let model = &self.parts.on.model;
        let prompts = model.encode_prompts(&self.request(cli, 0, 0)).map_err(asked)?;
        let init = model.encode_init(&self.request(cli, 0, 0)).map_err(asked)?;
        if cli.verbose {
            tell(&[format!("loaded in {}, prompt read in {}", ms(self.loaded), ms(reading.elapsed()))]);
        }
        let request = |index: usize| LatentRequest {
            encoded_prompts: Some(&prompts),
            encoded_init: init.as_ref(),
            ..self.request(cli, index, drawing.seed(index))
        };
        let mut progress = Progress::new(total * self.calls.steps());
        let mut timed = |progress: &mut Progress, index: usize, decode: &mut dyn FnMut() -> Result<Vec<u8>, Error>| {
            let (step, decoding) = (progress.step_time(), Instant::now());
            let bytes = decode().map_err(failed)?;
            if cli.verbose && index == 0 {
                progress.clear();
                tell(&[
                    format!("{} a step, decoded in {}", ms(step), ms(decoding.elapsed())),
                    format!("first picture after {}", ms(self.started.elapsed())),
                ]);
            }
            done(index, &bytes)
        };
        // One at a time: a picture of usual size keeps all cores busy, and two need twice the memory.
        if total == 1 {
            let request = request(0);
            let mut run = model.run(&request).map_err(asked)?;
            self.steps(model, &mut run, cli, &mut progress)?;
            return timed(&mut progress, 0, &mut || run.to_u8());
        }
        let held = model.hold(&[ModelPart::UNet]).map_err(failed)?;
        if self.choice.staged {
            // The network that draws goes before the one that decodes comes.
            let mut session = held.session();
            drop(held);
            let mut drawn = Vec::new();
            for index in 0..total {
                let request = request(index);
                let mut run = session.run(&request).map_err(asked)?;
                self.steps(model, &mut run, cli, &mut progress)?;
                drawn.push(run.sample().map_err(failed)?.to_vec());
            }
            drop(session);
            let size = model.info().latent_size(self.size).map_err(|e| asked(e.into()))?;
            let mut decoder = model.decoder(size, self.decoding(), &options(cli));
            for (index, latents) in drawn.iter().enumerate() {
                let mut decode = || Ok(TextToImage::to_u8(decoder.decode(latents)?));
                timed(&mut progress, index, &mut decode)?;
            }
            return Ok(());
        }
        let mut session = held.session();
        for index in 0..total {
            let request = request(index);
            let mut run = session.run(&request).map_err(asked)?;
            self.steps(model, &mut run, cli, &mut progress)?;
            timed(&mut progress, index, &mut || run.to_u8())?;
        }
        Ok(())
    }

    fn describe(&self, cli: &Cli) {
        let info = self.parts.on.model.info();
        let family = format!(", {}", info.family);
        artist::describe(&self.name(), &self.source, &info.license, self.size(), &family, self.weights);
        self.parts.on.describe(cli.threads);
    }
}

fn options(cli: &Cli) -> SessionOptions {
    SessionOptions { threads: cli.threads, ..SessionOptions::default() }
}

/// Writes the first noise and the last latents of a run.
fn save(path: &std::path::Path, run: &mut Run<'_>) -> Result<(), Fault> {
    let [h, w, channels] = run.sample_shape();
    let (n, noise) = (run.len(), run.noise().to_vec());
    latents::write(path, [n, channels, h, w], &noise, run.sample().map_err(failed)?)
}

/// As [`failed`], with the options that a number out of its range may come from.
fn asked(e: Error) -> Fault {
    match e {
        Error::Request(e @ RequestError::Range { .. }) => {
            Fault::Usage(format!("{e} (-W, -H, --cfg-scale, -i, --mask, --clip-skip, --control-strength)"))
        }
        e => failed(e),
    }
}
