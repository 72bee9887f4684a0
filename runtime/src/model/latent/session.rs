//! Runs of prompts: what they are given, and the memory that they use.

use super::TextToImage;
use super::encoded::EncodedPrompts;
use super::info::LatentInfo;
use super::init::{Start, each};
use super::request::{LatentControl, LatentRequest};
use super::stages::{ModelPart, Stage};
use crate::Error;
use crate::model::engine::{
    Beside, Controlled, Controls, Engine, Graphs, Inputs, Kept, Kind, RunSettings, Sizes, Skip, Time,
};
use crate::model::ip_adapter::Given;
use crate::model::machine::{Machine, Output};
use crate::model::noise::Noise;
use crate::model::options::{MAX_BATCH, check, in_range};
use crate::model::run::Run;
use crate::model::wait::wait;
use crate::model::{ControlNetwork, RequestError, SessionOptions};
use crate::nn::{Denoiser, Flux2, SdCache, SdRequest, SdUnet, T2iAdapter, timestep::write_guidance_code};
use crate::sampler::steps;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// Plans and memory for runs of prompts, one after the other: what a run made stays for the next of the same size, number of
/// pictures, length of prompts and options, which on the CPU then allocates nothing (with [`LatentRequest::encoded_prompts`]
/// given, and decoded whole). Other runs plan anew. It holds on to its model, and can be sent to another thread.
pub struct LatentSession {
    model: TextToImage,
    made: Option<(Shape, Box<Machine>)>,
}

/// What plans and memory are made for.
#[derive(Clone, PartialEq, Debug)]
struct Shape {
    n: usize,
    /// Height and width of the pictures.
    size: [usize; 2],
    guided: bool,
    unet: SdRequest,
    /// Sizes of the latents of pictures that are looked at.
    references: Vec<[usize; 2]>,
    /// Whether the U-Net sees a picture beside the latents, and whether something is put back after every step.
    beside: bool,
    restores: bool,
    /// Whether a guided answer is rescaled.
    rescales: bool,
    /// Blocks that skip-layer guidance leaves out.
    skipped: Vec<usize>,
    options: SessionOptions,
}

impl TextToImage {
    /// Makes a session for many runs. Nothing is loaded or planned before the first run.
    pub fn session(&self) -> LatentSession {
        LatentSession { model: self.clone(), made: None }
    }

    /// Begins a run: encodes the prompts and the init images, plans the U-Net, draws the noise. The U-Net's
    /// memory is given back when the last step is made, the decoder's when the pictures are. The run borrows nothing of the
    /// request.
    ///
    /// # Errors
    /// A request that the model cannot serve, or more memory than the options allow.
    pub fn run(&self, request: &LatentRequest<'_>) -> Result<Run<'static>, Error> {
        wait(self.run_async(request))
    }

    /// [`Self::run`], awaited.
    ///
    /// # Errors
    /// As [`Self::run`] has.
    pub async fn run_async(&self, request: &LatentRequest<'_>) -> Result<Run<'static>, Error> {
        let mut session = self.session();
        let settings = session.begin(request).await?;
        let Some((_, machine)) = session.made else { unreachable!("a run that began has its machine") };
        Ok(Run::alone(machine, settings))
    }
}

impl LatentSession {
    /// The model.
    pub fn model(&self) -> &TextToImage {
        &self.model
    }

    /// Bytes of memory that the session takes, on the machine and on the device, weights not counted.
    pub fn bytes(&self) -> usize {
        self.made.as_ref().map_or(0, |(_, machine)| machine.bytes())
    }

    /// Begins a run, as [`TextToImage::run`] does, with what the session has. A run may be dropped at any step; the
    /// session can then run again.
    ///
    /// # Errors
    /// As [`TextToImage::run`].
    pub fn run<'a>(&'a mut self, request: &LatentRequest<'a>) -> Result<Run<'a>, Error> {
        wait(self.run_async(request))
    }

    /// [`Self::run`], awaited.
    ///
    /// # Errors
    /// As [`Self::run`] has.
    pub async fn run_async<'a>(&'a mut self, request: &LatentRequest<'a>) -> Result<Run<'a>, Error> {
        let settings = self.begin(request).await?;
        let Some((_, machine)) = &mut self.made else { unreachable!("a run that began has its machine") };
        Ok(Run::of_session(machine, settings))
    }

    async fn begin<'a>(&mut self, request: &LatentRequest<'a>) -> Result<RunSettings<'a>, Error> {
        let Self { model, made } = self;
        let (n, info) = (request.seeds.len(), model.info());
        in_range("number of pictures", n, 1, MAX_BATCH)?;
        check(request.guidance_scale.is_finite(), "guidance_scale", request.guidance_scale, "a finite number")?;
        let image_guidance_scale = request.image_guidance_scale.unwrap_or_else(|| info.image_guidance_scale());
        let keeps = image_guidance_scale >= 1.0 && image_guidance_scale.is_finite();
        check(keeps, "image_guidance_scale", image_guidance_scale, "at least 1")?;
        if request.image_guidance_scale.is_some() && !info.edits() {
            let of = "models that change pictures by instruction";
            return Err(RequestError::NotOf { what: "image_guidance_scale", of }.into());
        }
        info.latent_size(request.size)?;
        info.check_calls(request.calls, request.size)?;
        let read;
        let conditions = match request.encoded_prompts {
            Some(conditions) => conditions,
            None => {
                read = model.encode_prompts_async(request).await?;
                &read
            }
        };
        let EncodedPrompts { pictures, guided, tokens, .. } = *conditions;
        if pictures != n {
            return Err(RequestError::Lengths { labels: pictures, seeds: n }.into());
        }
        let read_for = if guided { "above 1" } else { "at most 1" };
        if guided != info.is_guided(request.guidance_scale) {
            let expected = format!("{read_for}, for which the prompts were read");
            check(false, "guidance_scale", request.guidance_scale, expected)?;
        }
        let mut unet = info.sd_request(n, guided, request.size, tokens)?;
        request.controls.iter().for_each(|control| control.network.info().network.ask(&mut unet));
        if let Some(prompt) = &request.image_prompt {
            unet.image = prompt.tokens(info)?;
        }
        let looked_at;
        let references = match request.encoded_references {
            Some(references) => references,
            None => {
                looked_at = model.encode_references_async(request).await?;
                &looked_at
            }
        };
        unet.image += references.tokens();
        info.check_cache(request.cache_interval)?;
        if request.cache_interval > 1 {
            if unet.control {
                return Err(RequestError::NotOf { what: "cache_interval", of: "runs without ControlNets" }.into());
            }
            unet.cache = SdCache::Write;
        }
        request.skip_layers.iter().try_for_each(|skip| skip.check(info, guided))?;
        let each = unet.height * unet.width * info.autoencoder.latent_channels();
        if let Some(latents) = request.latents {
            in_range("values of the latents", latents.len(), n * each, n * each)?;
        }
        // Before the U-Net is loaded.
        let encoded = model.init_of(request).await?;
        let mut given = features(info, request, &unet).await?;
        if let Some(prompt) = &request.image_prompt {
            given.extend(prompt.given([n, unet.batch], &request.options).await?);
        }
        given.extend(references.given());
        let shape = Shape {
            n,
            size: request.size,
            guided,
            unet,
            references: references.sizes.clone(),
            beside: encoded.as_ref().is_some_and(|encoded| encoded.is_beside()),
            restores: encoded.as_ref().is_some_and(|encoded| encoded.is_kept()),
            rescales: guided && rescale(request)? != 0.0,
            skipped: request.skip_layers.map_or_else(Vec::new, |skip| skip.layers.to_vec()),
            options: request.options,
        };
        // ControlNets have plans of their own, which are not kept.
        if made.as_ref().is_none_or(|(made, _)| *made != shape) || unet.control {
            // What was there goes first.
            *made = None;
            let machine = machine(model, request, &shape)?;
            *made = Some((shape, Box::new(machine)));
        }
        let Some((_, machine)) = made else { unreachable!("it was made above") };
        let Output::Latents(decoder) = &mut machine.output else { unreachable!("latents are what it makes") };
        decoder.decode_by(request.decoding);

        fill(machine, (conditions, &given), request, (info, &unet, &references.sizes))?;
        let Machine { engine, inputs, noise, first, drawn, .. } = &mut **machine;
        noise.seed(request.noise, &request.seeds);
        *drawn = request.latents.is_none();
        match request.latents {
            Some(latents) => first.copy_from_slice(latents),
            None => noise.draw(0, each, first),
        }
        let sigma = request.calls.init_noise_sigma();
        let continued = encoded.as_ref().and_then(|encoded| encoded.continued);
        if let Some(continued) = continued {
            noise.skip(continued.draws, each, &mut first.clone());
        }
        match encoded {
            None => engine.start(inputs, |x| x.iter_mut().zip(&*first).for_each(|(x, noise)| *x = noise * sigma))?,
            Some(encoded) => {
                let Start { x, beside, kept } = model.start(request, &encoded, first)?;
                (inputs.beside, inputs.kept) = (beside, kept);
                engine.start(inputs, |first| first.copy_from_slice(&x))?;
            }
        }
        Ok(RunSettings {
            n,
            kind: if guided { Kind::Guided } else { Kind::Plain },
            guidance_scale: request.guidance_scale,
            image_guidance_scale,
            guidance_rescale: rescale(request)?,
            guidance_truncation: request.guidance_truncation.unwrap_or(f32::INFINITY),
            cache_interval: request.cache_interval,
            skip: request.skip_layers.map(|skip| {
                let steps = steps(request.calls.calls());
                Skip { scale: skip.scale, steps: skip.steps(steps) }
            }),
            calls: request.calls.calls().into(),
            first_timestep: 0,
            first_draw: continued.map_or(0, |continued| continued.calls),
        })
    }
}

/// Plans and memory for runs of that shape.
fn machine(model: &TextToImage, request: &LatentRequest<'_>, shape: &Shape) -> Result<Machine, Error> {
    let (info, options) = (model.info(), &shape.options);
    let SdRequest { batch: texts, height: h, width: w, tokens, .. } = shape.unet;
    let channels = info.autoencoder.latent_channels();
    let controls = controls(info, &request.controls, shape)?;
    let network = model.parts.get(info, ModelPart::UNet)?;
    let graph = |cache| -> Result<_, Error> {
        let request = SdRequest { cache, ..shape.unet };
        Ok(Stage::denoiser(info, &request)?.graphs.pop().map(|(graph, _)| graph))
    };
    let other = match &shape.skipped[..] {
        [] if shape.unet.cache == SdCache::Write => graph(SdCache::Read)?,
        [] => None,
        skipped => Stage::skipping(info, &shape.unet, skipped)?.graphs.pop().map(|(graph, _)| graph),
    };
    // Skip-layer guidance tells the network a third time of the prompts.
    let texts = if shape.skipped.is_empty() { texts } else { texts / 2 * 3 };
    let graph = graph(shape.unet.cache)?;
    let (plain, guided) = if shape.guided { (None, graph) } else { (graph, None) };
    let graphs = Graphs { plain, guided, other, x: Denoiser::LATENTS, t: Denoiser::TIME, out: Denoiser::OUTPUT };
    let each = h * w * channels;
    let denoiser = &info.denoiser;
    let told = [
        (Denoiser::TEXT, tokens * denoiser.text_width()),
        (Denoiser::ADDED, denoiser.added_width()),
        (Denoiser::GUIDANCE, denoiser.guidance_code()),
    ];
    let told = told.into_iter().filter(|(_, each)| *each > 0);
    let mut constants: Vec<_> = told.map(|(name, each)| (name.into(), vec![0.0; texts * each])).collect();
    // Until texts are there.
    let (asked, lengths) = (SdRequest { batch: texts, ..shape.unet }, vec![tokens; texts]);
    let angles = denoiser.angles(&asked, &lengths, &shape.references)?;
    if !angles.is_empty() {
        constants.push((Denoiser::ANGLES.into(), angles));
    }
    for graph in graphs.plain.iter().chain(&graphs.guided) {
        let lead =
            |name: &str| SdUnet::ADAPTER.contains(&name) || SdUnet::is_of_image(name) || name == Flux2::REFERENCES;
        for port in graph.inputs().iter().filter(|port| lead(&port.name)) {
            constants.push((port.name.clone().into(), vec![0.0; graph.shape(port.value).elements()]));
        }
    }
    // As long as those of the runs will be.
    let values = |n: usize, on: bool| vec![0.0; if on { n } else { 0 }];
    let (elements, pixels) = (shape.n * each, shape.n * h * w);
    let kept = || Kept { latents: values(elements, true), noise: values(elements, true), mask: values(pixels, true) };
    // A picture that is changed is seen by some texts alone.
    let seen = if info.edits() { texts / shape.n } else { 1 };
    let in_channels = if shape.beside { denoiser.channels()[0] } else { channels };
    let inputs = Inputs {
        time: Time::Code(denoiser.clone()),
        ids: denoiser.ids(&asked, &lengths)?,
        constants,
        channels: [channels, in_channels],
        beside: values(seen * pixels * (in_channels - channels), shape.beside),
        kept: shape.restores.then(kept),
    };
    let noise = Noise::of_latents(each, channels);
    let own = (inputs.bytes() + noise.bytes() + 4 * elements) as u64;
    let sizes = Sizes {
        batch: shape.n,
        each,
        #[cfg(feature = "gpu")]
        range: None,
        #[cfg(feature = "gpu")]
        rescales: shape.rescales,
        threads: options.threads,
        allowed: options.memory_limit.unwrap_or(u64::MAX),
        reserved: own,
        #[cfg(feature = "gpu")]
        device: options.device,
    };
    let engine = Engine::new(&network.placed, &graphs, &inputs, &sizes, None)?;
    let decoder = model.decoder([h, w], request.decoding, options);
    let mut machine = Machine::new(
        engine,
        inputs,
        noise,
        Beside { controls, guide: None },
        Output::Latents(decoder.into()),
        [h, w, channels],
    );
    machine.first = vec![0.0; elements];
    machine.retires = !model.parts.holds(ModelPart::UNet);
    Ok(machine)
}

/// ControlNets, ready for runs of that shape.
fn controls(info: &LatentInfo, controls: &[LatentControl<'_>], shape: &Shape) -> Result<Controls, Error> {
    let (mut all, mut residuals) = (Vec::new(), Vec::new());
    let nets =
        controls.iter().filter(|control| matches!(control.network.info().network, ControlNetwork::ControlNet(_)));
    for control @ &LatentControl { network, strength, .. } in nets {
        let picture = shown(info, control, shape.size)?.repeat(shape.unet.batch);
        let evaluator = network.evaluator(&shape.unet, &shape.options)?;
        all.push(Controlled { evaluator, picture, strength });
        residuals = network.residuals();
    }
    Ok(Controls::new(all, residuals))
}

/// What a ControlNet or a T2I-Adapter is shown, if it fits to the model.
fn shown(info: &LatentInfo, control: &LatentControl<'_>, size: [usize; 2]) -> Result<Vec<f32>, Error> {
    let LatentControl { network, picture, strength } = *control;
    let of = match &network.info().network {
        ControlNetwork::ControlNet(_) => "strength of a ControlNet",
        ControlNetwork::T2iAdapter(_) => "strength of a T2I-Adapter",
    };
    check(strength.is_finite(), of, strength, "a finite number")?;
    network.check(info)?;
    network.info().check_size(size)?;
    let one = size[0] * size[1] * network.info().network.picture_channels();
    each(picture, 1, one, "values of the picture that controls")
}

/// What T2I-Adapters make of their pictures, times their strengths, added up, by the names of the U-Net's inputs: for one text.
async fn features(info: &LatentInfo, request: &LatentRequest<'_>, unet: &SdRequest) -> Result<Vec<Given>, Error> {
    if unet.adapter == 0 {
        return Ok(Vec::new());
    }
    let mut sums: Vec<Given> = SdUnet::ADAPTER.map(|name| (name.into(), Vec::new())).into();
    sums.truncate(unet.adapter);
    for control @ &LatentControl { network, strength, .. } in &request.controls {
        let ControlNetwork::T2iAdapter(adapter) = &network.info().network else { continue };
        let picture = adapter.unshuffled(&shown(info, control, request.size)?, request.size[1]);
        let mut evaluator = network.evaluator(unet, &request.options)?;
        evaluator.evaluate_async(0, &[(T2iAdapter::PICTURE, &picture)], &[]).await?;
        for (name, sum) in sums.iter_mut().take(adapter.features().len()) {
            let feature = evaluator.output(name)?;
            sum.resize(feature.len(), 0.0);
            sum.iter_mut().zip(feature).for_each(|(sum, x)| *sum += strength * x);
        }
    }
    Ok(sums)
}

/// What is done to a guided answer, as [`RunSettings::guidance_rescale`] has it.
fn rescale(request: &LatentRequest<'_>) -> Result<f32, RequestError> {
    let &LatentRequest { guidance_rescale, guidance_normalization, guidance_truncation, .. } = request;
    if let Some(share) = guidance_truncation {
        check((0.0..=1.0).contains(&share), "guidance_truncation", share, "0 to 1")?;
    }
    let Some(limit) = guidance_normalization else { return Ok(guidance_rescale) };
    check(limit > 0.0 && limit.is_finite(), "guidance_normalization", limit, "more than 0")?;
    check(guidance_rescale == 0.0, "guidance_rescale", guidance_rescale, "0 beside guidance_normalization")?;
    Ok(-limit)
}

/// What is told of the prompts, then of the negatives; with skip-layer guidance then of the prompts once more.
fn told<'a>(values: &'a [f32], request: &LatentRequest<'_>) -> Cow<'a, [f32]> {
    match request.skip_layers {
        None => Cow::Borrowed(values),
        Some(_) => Cow::Owned([values, &values[..values.len() / 2]].concat()),
    }
}

/// Puts the conditions, and what adapters made, for one text or for all, into the denoiser's inputs.
fn fill(
    machine: &mut Machine,
    (conditions, given): (&EncodedPrompts, &[Given]),
    request: &LatentRequest<'_>,
    (info, unet, references): (&LatentInfo, &SdRequest, &[[usize; 2]]),
) -> Result<(), Error> {
    if info.denoiser.text_multiple().is_some() {
        machine.inputs.ids = info.denoiser.ids(unet, &conditions.lengths)?;
    }
    for (name, values) in &mut machine.inputs.constants {
        if let Some((_, given)) = given.iter().find(|(of, _)| of == name) {
            values.chunks_exact_mut(given.len().max(1)).for_each(|values| values.copy_from_slice(given));
            continue;
        }
        match &**name {
            Denoiser::ADDED => {
                info.write_added(&told(&conditions.pooled, request), request.size, conditions.guided, values)?
            }
            Denoiser::ANGLES => values.copy_from_slice(&info.denoiser.angles(unet, &conditions.lengths, references)?),
            Denoiser::GUIDANCE => {
                for row in values.chunks_exact_mut(info.denoiser.guidance_code().max(1)) {
                    write_guidance_code(f64::from(request.guidance_scale), row);
                }
            }
            _ => {
                let states = told(&conditions.states, request);
                in_range("values of the prompts' states", states.len(), values.len(), values.len())?;
                values.copy_from_slice(&states);
            }
        }
    }
    Ok(())
}
