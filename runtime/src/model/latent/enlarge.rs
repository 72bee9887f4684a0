//! The beginning of a second pass: what a run drew, at another size (AUTOMATIC1111's "hires fix").

use super::TextToImage;
use super::encoded::EncodedInit;
use super::info::LatentInfo;
use super::request::LatentRequest;
use crate::Error;
use crate::model::options::{check, in_range};
use crate::model::run::Run;
use crate::model::wait::wait;
use crate::model::{RequestError, Upscaler};
use crate::resample::{Filter, in_unit, resample_part};
use crate::sampler::{Sigmas, Solver, SolverSettings};
use crate::schedule::Schedule;
use alloc::string::ToString;
use alloc::vec::Vec;

/// How what a run drew comes to the size of a second pass.
#[derive(Clone, Copy, Debug, Default)]
pub enum Enlarge<'a> {
    /// Latents, linearly: fast, and soft until the second pass has drawn over it, for which it needs a strength of about
    /// 0.5 or more.
    #[default]
    Latents,
    /// The picture, decoded, by a Lanczos filter, and encoded again.
    Pixels,
    /// The picture, decoded, by an upscaler, then by a Lanczos filter to the size asked for, and encoded again.
    Upscaler(&'a Upscaler),
}

impl PartialEq for Enlarge<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Latents, Self::Latents) | (Self::Pixels, Self::Pixels) => true,
            (Self::Upscaler(a), Self::Upscaler(b)) => a.is(b),
            _ => false,
        }
    }
}

impl LatentInfo {
    /// As [`Self::settings_for`], of a second pass: `steps` steps from where so much noise is on the picture that `strength` of
    /// it is replaced. The noise levels are those of `steps / strength` steps, as in AUTOMATIC1111's web UI.
    ///
    /// # Errors
    /// As [`Self::settings_for`]; a strength that is not above 0 and at most 1.
    pub fn second_pass(
        &self,
        size: [usize; 2],
        solver: Option<Solver>,
        sigmas: Option<Sigmas>,
        steps: usize,
        strength: f64,
    ) -> Result<(Schedule, SolverSettings), Error> {
        check(strength > 0.0 && strength <= 1.0, "strength", strength, "above 0, at most 1")?;
        let all = ((steps as f64 / strength.min(0.999)) as usize).max(steps);
        let (schedule, settings) = self.settings_for(size, solver, sigmas, all)?;
        Ok((schedule, SolverSettings { start: all - steps, ..settings }))
    }
}

impl TextToImage {
    /// What `run` has drawn, as the beginning of a second pass: for [`LatentRequest::encoded_init`] of `request`, whose size,
    /// calls, decoding and options count here. The first run's size is its own.
    ///
    /// # Errors
    /// A run of another number of pictures; a model that repaints; an upscaler of other pictures than the model's; more memory
    /// than the options allow; a NaN or an infinity; a device error.
    pub fn enlarge(
        &self,
        run: &mut Run<'_>,
        request: &LatentRequest<'_>,
        how: Enlarge<'_>,
    ) -> Result<EncodedInit, Error> {
        wait(self.enlarge_async(run, request, how))
    }

    /// [`Self::enlarge`], awaited.
    ///
    /// # Errors
    /// As [`Self::enlarge`] has.
    pub async fn enlarge_async(
        &self,
        run: &mut Run<'_>,
        request: &LatentRequest<'_>,
        how: Enlarge<'_>,
    ) -> Result<EncodedInit, Error> {
        if self.info().repaints() || self.info().sees_depth() {
            return Err(RequestError::NotOf { what: "a second pass", of: "models that draw from noise alone" }.into());
        }
        let n = run.len();
        in_range("number of pictures", request.seeds.len(), n, n)?;
        let size @ [height, width] = self.info().latent_size(request.size)?;
        let latents = match how {
            Enlarge::Latents => {
                let shape = run.sample_shape();
                let latents = run.sample_async().await?;
                each(latents, shape, |latents| resized(latents, shape, size, Filter::Triangle))
            }
            Enlarge::Pixels => {
                let shape = run.picture_shape();
                let pictures = run.pictures_async().await?;
                let pictures =
                    each(pictures, shape, |picture| in_unit(resized(picture, shape, request.size, Filter::Lanczos)));
                self.encode_async(&pictures, request.size, request.decoding, &request.options).await?
            }
            Enlarge::Upscaler(upscaler) => {
                let shape @ [rows, columns, channels] = run.picture_shape();
                let own = upscaler.info().network.channels;
                check(own == channels, "the upscaler's number of channels", own, channels.to_string())?;
                let pictures = run.pictures_async().await?;
                let mut large = Vec::new();
                for picture in pictures.chunks_exact(shape.iter().product()) {
                    let mut asked = upscaler.request(picture, [rows, columns]);
                    asked.options = request.options;
                    let mut upscaling = upscaler.run(asked)?;
                    while upscaling.step_async().await?.is_some() {}
                    let picture = upscaling.finish_async().await?;
                    let values: Vec<f32> = picture.bytes.iter().map(|&v| f32::from(v) / 255.0).collect();
                    let shape = [picture.height, picture.width, channels];
                    large.extend(in_unit(resized(&values, shape, request.size, Filter::Lanczos)));
                }
                self.encode_async(&large, request.size, request.decoding, &request.options).await?
            }
        };
        let step = request.calls.calls().first().map_or(0, |call| call.step);
        Ok(EncodedInit { made: ([n, height, width], step), latents, known: Vec::new(), mask: None, continued: None })
    }
}

fn each(values: &[f32], shape: [usize; 3], work: impl FnMut(&[f32]) -> Vec<f32>) -> Vec<f32> {
    values.chunks_exact(shape.iter().product::<usize>().max(1)).flat_map(work).collect()
}

fn resized(values: &[f32], [height, width, channels]: [usize; 3], to: [usize; 2], filter: Filter) -> Vec<f32> {
    resample_part((values, width), ([0; 2], [height, width]), to, channels, filter)
}
