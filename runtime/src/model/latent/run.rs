//! A run: prompts encoded, then the U-Net's steps, then the decoder; each stage's memory is taken when it begins and given
//! back when it ends.

use super::conditions::{Conditions, Text};
use super::{LatentDiffusion, channels_last};
use crate::Error;
use crate::guidance::{classifier_free, rescale};
use crate::model::network::Evaluator;
use crate::model::run::StepInfo;
use crate::model::session::{MAX_BATCH, check, in_range};
use crate::model::{RequestError, SessionOptions};
use crate::nn::{AutoencoderKl, SdRequest, SdUnet};
use crate::rng::normal_fill;
use crate::sampler::{Call, Calls, SamplerState};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// What to draw.
#[derive(Clone, Debug)]
pub struct LatentRequest<'a> {
    /// One a picture.
    pub prompts: Vec<&'a str>,
    /// What the picture shall not show, one a picture; `None` is nothing said.
    pub negatives: Vec<Option<&'a str>>,
    /// One a picture. A picture depends on its own seed and prompt alone, never on its neighbours.
    pub seeds: Vec<u64>,
    /// Height and width of the pictures, multiples of [`LatentDiffusion::factor`] (and of what the U-Net halves).
    pub size: [usize; 2],
    /// How to get there, from [`LatentDiffusion::calls`].
    pub calls: &'a Calls,
    /// Strength of classifier-free guidance (Ho and Salimans 2022): 1 is none.
    pub guidance_scale: f32,
    /// How far a guided answer's spread is brought back to the conditional one's (Lin et al. 2023): 0 is not at all.
    pub guidance_rescale: f32,
    /// The initial noise, standard normal, `(n, h, w, latent_channels)`; drawn by the seeds if none is given.
    pub latents: Option<&'a [f32]>,
    /// Threads, limits and devices; [`SessionOptions::batch`] says nothing here.
    pub options: SessionOptions,
}

impl<'a> LatentRequest<'a> {
    /// One picture, guidance 7.5.
    pub fn new(prompt: &'a str, seed: u64, size: [usize; 2], calls: &'a Calls) -> Self {
        Self {
            prompts: vec![prompt],
            negatives: vec![None],
            seeds: vec![seed],
            size,
            calls,
            guidance_scale: 7.5,
            guidance_rescale: 0.0,
            latents: None,
            options: SessionOptions::default(),
        }
    }
}

/// Pictures in the making.
pub struct LatentRun<'a> {
    model: LatentDiffusion,
    calls: &'a [Call],
    next: usize,
    scale: f32,
    rescale: f32,
    /// Pictures, and the height and width of their latents.
    n: usize,
    size: [usize; 2],
    seeds: Vec<u64>,
    conditions: Conditions,
    added: Vec<f32>,
    /// Gone when the last step is made.
    unet: Option<Evaluator>,
    state: SamplerState,
    x: Vec<f32>,
    input: Vec<f32>,
    options: SessionOptions,
}

impl LatentDiffusion {
    /// Begins a run: encodes the prompts, plans the U-Net, draws the noise.
    ///
    /// # Errors
    /// A request that the model cannot serve, or more memory than the options allow.
    pub fn run<'a>(&self, request: &LatentRequest<'a>) -> Result<LatentRun<'a>, Error> {
        let (n, info) = (request.prompts.len(), self.info());
        for found in [request.negatives.len(), request.seeds.len()] {
            if found != n {
                return Err(RequestError::Lengths { labels: n, seeds: found }.into());
            }
        }
        in_range("number of pictures", n, 1, MAX_BATCH)?;
        check(request.guidance_scale.is_finite(), "guidance_scale", request.guidance_scale, "a finite number")?;
        let multiple = self.factor() << (info.unet.levels.len() - 1).min(16);
        let [height, width] = request.size;
        for (what, side) in [("height", height), ("width", width)] {
            check(side > 0 && side % multiple == 0, what, side, format!("a multiple of {multiple}"))?;
        }
        check(
            info.unet.in_channels == info.autoencoder.latent_channels && info.unet.guidance_code == 0,
            "kind of U-Net",
            format!("{} with {} channels", self.name(), info.unet.in_channels),
            "one that is told noisy latents, the time and the text alone: neither inpainting nor a consistency model",
        )?;
        let guided = request.guidance_scale != 1.0;
        let negative = |text: &Option<&'a str>| match text {
            Some(text) => Text::Prompt(text),
            None if info.zeros_for_empty => Text::Nothing,
            None => Text::Prompt(""),
        };
        let mut texts: Vec<Text<'_>> = request.prompts.iter().map(|prompt| Text::Prompt(prompt)).collect();
        if guided {
            texts.extend(request.negatives.iter().map(negative));
        }
        let conditions = self.conditions(&texts, &request.options)?;
        let added = added(&info.unet, &conditions.pooled, texts.len(), request.size)?;

        let size @ [h, w] = [height / self.factor(), width / self.factor()];
        let graph = SdRequest { batch: texts.len(), height: h, width: w, tokens: conditions.tokens, control: false };
        let unet = self.unet.evaluator(vec![info.unet.graph("unet.", &graph)?], &request.options)?;
        let channels = info.autoencoder.latent_channels;
        let each = h * w * channels;
        let mut x = match request.latents {
            Some(latents) => {
                in_range("values of the latents", latents.len(), n * each, n * each)?;
                latents.to_vec()
            }
            None => request.seeds.iter().flat_map(|&seed| noise(seed, 0, channels, h * w)).collect(),
        };
        let begin = request.calls.init_noise_sigma();
        x.iter_mut().for_each(|v| *v *= begin);
        let calls = request.calls.calls();
        Ok(LatentRun {
            model: self.clone(),
            calls,
            next: 0,
            scale: request.guidance_scale,
            rescale: request.guidance_rescale,
            n,
            size,
            seeds: request.seeds.clone(),
            conditions,
            added,
            unet: Some(unet),
            state: SamplerState::new(calls, x.len()),
            input: vec![0.0; texts.len() * each],
            x,
            options: request.options,
        })
    }
}

/// SDXL's second condition, a row a text: pooled state, original size, crop, target size.
fn added(unet: &SdUnet, pooled: &[f32], texts: usize, [height, width]: [usize; 2]) -> Result<Vec<f32>, Error> {
    let Some(added) = unet.added else { return Ok(Vec::new()) };
    let sizes = [height, width, 0, 0, height, width].map(|side| side as f64);
    let mut rows = vec![0.0; texts * added.width];
    let pooled = pooled.chunks_exact((pooled.len() / texts.max(1)).max(1));
    for (row, pooled) in rows.chunks_exact_mut(added.width.max(1)).zip(pooled) {
        unet.write_added(pooled, &sizes, row)?;
    }
    Ok(rows)
}

/// Draw `draw` of a picture's noise. Drawn plane by plane, as torch lays latents out.
fn noise(seed: u64, draw: u32, channels: usize, pixels: usize) -> Vec<f32> {
    let mut planes = vec![0.0; channels * pixels];
    normal_fill(seed, draw, &mut planes);
    channels_last(&planes, channels, pixels)
}

impl LatentRun<'_> {
    /// Makes the next step (some samplers ask the network more than once for one); `None` when all are made.
    ///
    /// # Errors
    /// A NaN or an infinity, with the operation that made it, or what a device has to say. The run is then lost.
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        let Some(first) = self.calls.get(self.next) else {
            self.unet = None;
            return Ok(None);
        };
        let (from, to) = (self.calls[0].step, self.calls.last().map_or(0, |call| call.step));
        let info = StepInfo { index: first.step - from, total: to - from + 1, timestep: first.t as u32 };
        while let Some(call) = self.calls.get(self.next).filter(|call| call.step == first.step) {
            self.call(call)?;
            self.next += 1;
        }
        if self.next == self.calls.len() {
            // The decoder needs the room.
            self.unet = None;
        }
        Ok(Some(info))
    }

    fn call(&mut self, call: &Call) -> Result<(), Error> {
        let Self { model, unet: Some(unet), x, input, .. } = self else { return Ok(()) };
        let network = &model.info.unet;
        for half in input.chunks_exact_mut(x.len()) {
            SamplerState::scale_input(call, x, half)?;
        }
        let texts = input.len() / (x.len() / self.n);
        let mut time = vec![0.0; texts * network.time_width()];
        network.write_time(f64::from(call.t), &mut time);
        let mut inputs: Vec<(&str, &[f32])> = vec![
            (SdUnet::LATENTS, input.as_slice()),
            (SdUnet::TIME, time.as_slice()),
            (SdUnet::TEXT, self.conditions.states.as_slice()),
        ];
        if !self.added.is_empty() {
            inputs.push((SdUnet::ADDED, self.added.as_slice()));
        }
        unet.evaluate(0, &inputs, &[])?;
        let (answer, unconditional) = unet.output(SdUnet::OUTPUT)?.split_at(x.len());
        let mut out = answer.to_vec();
        if !unconditional.is_empty() {
            out.copy_from_slice(unconditional);
            classifier_free(self.scale, answer, &mut out)?;
            if self.rescale != 0.0 {
                let each = x.len() / self.n;
                for (answer, out) in answer.chunks_exact(each).zip(out.chunks_exact_mut(each)) {
                    rescale(self.rescale, answer, out)?;
                }
            }
        }
        let mut fresh = Vec::new();
        if call.noise != 0.0 {
            let (channels, [h, w]) = (model.info.autoencoder.latent_channels, self.size);
            // Draw 0 is the initial noise.
            let draw = self.next as u32 + 1;
            fresh.extend(self.seeds.iter().flat_map(|&seed| noise(seed, draw, channels, h * w)));
        }
        Ok(self.state.accept(call, x, &out, &fresh)?)
    }

    /// The latents as they are, `(n, h, w, latent_channels)`.
    pub fn latents(&self) -> &[f32] {
        &self.x
    }

    /// How many pictures this run makes.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Never: a run has at least one picture.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Height, width and channels of a picture.
    pub fn picture(&self) -> [usize; 3] {
        let factor = self.model.factor();
        [self.size[0] * factor, self.size[1] * factor, self.model.info.autoencoder.out_channels]
    }

    /// Decodes the latents: pictures in [0, 1], `(n, h, w, c)`, one at a time.
    ///
    /// # Errors
    /// More memory than the options allow; a NaN or an infinity; what a device has to say.
    pub fn pictures(&mut self) -> Result<Vec<f32>, Error> {
        let info = self.model.info();
        let graph = info.autoencoder.decoder("vae.", 1, self.size)?;
        let mut decoder = self.model.decoder.evaluator(vec![graph], &self.options)?;
        let mut pictures = Vec::new();
        for latents in self.x.chunks_exact(self.x.len() / self.n) {
            let z: Vec<f32> = latents.iter().map(|v| v / info.scaling_factor + info.shift_factor).collect();
            decoder.evaluate(0, &[(AutoencoderKl::LATENTS, z.as_slice())], &[])?;
            let decoded = decoder.output(AutoencoderKl::PICTURE)?;
            pictures.extend(decoded.iter().map(|v| (v / 2.0 + 0.5).clamp(0.0, 1.0)));
        }
        Ok(pictures)
    }

    /// [`Self::pictures`] as bytes.
    ///
    /// # Errors
    /// As [`Self::pictures`].
    pub fn to_u8(&mut self) -> Result<Vec<u8>, Error> {
        let pictures = self.pictures()?;
        let mut bytes = vec![0; pictures.len()];
        crate::cpu::to_u8([0.0, 1.0], &pictures, &mut bytes)?;
        Ok(bytes)
    }
}
