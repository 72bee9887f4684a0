//! Pictures from a latent diffusion model and a prompt.

mod crop;
pub mod hires;
pub mod inputs;
pub mod loading;
pub mod planning;
mod preview;
pub mod refiner;
pub mod way;

use crate::cli::value::SkipOptions;
use crate::cli::{ControlFiles, MachineOptions, SamplingOptions, Subject, TextOptions, none_of};
use crate::draw::artist::{self, Artist, Done, Drawing, failed, ms};
use crate::draw::backend::Loaded;
use crate::draw::progress::Progress;
use crate::draw::prompt;
use crate::fault::Fault;
use crate::file;
use crate::file::grid::Size;
use crate::file::latents;
use crate::file::source::Source;
use crate::memory;
use hires::SecondPass;
use inputs::Inputs;
use loading::Beside;
use nijimi_cli::print::tell;
use nijimi_pictures::{Extras, Parameters, Sampling};
use nijimi_runtime::Error;
use nijimi_runtime::model::{
    Choice, Control, Decoding, DepthMap, ImagePrompt, IpAdapter, LatentControl, LatentInfo, LatentRequest, ModelPart,
    NoiseSource, RequestError, Run, SeenImages, SessionOptions, TextToImage, TinyAutoencoder, Upscaler,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::Calls;
use preview::Preview;
use refiner::{Refiner, RefinerFile};
use std::iter;
use std::path::Path;
use std::time::{Duration, Instant};
use way::{calls, guidance_scale, own_method, steps, strength};

/// Strengths, scales and weights are about 1 to 10: what is beyond this may have made numbers overflow.
const FAR: f64 = 20.0;

/// The model, and what goes with it.
pub struct Parts {
    on: Loaded<TextToImage>,
    controls: Vec<Control>,
    /// An IP-Adapter, and what it is told of its pictures.
    image_prompt: Option<(IpAdapter, SeenImages)>,
    tiny: Option<TinyAutoencoder>,
    upscaler: Option<Upscaler>,
}

/// A model, ready to draw.
pub struct PromptArtist<'a> {
    sampling: &'a SamplingOptions,
    text: &'a TextOptions,
    machine: &'a MachineOptions,
    parts: Parts,
    /// Where it came from, and the bytes of its weights there: they are loaded in parts.
    source: String,
    weights: usize,
    /// What stands for the embeddings in prompts.
    words: Vec<String>,
    /// Height and width of the pictures.
    size: [usize; 2],
    /// All steps, worked out.
    calls: Calls,
    /// The pass that follows, over the picture enlarged.
    second: Option<SecondPass>,
    /// The model that takes the last steps.
    refiner: Option<Refiner>,
    inputs: Inputs,
    /// Which parts of the model stay in memory, and whether pictures are decoded in tiles.
    choice: Choice,
    started: Instant,
    loaded: Duration,
}

impl<'a> PromptArtist<'a> {
    /// Opens the weight file, and whatever goes with it, where the command line says. What a run takes is planned, and refused
    /// if it is more than there is.
    pub fn load(
        source: &Source,
        subject: &Subject,
        sampling: &'a SamplingOptions,
        text: &'a TextOptions,
        machine: &'a MachineOptions,
        started: Instant,
    ) -> Result<Self, Fault> {
        let given = [("--classifier", sampling.classifier.is_some()), ("--no-clip", sampling.no_clip)];
        none_of(&given, "models of pixels")?;
        // What one part of the model gives back, the next one takes.
        memory::give_back();
        let dtype = text.dtype.unwrap_or(DType::F16);
        let upscaler = hires::upscaler(text.hires_upscaler.as_ref());
        let controls: Vec<&Path> = text.controls.iter().map(|control| &*control.network).collect();
        let led = text.image_prompt.as_ref().map(|files| [&*files.adapter, &*files.encoder]);
        let beside =
            Beside::open(&controls, led, text.taesd.as_deref(), upscaler, (dtype, false), text.cache > Some(1))?;
        let added = loading::added(source, &text.lora, &text.embedding)?;
        let on = loading::open(source, &added, machine)?;
        let info = on.model.info();
        // What is cut out is drawn at the model's own size.
        let init_img = text.init_img.as_deref().filter(|_| text.mask_crop.is_none());
        let size = loading::size(info, text.width, text.height, init_img)?;
        info.latent_size(size).map_err(|e| asked(e.into()))?;
        if info.repaints() && text.mask.is_none() {
            let message =
                "this model repaints part of a picture: give the picture with -i, and a mask of the part with --mask";
            return Err(Fault::Usage(message.into()));
        }
        if info.edits() && text.init_img.is_none() {
            let message = "this model changes a picture as the prompt says: give the picture with -i";
            return Err(Fault::Usage(message.into()));
        }
        match (info.sees_depth(), &text.depth_image) {
            (true, None) => {
                let message = "this model is led by depth: give a picture of it with --depth-image, near things white";
                return Err(Fault::Usage(message.into()));
            }
            (false, Some(_)) => {
                let message = "--depth-image is for models that are led by depth, and this is none";
                return Err(Fault::Usage(message.into()));
            }
            (true, _) if text.mask.is_some() => {
                return Err(Fault::Usage("--mask is not for models that are led by depth: leave it out".into()));
            }
            _ => {}
        }
        match text.img_cfg_scale {
            Some(_) if !info.edits() => {
                let message = "--img-cfg-scale is for models that change pictures by instruction, and this is none";
                return Err(Fault::Usage(message.into()));
            }
            Some(scale) if scale < 1.0 => {
                return Err(Fault::Usage(format!("--img-cfg-scale {scale}: it must be at least 1")));
            }
            _ => {}
        }
        let guidance_scale = guidance_scale(info, sampling.cfg_scale);
        let prompts = subject.prompts();
        let mut notes: Vec<String> = prompts.iter().flat_map(|text| prompt::notes("the prompt", text)).collect();
        if let Some(negative) = &text.negative_prompt {
            notes.extend(prompt::notes("-n", negative));
            if !info.is_guided(guidance_scale) {
                notes.push(format!("-n has no effect: with --cfg-scale {guidance_scale}, this model is not guided"));
            }
        }
        for text in prompts.iter().copied().chain(text.negative_prompt.as_deref()) {
            if let left_out @ 1.. = info.left_out(text) {
                notes
                    .push(format!("the last {left_out} tokens of a prompt are not read: it is too long for the model"));
            }
        }
        tell(&notes.iter().map(|note| format!("note: {note}")).collect::<Vec<_>>());
        let layers = info.texts.iter().map(|encoder| encoder.network.layers).min().unwrap_or(0);
        if let Some(n) = text.clip_skip.filter(|&n| n > layers) {
            return Err(Fault::Usage(format!("--clip-skip {n}: the text encoder has only {layers} layers")));
        }
        let file = text.refiner.as_deref();
        let file =
            file.map(|path| RefinerFile::open(path, info, dtype, text.tokenizer.as_deref(), false)).transpose()?;
        let all = calls(info, sampling, text, size)?;
        let (calls, last) = match &file {
            Some(file) => {
                let count = steps(info, sampling.steps);
                let of = |info: &LatentInfo| {
                    way::settings(info, sampling, text, |solver, sigmas| info.settings_for(size, solver, sigmas, count))
                };
                let start = text.refiner_start.unwrap_or(refiner::START);
                let (first, last) = refiner::split([info, &file.info], start, of, all)?;
                (first, Some(last))
            }
            None => (all, None),
        };
        let references = inputs::references(info, text)?;
        let mut second = SecondPass::new(info, sampling, text, size)?;
        let asked = planning::Asked {
            runs: subject.batch * prompts.len(),
            size,
            calls: calls.calls().len(),
            prompts: &prompts,
            negative: text.negative_prompt.as_deref().unwrap_or_default(),
            cfg_scale: sampling.cfg_scale,
            cache_interval: text.cache.unwrap_or(1),
            skip: text.skip.as_ref(),
            encodes: text.init_img.is_some(),
            vae_tiling: text.vae_tiling,
            references: &references.iter().map(|(_, size)| *size).collect::<Vec<_>>(),
            shown: text.image_prompt.as_ref().map_or(0, |files| files.images.len()),
            patched: !text.lora.is_empty() || !text.embedding.is_empty(),
            stay_resident: text.stay_resident,
            threads: machine.threads,
        };
        let encodes = hires::encodes(text.hires_upscaler.as_ref());
        let again = second.as_ref().map(|pass| asked.again(pass.size, pass.calls.calls().len(), encodes));
        // The second pass is the larger one, so its way is both's.
        let mut choice = Choice::default();
        for asked in [Some(&asked), again.as_ref()].into_iter().flatten() {
            let plan = planning::plan(source, info, &beside, asked, on.gpu())?;
            choice = match planning::allowed(text.memory_limit, on.gpu()) {
                Some(allowed) => plan.fits(allowed).map_err(|e| planning::refused(info, asked, e))?,
                None => plan.choices().next().unwrap_or_default(),
            };
        }
        let mut refined = Choice::default();
        if let (Some(file), Some(last)) = (&file, &last) {
            // One model after the other, and the first one's autoencoder.
            let asked = asked.again(size, last.calls().len(), false);
            let plan = planning::plan(&file.source, &file.info, &beside.decoding(), &asked, on.gpu())?;
            let allowed = planning::allowed(text.memory_limit, on.gpu());
            refined = allowed
                .map_or(Ok(Choice::default()), |allowed| plan.fits(allowed))
                .map_err(|e| planning::refused(&file.info, &asked, e))?;
        }
        let seen = loading::seen(&on, &beside, text, &options(machine))?;
        let mut parts = loading::load(on, &beside, seen)?;
        let refiner =
            file.zip(last).map(|(file, last)| Refiner::new(&file, &parts.on.device, last, refined)).transpose()?;
        if let Some(held) = choice.held {
            parts.on.model = parts.on.model.streamed(held).map_err(|e| source.wrong(e))?;
        }
        let model = &parts.on.model;
        let mut inputs = Inputs::read(model, text, subject.batch, size)?;
        inputs.references = inputs::encoded(model, &references, &calls, &options(machine))?;
        for shown in iter::once(&mut inputs.controls).chain(second.as_mut().map(|pass| &mut pass.controls)) {
            inputs::as_read(&parts.controls, shown);
        }
        if text.stay_resident {
            let used = model.used(inputs.init_image.is_some(), parts.tiny.as_ref());
            parts.on.model = model.hold(&used).map_err(|e| source.wrong(e))?;
        }
        let weights = source.file()?.tensors().map(|tensor| tensor.data.len()).sum();
        let source = source.name.clone();
        let loaded = started.elapsed();
        let words = added.embeddings.into_iter().map(|embedding| embedding.word).collect();
        Ok(Self {
            sampling,
            text,
            machine,
            parts,
            source,
            weights,
            words,
            size,
            calls,
            second,
            refiner,
            inputs,
            choice,
            started,
            loaded,
        })
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

    fn request<'r>(&'r self, prompt: &'r str, index: usize, seed: u64) -> LatentRequest<'r> {
        let text = self.text;
        LatentRequest {
            negatives: vec![text.negative_prompt.as_deref()],
            clip_skip: text.clip_skip.unwrap_or(0),
            noise: text.rng.and_then(|rng| NoiseSource::from_name(rng.name())).unwrap_or_default(),
            guidance_scale: guidance_scale(self.parts.on.model.info(), self.sampling.cfg_scale),
            image_guidance_scale: text.img_cfg_scale,
            guidance_rescale: text.cfg_rescale.unwrap_or(0.0),
            cache_interval: text.cache.unwrap_or(1),
            skip_layers: text.skip.as_ref().map(SkipOptions::asked),
            latents: self.inputs.latents(index),
            init_image: self.inputs.init_image.as_deref(),
            mask: self.inputs.mask.as_deref(),
            depth: self.inputs.depth.as_ref().map(|(values, size)| DepthMap { values, size: *size }),
            controls: self.controls(&self.inputs.controls),
            image_prompt: self
                .parts
                .image_prompt
                .as_ref()
                .zip(text.image_prompt.as_ref())
                .map(|((adapter, seen), files)| ImagePrompt { adapter, seen, strength: files.strength }),
            encoded_references: self.inputs.references.as_ref(),
            decoding: self.decoding(),
            options: options(self.machine),
            size: self.size,
            ..self.parts.on.model.request(prompt, seed, &self.calls)
        }
    }

    /// The ControlNets and T2I-Adapters, each with what it is shown.
    fn controls<'r>(&'r self, pictures: &'r [Vec<f32>]) -> Vec<LatentControl<'r>> {
        let controls = self.parts.controls.iter().zip(pictures).zip(&self.text.controls);
        let control = |((network, picture), files): ((&'r Control, &'r Vec<f32>), &ControlFiles)| LatentControl {
            network,
            picture,
            strength: files.strength,
        };
        controls.map(control).collect()
    }

    /// Makes the pictures of these latents, one after the other; `each` is given what makes one.
    fn decoded(
        &self,
        drawn: &[Vec<f32>],
        mut each: impl FnMut(usize, &mut dyn FnMut() -> Result<Vec<u8>, Error>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let model = &self.parts.on.model;
        let size = model.info().latent_size(self.size).map_err(|e| asked(e.into()))?;
        let mut decoder = model.decoder(size, self.decoding(), &options(self.machine));
        for (index, latents) in drawn.iter().enumerate() {
            each(index, &mut || Ok(TextToImage::to_u8(decoder.decode(latents)?)))?;
        }
        Ok(())
    }

    /// The run over what `first` drew, enlarged.
    fn again(
        &self,
        model: &TextToImage,
        run: &mut Run<'_>,
        first: LatentRequest<'_>,
        pass: &SecondPass,
    ) -> Result<Run<'static>, Fault> {
        let request = LatentRequest {
            size: pass.size,
            calls: &pass.calls,
            latents: None,
            controls: self.controls(&pass.controls),
            ..first
        };
        let init = model.enlarge(run, &request, pass.how(self.parts.upscaler.as_ref())).map_err(asked)?;
        model.run(&LatentRequest { encoded_init: Some(&init), ..request }).map_err(asked)
    }

    /// The fault of a run that failed. A NaN comes from what is far outside of the usual, if anything is.
    fn lost(&self, drawing: &Drawing, e: Error) -> Fault {
        if !matches!(e, Error::Request(RequestError::NotFinite { .. })) {
            return failed(e);
        }
        let text = self.text;
        let far = |x: &f64| x.abs() > FAR;
        let weight = |prompt: &str| prompt::weights(prompt).find(far);
        let negative = text.negative_prompt.as_deref().unwrap_or_default();
        let causes = [
            ("a weight in the prompt", weight(&drawing.parameters.prompt)),
            ("a weight in the negative prompt (-n)", weight(negative)),
            ("--cfg-scale", self.sampling.cfg_scale.map(f64::from).filter(far)),
            ("--control-strength", text.controls.iter().map(|control| f64::from(control.strength)).find(far)),
            ("--ip-adapter-strength", text.image_prompt.as_ref().map(|led| f64::from(led.strength)).filter(far)),
            ("the strength of a --lora", text.lora.iter().map(|lora| f64::from(lora.strength)).find(far)),
        ];
        Fault::Input(match causes.into_iter().find_map(|(what, x)| Some((what, x?))) {
            Some((what, x)) => format!("{e}: {what}, {x:e}, is too large"),
            None => format!("{e}: the model's weights are damaged"),
        })
    }

    /// Takes a run's steps.
    fn steps(
        &self,
        drawing: &Drawing,
        run: &mut Run<'_>,
        progress: &mut Progress,
        saved: &mut Saved,
    ) -> Result<(), Fault> {
        let model = &self.parts.on.model;
        let mut preview = Preview::new(self.text, self.machine, self.parts.tiny.as_ref());
        while let Some(step) = run.step().map_err(|e| self.lost(drawing, e))? {
            progress.step();
            if let Some(preview) = &mut preview {
                preview.show(model, run, step)?;
            }
        }
        if self.text.save_latents.is_some() {
            saved.shape = run.sample_shape();
            saved.noise.extend_from_slice(run.noise());
            saved.latents.extend_from_slice(run.sample().map_err(|e| self.lost(drawing, e))?);
        }
        Ok(())
    }
}

impl Artist for PromptArtist<'_> {
    fn size(&self) -> Size {
        let whole = self.inputs.crop.as_ref().map(|crop| crop.size);
        let [height, width] = whole.or(self.second.as_ref().map(|pass| pass.size)).unwrap_or(self.size);
        (width, height, self.parts.on.model.info().autoencoder.out_channels())
    }

    fn drawing(&self, subject: &Subject, seed: u64) -> Result<Drawing, Fault> {
        let (info, asked, text) = (self.parts.on.model.info(), self.sampling, self.text);
        let sampling = Sampling {
            steps: steps(info, asked.steps),
            sampler: asked.method.clone().unwrap_or_else(|| own_method(info, asked)),
            eta: asked.eta.unwrap_or(0.0),
            guidance_scale: guidance_scale(info, asked.cfg_scale),
            classifier: None,
        };
        let strength = strength(info, text);
        let extras = Extras {
            schedule: asked.scheduler.clone(),
            guidance_rescale: text.cfg_rescale.unwrap_or(0.0),
            cache_interval: text.cache.filter(|&n| n > 1),
            skip_layers: text.skip.as_ref().map(SkipOptions::told),
            image_guidance_scale: info
                .edits()
                .then(|| text.img_cfg_scale.unwrap_or_else(|| info.image_guidance_scale())),
            init_image: text.init_img.as_deref().map(|path| (file::name(path), strength)),
            mask: text.mask.as_deref().map(file::name),
            mask_crop: text.mask_crop,
            depth_image: text.depth_image.as_deref().map(file::name),
            hires: hires::told(text),
            refiner: text.refiner.as_deref().map(|p| (file::name(p), text.refiner_start.unwrap_or(refiner::START))),
            embeddings: text.embedding.iter().map(|e| file::name(&e.path)).zip(self.words.iter().cloned()).collect(),
            loras: text.lora.iter().map(|lora| (file::name(&lora.path), lora.strength)).collect(),
            clip_skip: text.clip_skip.filter(|&n| n > 0),
            rng: text.rng.map(|rng| rng.name().to_owned()),
            control_nets: text
                .controls
                .iter()
                .map(|c| (file::name(&c.network), c.strength, file::name(&c.image)))
                .collect(),
            ip_adapter: text.image_prompt.as_ref().map(|led| {
                let images = led.images.iter().map(|image| file::name(image)).collect();
                (file::name(&led.adapter), led.strength, file::name(&led.encoder), images)
            }),
            tiny_decoder: text.taesd.as_deref().map(file::name),
            latents: text.latents.as_ref().map(|file| match &file.name {
                Some(name) => format!("{}:{name}", file::name(&file.path)),
                None => file::name(&file.path),
            }),
            parts: text.parts.iter().map(|(part, path)| (part.named().into(), file::name(path))).collect(),
            dtype: text.dtype.map(|dtype| dtype.name().to_owned()),
            prediction_type: text.prediction_type.clone(),
            no_clip: false,
            vae_tiling: self.parts.tiny.is_none() && self.choice.tiling.is_some(),
        };
        let parameters = Parameters {
            prompt: subject.prompt.clone(),
            negative: text.negative_prompt.clone().unwrap_or_default(),
            sampling: Some(sampling),
            seed,
            batch: subject.batch,
            width: self.size[1],
            height: self.size[0],
            model: self.name(),
            scale: None,
            extras,
        };
        let words: Vec<String> = subject.prompts().into_iter().filter(|_| subject.listed).map(str::to_owned).collect();
        Ok(Drawing { labels: vec![None; words.len().max(1)], words, calls: None, parameters })
    }

    fn check_constant(&self) -> Result<(), Error> {
        self.parts.on.model.check_constant(&options(self.machine))
    }

    fn draw(&self, drawing: &Drawing, done: Done<'_>) -> Result<(), Fault> {
        let (total, verbose) = (drawing.pictures(), self.machine.verbose);
        // The init image is the same for all, and so is what is not to be shown; each prompt is read by itself, as it would be
        // alone, before the U-Net comes.
        let reading = Instant::now();
        let model = &self.parts.on.model;
        let texts = model.used(false, None).into_iter().filter(|part| matches!(part, ModelPart::Text(_)));
        let texts: Vec<ModelPart> = texts.filter(|_| drawing.words.len() > 1 && !self.choice.staged).collect();
        let reader = model.hold(&texts).map_err(failed)?;
        let read = |prompt: &str| reader.encode_prompts(&self.request(prompt, 0, 0)).map_err(asked);
        let prompts = match &drawing.words[..] {
            [] => vec![read(&drawing.parameters.prompt)?],
            words => words.iter().map(|word| read(word)).collect::<Result<_, _>>()?,
        };
        drop(reader);
        let init = model.encode_init(&self.request("", 0, 0)).map_err(asked)?;
        if verbose {
            tell(&[format!("loaded in {}, prompt read in {}", ms(self.loaded), ms(reading.elapsed()))]);
        }
        let request = |index: usize| LatentRequest {
            encoded_prompts: Some(&prompts[index / drawing.parameters.batch]),
            encoded_init: init.as_ref(),
            ..self.request("", index, drawing.seed(index))
        };
        let after = self.second.as_ref().map(|pass| &pass.calls).or(self.refiner.as_ref().map(|model| &model.calls));
        let mut progress = Progress::new(total * (self.calls.steps() + after.map_or(0, Calls::steps)));
        let mut timed = |progress: &mut Progress, index: usize, decode: &mut dyn FnMut() -> Result<Vec<u8>, Error>| {
            let (step, decoding) = (progress.step_time(), Instant::now());
            let bytes = decode().map_err(|e| self.lost(drawing, e))?;
            if verbose && index == 0 {
                progress.clear();
                tell(&[
                    format!("{} a step, decoded in {}", ms(step), ms(decoding.elapsed())),
                    format!("first picture after {}", ms(self.started.elapsed())),
                ]);
            }
            match &self.inputs.crop {
                Some(crop) => done(index, &crop.paste(&bytes)?),
                None => done(index, &bytes),
            }
        };
        let (mut saved, saves) = (Saved::default(), self.text.save_latents.as_deref());
        if let Some(pass) = &self.second {
            let network = [ModelPart::UNet];
            let held = model.hold(if self.choice.staged { &[] } else { &network }).map_err(failed)?;
            for index in 0..total {
                let mut run = held.run(&request(index)).map_err(asked)?;
                self.steps(drawing, &mut run, &mut progress, &mut saved)?;
                let mut run = self.again(&held, &mut run, request(index), pass)?;
                self.steps(drawing, &mut run, &mut progress, &mut saved)?;
                timed(&mut progress, index, &mut || run.to_u8())?;
            }
            return Ok(());
        }
        if let Some(refiner) = &self.refiner {
            let drawn = self.refined(refiner, drawing, (&prompts, init.as_ref()), &mut progress)?;
            return self.decoded(&drawn, |index, decode| timed(&mut progress, index, decode));
        }
        // One at a time: a picture of usual size keeps all cores busy, and two need twice the memory.
        if total == 1 {
            let request = request(0);
            let mut run = model.run(&request).map_err(asked)?;
            self.steps(drawing, &mut run, &mut progress, &mut saved)?;
            timed(&mut progress, 0, &mut || run.to_u8())?;
            return saved.write(saves, total);
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
                self.steps(drawing, &mut run, &mut progress, &mut saved)?;
                drawn.push(run.sample().map_err(|e| self.lost(drawing, e))?.to_vec());
            }
            drop(session);
            self.decoded(&drawn, |index, decode| timed(&mut progress, index, decode))?;
            return saved.write(saves, total);
        }
        let mut session = held.session();
        for index in 0..total {
            let request = request(index);
            let mut run = session.run(&request).map_err(asked)?;
            self.steps(drawing, &mut run, &mut progress, &mut saved)?;
            timed(&mut progress, index, &mut || run.to_u8())?;
        }
        saved.write(saves, total)
    }

    fn describe(&self) {
        let info = self.parts.on.model.info();
        let family = format!(", {}", info.family);
        artist::describe(&self.name(), &self.source, &info.license, self.size(), &family, self.weights);
        self.parts.on.describe(self.machine.threads);
    }
}

fn options(machine: &MachineOptions) -> SessionOptions {
    SessionOptions { threads: machine.threads, ..SessionOptions::default() }
}

/// The first noise and the last latents of all pictures, for `--save-latents`.
#[derive(Default)]
struct Saved {
    shape: [usize; 3],
    noise: Vec<f32>,
    latents: Vec<f32>,
}

impl Saved {
    fn write(&self, path: Option<&Path>, pictures: usize) -> Result<(), Fault> {
        let [h, w, channels] = self.shape;
        path.map_or(Ok(()), |path| latents::write(path, [pictures, channels, h, w], &self.noise, &self.latents))
    }
}

/// As [`failed`], with the option that a number out of its range comes from.
fn asked(e: Error) -> Fault {
    let Error::Request(RequestError::Range { what, .. }) = &e else { return failed(e) };
    let option = match *what {
        "height" => "-H: ",
        "width" => "-W: ",
        "guidance_scale" => "--cfg-scale: ",
        "clip_skip" => "--clip-skip: ",
        "strength of a ControlNet" | "strength of a T2I-Adapter" => "--control-strength: ",
        "strength of an IP-Adapter" => "--ip-adapter-strength: ",
        _ => "",
    };
    Fault::Usage(format!("{option}{e}"))
}
