//! Two passes: a picture, then the same one over again at another size; or one whose last steps another model takes.

use super::{DrawRequest, check, latent_calls, latent_settings, refuse};
use crate::Error;
use crate::model::{
    Control, Decoding, EncodedPrompts, EncodedReferences, Enlarge, ImagePrompt, IpAdapter, LatentControl, LatentInfo,
    LatentRequest, RequestError, Run, SeenImages, SessionOptions, StepInfo, TextToImage, Upscaler,
};
use crate::resample::{Filter, in_unit, resample, resample_part};
use crate::sampler::Calls;
use alloc::vec;
use alloc::vec::Vec;

/// A second pass over what was drawn, at another size (AUTOMATIC1111's "hires fix").
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hires<'a> {
    /// Height and width of the pictures that come of it, multiples as the first one's.
    pub size: [usize; 2],
    /// How much of the first pass's picture is replaced, above 0, at most 1: 0.5 is usual.
    pub strength: f64,
    /// Its steps; none is as many as the first pass has.
    pub steps: Option<usize>,
    /// How the picture comes to that size.
    pub enlarge: Enlarge<'a>,
}

/// SDXL's second model, which takes the last steps on the latents as the first one left them. The first one's autoencoder makes
/// the pictures.
#[derive(Clone, Copy, Debug)]
pub struct Refiner<'a> {
    /// The model.
    pub model: &'a TextToImage,
    /// The share of the noise levels after which it goes on, between 0 and 1: 0.8 is usual.
    pub start: f64,
}

/// What follows the first pass.
pub(super) enum Next<'a> {
    Hires(Hires<'a>),
    Refiner(Refiner<'a>),
}

/// The first pass's calls of the network, and the second one's, if there is one.
pub(super) fn all_calls(info: &LatentInfo, request: &DrawRequest<'_>) -> Result<(Calls, Option<Calls>), Error> {
    let first = latent_calls(info, request)?;
    if let Some(Refiner { model, start }) = request.refiner {
        refuse(&[("refiner", request.hires.is_some())], "runs of one pass, without hires")?;
        refuse(&[("refiner", request.mask.is_some())], "runs without a mask")?;
        info.check_refiner(model.info())?;
        let ways = [latent_settings(info, request)?, latent_settings(model.info(), &same_steps(info, request))?];
        let (first, last) = info.refined(first, model.info(), start, ways)?;
        return Ok((first, Some(last)));
    }
    let Some(hires) = &request.hires else { return Ok((first, None)) };
    refuse(&[("hires", request.init_image.is_some())], "runs from a prompt alone, without an init_image")?;
    refuse(&[("hires", request.depth.is_some())], "models that draw from noise alone")?;
    info.latent_size(hires.size)?;
    let &DrawRequest { solver, sigmas, steps, .. } = request;
    let steps = hires.steps.or(steps).unwrap_or_else(|| info.steps());
    let (schedule, settings) = info.second_pass(hires.size, solver, sigmas, steps, hires.strength)?;
    Ok((first, Some(Calls::new(&schedule, &settings)?)))
}

/// The request with the first model's number of steps, which is the refiner's too.
fn same_steps<'a>(info: &LatentInfo, request: &DrawRequest<'a>) -> DrawRequest<'a> {
    DrawRequest { steps: request.steps.or_else(|| Some(info.steps())), ..request.clone() }
}

/// A run of two passes.
pub(super) struct Passes {
    model: TextToImage,
    run: Run<'static>,
    /// What is still to come after the run.
    second: Option<Second>,
    /// Steps of the passes before this one, and of all.
    before: usize,
    total: usize,
    /// Height, width and channels of the pictures in the end.
    shape: [usize; 3],
    /// Whether the run's model is not the one whose autoencoder makes the pictures.
    refined: bool,
    options: SessionOptions,
}

/// The second pass, borrowing nothing.
struct Second {
    model: TextToImage,
    prompts: EncodedPrompts,
    seeds: Vec<u64>,
    size: [usize; 2],
    /// Scale, rescaling, normalization and truncation of guidance.
    guidance: (f32, f32, Option<f32>, Option<f32>),
    calls: Calls,
    controls: Vec<(Control, Vec<f32>, f32)>,
    image_prompt: Option<(IpAdapter, SeenImages, f32)>,
    references: Option<EncodedReferences>,
    how: How,
}

/// [`Next`], borrowing nothing.
enum How {
    Latents,
    Pixels,
    Upscaler(Upscaler),
    /// With the first pass's calls.
    Refine(Calls),
}

impl Passes {
    /// Begins the first pass, of which `calls` are those that follow.
    pub(super) async fn begin(
        model: &TextToImage,
        first: &LatentRequest<'_>,
        next: Next<'_>,
        calls: Calls,
    ) -> Result<Self, Error> {
        let prompts = model.encode_prompts_async(first).await?;
        let references =
            if first.references.is_empty() { None } else { Some(model.encode_references_async(first).await?) };
        let request =
            LatentRequest { encoded_prompts: Some(&prompts), encoded_references: references.as_ref(), ..first.clone() };
        let run = model.run_async(&request).await?;
        let (before, total) = (0, first.calls.steps() + calls.steps());
        let (own, channels) = (first.size, run.picture_shape()[2]);
        let (other, size, how) = match next {
            Next::Hires(hires) => {
                let how = match hires.enlarge {
                    Enlarge::Latents => How::Latents,
                    Enlarge::Pixels => How::Pixels,
                    Enlarge::Upscaler(upscaler) => How::Upscaler(upscaler.clone()),
                };
                (None, hires.size, how)
            }
            Next::Refiner(refiner) => (Some(refiner.model), own, How::Refine(first.calls.clone())),
        };
        let refined = other.is_some();
        let drawing = other.unwrap_or(model);
        // What leads the first model leads no refiner, which reads the prompt with its own encoder.
        let prompts = match other {
            Some(refiner) => refiner.encode_prompts_async(first).await?,
            None => prompts,
        };
        let controls = first.controls.iter().filter(|_| !refined);
        let controls = controls.map(|control| {
            let channels = control.network.info().network.picture_channels();
            let picture = ((control.picture, own[1]), ([0; 2], own));
            let picture = in_unit(resample_part(picture.0, picture.1, size, channels, Filter::Lanczos));
            (control.network.clone(), picture, control.strength)
        });
        let image_prompt = first.image_prompt.filter(|_| !refined);
        let image_prompt = image_prompt.map(|led| (led.adapter.clone(), led.seen.clone(), led.strength));
        let guidance =
            (first.guidance_scale, first.guidance_rescale, first.guidance_normalization, first.guidance_truncation);
        let second = Second {
            model: drawing.clone(),
            prompts,
            seeds: first.seeds.clone(),
            size,
            guidance,
            calls,
            controls: controls.collect(),
            image_prompt,
            references,
            how,
        };
        let shape = [size[0], size[1], channels];
        Ok(Self {
            model: model.clone(),
            run,
            second: Some(second),
            before,
            total,
            shape,
            refined: false,
            options: first.options,
        })
    }

    pub(super) async fn step_async(&mut self) -> Result<Option<StepInfo>, Error> {
        loop {
            if let Some(step) = self.run.step_async().await? {
                return Ok(Some(StepInfo { index: self.before + step.index, total: self.total, ..step }));
            }
            let Some(second) = self.second.take() else { return Ok(None) };
            let controls = second.controls.iter();
            let (guidance_scale, guidance_rescale, guidance_normalization, guidance_truncation) = second.guidance;
            let request = LatentRequest {
                seeds: second.seeds.clone(),
                size: second.size,
                guidance_scale,
                guidance_rescale,
                guidance_normalization,
                guidance_truncation,
                options: self.options,
                encoded_prompts: Some(&second.prompts),
                encoded_references: second.references.as_ref(),
                controls: controls
                    .map(|(network, picture, strength)| LatentControl { network, picture, strength: *strength })
                    .collect(),
                image_prompt: second.image_prompt.as_ref().map(|(adapter, seen, strength)| ImagePrompt {
                    adapter,
                    seen,
                    strength: *strength,
                }),
                ..second.model.request("", 0, &second.calls)
            };
            let how = match &second.how {
                How::Latents => Some(Enlarge::Latents),
                How::Pixels => Some(Enlarge::Pixels),
                How::Upscaler(upscaler) => Some(Enlarge::Upscaler(upscaler)),
                How::Refine(_) => None,
            };
            let init = match (how, &second.how) {
                (None, How::Refine(calls)) => {
                    let first = self.model.request("", 0, calls);
                    second.model.refine_async(&mut self.run, &first, self.model.info(), &request).await?
                }
                (how, _) => self.model.enlarge_async(&mut self.run, &request, how.unwrap_or_default()).await?,
            };
            self.refined = matches!(second.how, How::Refine(_));
            self.run = second.model.run_async(&LatentRequest { encoded_init: Some(&init), ..request }).await?;
            self.before = self.total - second.calls.steps();
        }
    }

    /// The run of this pass.
    pub(super) fn run(&mut self) -> &mut Run<'static> {
        &mut self.run
    }

    pub(super) fn len(&self) -> usize {
        self.run.len()
    }

    pub(super) const fn picture_shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The pictures, once both passes are made.
    pub(super) async fn write_u8_async(&mut self, out: &mut [u8]) -> Result<(), Error> {
        if self.second.is_some() {
            let (what, found) = ("a picture before the second pass", "asked for".into());
            return Err(
                RequestError::Range { what, found, expected: "asked for when all steps are made".into() }.into()
            );
        }
        if !self.refined {
            return self.run.write_u8_async(out).await;
        }
        let [height, width, channels] = self.shape;
        let picture = height * width * channels;
        check(out.len() == self.len() * picture, "bytes for pictures", out.len(), "those of the pictures")?;
        let size = self.model.info().latent_size([height, width])?;
        let mut decoder = self.model.decoder(size, Decoding::Whole, &self.options);
        let each = self.run.sample_shape().iter().product();
        let latents = self.run.sample_async().await?;
        for (latents, out) in latents.chunks_exact(each).zip(out.chunks_exact_mut(picture)) {
            out.copy_from_slice(&TextToImage::to_u8(decoder.decode_async(latents).await?));
        }
        Ok(())
    }

    /// The estimate's pictures, in the first pass enlarged to the size in the end.
    pub(super) async fn write_preview_async(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let from @ [height, width, channels] = self.run.picture_shape();
        if from == self.shape {
            return self.run.write_preview_async(out).await;
        }
        let [large @ .., _] = self.shape;
        check(
            out.len() == self.len() * self.shape.iter().product::<usize>(),
            "bytes for pictures",
            out.len(),
            "those of the pictures",
        )?;
        let mut small = vec![0; self.len() * height * width * channels];
        self.run.write_preview_async(&mut small).await?;
        let pictures = small.chunks_exact(height * width * channels);
        for (small, out) in pictures.zip(out.chunks_exact_mut(self.shape.iter().product())) {
            let line = width * channels;
            let row = |y: usize, row: &mut [f32]| {
                row.iter_mut().zip(&small[y * line..]).for_each(|(to, v)| *to = f32::from(*v))
            };
            let values = resample(row, [height, width], large, channels, Filter::Triangle);
            out.iter_mut().zip(values).for_each(|(out, v)| *out = libm::rintf(v) as u8);
        }
        Ok(())
    }
}
