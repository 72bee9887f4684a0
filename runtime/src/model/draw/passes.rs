//! Two passes: a picture, then the same one over again at another size.

use super::{DrawRequest, check, refuse};
use crate::Error;
use crate::model::{
    EncodedPrompts, Enlarge, LatentInfo, LatentRequest, RequestError, Run, SessionOptions, StepInfo, TextToImage,
    Upscaler,
};
use crate::resample::{Filter, resample};
use crate::sampler::Calls;
use alloc::vec;
use alloc::vec::Vec;

/// A second pass over what was drawn, at another size (AUTOMATIC1111's "hires fix"), with as many steps as the first one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hires<'a> {
    /// Height and width of the pictures that come of it, multiples as the first one's.
    pub size: [usize; 2],
    /// How much of the first pass's picture is replaced, above 0, at most 1: 0.5 is usual.
    pub strength: f64,
    /// How the picture comes to that size.
    pub enlarge: Enlarge<'a>,
}

/// The second pass's calls of the network, if there is one.
pub(super) fn second_calls(info: &LatentInfo, request: &DrawRequest<'_>) -> Result<Option<Calls>, Error> {
    let Some(hires) = &request.hires else { return Ok(None) };
    refuse(&[("hires", request.init_image.is_some())], "runs from a prompt alone, without an init_image")?;
    info.latent_size(hires.size)?;
    let &DrawRequest { solver, sigmas, steps, .. } = request;
    let steps = steps.unwrap_or_else(|| info.steps());
    let (schedule, settings) = info.second_pass(hires.size, solver, sigmas, steps, hires.strength)?;
    Ok(Some(Calls::new(&schedule, &settings)?))
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
}

struct Second {
    prompts: EncodedPrompts,
    seeds: Vec<u64>,
    size: [usize; 2],
    calls: Calls,
    guidance_scale: f32,
    options: SessionOptions,
    how: How,
}

/// [`Enlarge`], borrowing nothing.
enum How {
    Latents,
    Pixels,
    Upscaler(Upscaler),
}

impl Passes {
    /// Begins the first pass of `first`, which is `asked`'s.
    pub(super) async fn begin(
        model: &TextToImage,
        first: &LatentRequest<'_>,
        asked: &Hires<'_>,
        calls: Calls,
    ) -> Result<Self, Error> {
        let prompts = model.encode_prompts_async(first).await?;
        let run = model.run_async(&LatentRequest { encoded_prompts: Some(&prompts), ..first.clone() }).await?;
        let (before, total) = (0, first.calls.steps() + calls.steps());
        let shape = [asked.size[0], asked.size[1], run.picture_shape()[2]];
        let how = match asked.enlarge {
            Enlarge::Latents => How::Latents,
            Enlarge::Pixels => How::Pixels,
            Enlarge::Upscaler(upscaler) => How::Upscaler(upscaler.clone()),
        };
        let (seeds, size, options) = (first.seeds.clone(), asked.size, first.options);
        let second = Second { prompts, seeds, size, calls, guidance_scale: first.guidance_scale, options, how };
        Ok(Self { model: model.clone(), run, second: Some(second), before, total, shape })
    }

    pub(super) async fn step_async(&mut self) -> Result<Option<StepInfo>, Error> {
        loop {
            if let Some(step) = self.run.step_async().await? {
                return Ok(Some(StepInfo { index: self.before + step.index, total: self.total, ..step }));
            }
            let Some(second) = self.second.take() else { return Ok(None) };
            let request = LatentRequest {
                seeds: second.seeds.clone(),
                size: second.size,
                guidance_scale: second.guidance_scale,
                encoded_prompts: Some(&second.prompts),
                options: second.options,
                ..self.model.request("", 0, &second.calls)
            };
            let how = match &second.how {
                How::Latents => Enlarge::Latents,
                How::Pixels => Enlarge::Pixels,
                How::Upscaler(upscaler) => Enlarge::Upscaler(upscaler),
            };
            let init = self.model.enlarge_async(&mut self.run, &request, how).await?;
            self.run = self.model.run_async(&LatentRequest { encoded_init: Some(&init), ..request }).await?;
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
        self.run.write_u8_async(out).await
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
