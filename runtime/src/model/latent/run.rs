//! A run: prompts encoded, then the U-Net's steps, then the decoder; each stage's memory is taken when it begins and given
//! back when it ends.

use super::LatentDiffusion;
use super::conditions::LatentConditions;
use super::controls::Controls;
use super::noise::Generator;
use super::parts::ModelPart;
use super::request::{Decoding, LatentRequest};
use super::start::{Kept, Start};
use crate::Error;
use crate::guidance::{classifier_free, rescale};
use crate::model::network::Evaluator;
use crate::model::run::StepInfo;
use crate::model::session::{MAX_BATCH, check, in_range};
use crate::model::wait::wait;
use crate::model::{RequestError, SessionOptions};
use crate::nn::{SdRequest, SdUnet, timestep::write_guidance_code};
use crate::sampler::{Call, SamplerState, steps};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

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
    generators: Vec<Generator>,
    /// The U-Net's texts' states, `added` SDXL's second condition, `guidance` the code of a distilled guidance scale: one
    /// a text.
    states: Vec<f32>,
    added: Vec<f32>,
    guidance: Vec<f32>,
    controls: Controls,
    /// Gone when the last step is made.
    unet: Option<Evaluator>,
    state: SamplerState,
    /// The noise that the run began with.
    noise: Vec<f32>,
    x: Vec<f32>,
    beside: Vec<f32>,
    kept: Option<Kept>,
    buffers: Buffers,
    decoding: Decoding<'a>,
    options: SessionOptions,
}

/// What every call writes anew.
struct Buffers {
    /// The U-Net's latents and times, one a text.
    input: Vec<f32>,
    time: Vec<f32>,
    /// The U-Net's answer, guided.
    out: Vec<f32>,
    /// A call's noise, and one picture's, plane by plane.
    fresh: Vec<f32>,
    planes: Vec<f32>,
}

impl LatentDiffusion {
    /// Begins a run: encodes the prompts and the pictures to start from, plans the U-Net, draws the noise.
    ///
    /// # Errors
    /// A request that the model cannot serve, or more memory than the options allow.
    pub fn run<'a>(&self, request: &LatentRequest<'a>) -> Result<LatentRun<'a>, Error> {
        wait(self.run_async(request))
    }

    /// [`Self::run`], awaited.
    ///
    /// # Errors
    /// As [`Self::run`] has.
    pub async fn run_async<'a>(&self, request: &LatentRequest<'a>) -> Result<LatentRun<'a>, Error> {
        let (n, info) = (request.seeds.len(), self.info());
        in_range("number of pictures", n, 1, MAX_BATCH)?;
        check(request.guidance_scale.is_finite(), "guidance_scale", request.guidance_scale, "a finite number")?;
        let size @ [h, w] = self.latent_size(request.size)?;
        let read;
        let conditions = match request.conditions {
            Some(conditions) => conditions,
            None => {
                read = self.read_async(request).await?;
                &read
            }
        };
        let LatentConditions { pictures, guided, tokens, .. } = *conditions;
        if pictures != n {
            return Err(RequestError::Lengths { labels: pictures, seeds: n }.into());
        }
        check(
            guided == info.is_guided(request.guidance_scale),
            "guidance_scale",
            request.guidance_scale,
            if guided {
                "above 1, for which the prompts were read"
            } else {
                "at most 1, for which the prompts were read"
            },
        )?;
        let texts = conditions.texts();

        let channels = info.autoencoder.latent_channels;
        let values = n * h * w * channels;
        let mut generators: Vec<_> = request.seeds.iter().map(|&seed| request.noise.generator(seed)).collect();
        let mut planes = vec![0.0; h * w * channels];
        let noise = match request.latents {
            Some(latents) => {
                in_range("values of the latents", latents.len(), values, values)?;
                latents.to_vec()
            }
            None => {
                let mut noise = vec![0.0; values];
                draw(&mut generators, 0, channels, &mut planes, &mut noise);
                noise
            }
        };
        let Start { x, beside, kept } = self.start(request, noise.clone()).await?;

        let control = !request.controls.is_empty();
        let graph = SdRequest { batch: texts, height: h, width: w, tokens, control };
        let controls = Controls::new(info, request, &graph)?;
        let unet = self.parts.get(info, ModelPart::UNet)?;
        let unet = unet.evaluator(vec![info.unet.graph("unet.", &graph)?], &request.options)?;
        let mut guidance = vec![0.0; texts * info.unet.guidance_code];
        for row in guidance.chunks_exact_mut(info.unet.guidance_code.max(1)) {
            write_guidance_code(f64::from(request.guidance_scale), row);
        }
        let calls = request.calls.calls();
        let buffers = Buffers {
            input: vec![0.0; texts * h * w * info.unet.in_channels],
            time: vec![0.0; texts * info.unet.time_width()],
            out: vec![0.0; x.len()],
            fresh: vec![0.0; x.len()],
            planes,
        };
        Ok(LatentRun {
            model: self.clone(),
            calls,
            next: 0,
            scale: request.guidance_scale,
            rescale: request.guidance_rescale,
            n,
            size,
            generators,
            states: conditions.states.clone(),
            added: added(&info.unet, &conditions.pooled, texts, request.size)?,
            guidance,
            controls,
            unet: Some(unet),
            state: SamplerState::new(calls, x.len()),
            noise,
            x,
            beside,
            kept,
            buffers,
            decoding: request.decoding,
            options: request.options,
        })
    }

    /// Height and width of the latents of pictures of that size.
    ///
    /// # Errors
    /// Sides that the autoencoder or the U-Net cannot halve.
    pub fn latent_size(&self, [height, width]: [usize; 2]) -> Result<[usize; 2], RequestError> {
        let multiple = self.info().multiple();
        for (what, side) in [("height", height), ("width", width)] {
            check(side > 0 && side % multiple == 0, what, side, format!("a multiple of {multiple}"))?;
        }
        Ok([height / self.factor(), width / self.factor()])
    }
}

/// No input.
const NONE: (&str, &[f32]) = ("", &[]);

/// Each picture's noise, by its own generator.
fn draw(generators: &mut [Generator], draw: u32, channels: usize, planes: &mut [f32], noise: &mut [f32]) {
    for (generator, noise) in generators.iter_mut().zip(noise.chunks_exact_mut(planes.len().max(1))) {
        generator.draw(draw, channels, planes, noise);
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

impl LatentRun<'_> {
    /// Makes the next step (some samplers ask the network more than once for one); `None` when all are made.
    ///
    /// # Errors
    /// A NaN or an infinity, with the operation that made it, or what a device has to say. The run is then lost.
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        wait(self.step_async())
    }

    /// [`Self::step`], awaited.
    ///
    /// # Errors
    /// As [`Self::step`] has.
    pub async fn step_async(&mut self) -> Result<Option<StepInfo>, Error> {
        let Some(first) = self.calls.get(self.next) else {
            self.unet = None;
            return Ok(None);
        };
        let (from, total) = (self.calls[0].step, steps(self.calls));
        while let Some(call) = self.calls.get(self.next).filter(|call| call.step == first.step) {
            self.call(call).await.map_err(|e| match e {
                Error::Exec(source) => RequestError::NotFinite { step: call.step - from + 1, total, source }.into(),
                e => e,
            })?;
            self.next += 1;
        }
        if let Some(kept) = &self.kept {
            kept.restore(&mut self.x, self.calls.get(self.next));
        }
        if self.next == self.calls.len() {
            self.unet = None;
            self.controls = Controls::default();
        }
        Ok(Some(StepInfo { index: first.step - from, total, timestep: first.t }))
    }

    async fn call(&mut self, call: &Call) -> Result<(), Error> {
        let Self { model, unet, x, beside, states, added, guidance, buffers, .. } = self;
        let Buffers { input, time, out, fresh, planes } = buffers;
        let Some(unet) = unet else { return Ok(()) };
        let network = &model.info().unet;
        let (channels, in_channels) = (model.info().autoencoder.latent_channels, network.in_channels);
        let (first, rest) = input.split_at_mut(x.len() / channels * in_channels);
        // An inpainting network sees mask and picture beside each latent.
        if beside.is_empty() {
            call.scale_input(x, first)?;
        } else {
            let pixels = x.chunks_exact(channels).zip(beside.chunks_exact(in_channels - channels));
            for (input, (x, beside)) in first.chunks_exact_mut(in_channels).zip(pixels) {
                call.scale_input(x, &mut input[..channels])?;
                input[channels..].copy_from_slice(beside);
            }
        }
        rest.chunks_exact_mut(first.len().max(1)).for_each(|half| half.copy_from_slice(first));
        network.write_time(f64::from(call.t), time);
        let mut inputs = [(SdUnet::LATENTS, &input[..]), (SdUnet::TIME, time), (SdUnet::TEXT, states), NONE, NONE];
        let mut used = 3;
        for (name, values) in [(SdUnet::ADDED, &*added), (SdUnet::GUIDANCE, &*guidance)] {
            if !values.is_empty() {
                inputs[used] = (name, values);
                used += 1;
            }
        }
        let inputs = &inputs[..used];
        if self.controls.is_empty() {
            unet.evaluate_async(0, inputs, &[]).await?;
        } else {
            let residuals = self.controls.evaluate(inputs).await?;
            let residuals = residuals.iter().map(|(name, values)| (name.as_str(), values.as_slice()));
            let inputs: Vec<_> = inputs.iter().copied().chain(residuals).collect();
            unet.evaluate_async(0, &inputs, &[]).await?;
        }
        let (answer, unconditional) = unet.output(SdUnet::OUTPUT)?.split_at(x.len());
        if unconditional.is_empty() {
            out.copy_from_slice(answer);
        } else {
            out.copy_from_slice(unconditional);
            classifier_free(self.scale, answer, out)?;
            if self.rescale != 0.0 {
                let each = x.len() / self.n;
                for (answer, out) in answer.chunks_exact(each).zip(out.chunks_exact_mut(each)) {
                    rescale(self.rescale, answer, out)?;
                }
            }
        }
        if call.noise != 0.0 {
            // Draw 0 is the initial noise.
            draw(&mut self.generators, self.next as u32 + 1, channels, planes, fresh);
        }
        Ok(self.state.accept(call, x, out, fresh)?)
    }

    /// The latents as they are, `(n, h, w, latent_channels)`.
    pub fn latents(&self) -> &[f32] {
        &self.x
    }

    /// The noise that the run began with, standard normal, of the latents' size.
    pub fn noise(&self) -> &[f32] {
        &self.noise
    }

    /// The last step's estimate of the clean latents, of the same size; zeros before the first.
    pub fn estimate(&self) -> &[f32] {
        self.state.x0()
    }

    /// How many pictures this run makes.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Never: a run has at least one picture.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Height, width and channels of the latents of a picture.
    pub fn latent_shape(&self) -> [usize; 3] {
        [self.size[0], self.size[1], self.model.info().autoencoder.latent_channels]
    }

    /// Height, width and channels of a picture.
    pub fn picture(&self) -> [usize; 3] {
        let factor = self.model.factor();
        [self.size[0] * factor, self.size[1] * factor, self.model.info().autoencoder.out_channels]
    }

    /// Decodes the latents: pictures in [0, 1], `(n, h, w, c)`, one at a time.
    ///
    /// # Errors
    /// More memory than the options allow; a NaN or an infinity; what a device has to say.
    pub fn pictures(&mut self) -> Result<Vec<f32>, Error> {
        wait(self.pictures_async())
    }

    /// [`Self::pictures`], awaited.
    ///
    /// # Errors
    /// As [`Self::pictures`] has.
    pub async fn pictures_async(&mut self) -> Result<Vec<f32>, Error> {
        self.model.decode_async(&self.x, self.size, self.decoding, &self.options).await
    }

    /// [`Self::pictures`] as bytes.
    ///
    /// # Errors
    /// As [`Self::pictures`].
    pub fn to_u8(&mut self) -> Result<Vec<u8>, Error> {
        wait(self.to_u8_async())
    }

    /// [`Self::to_u8`], awaited.
    ///
    /// # Errors
    /// As [`Self::pictures`] has.
    pub async fn to_u8_async(&mut self) -> Result<Vec<u8>, Error> {
        Ok(LatentDiffusion::to_u8(&self.pictures_async().await?))
    }
}
