//! Where a run begins: noise alone, a picture under noise, or a picture of which a part is repainted.

use super::TextToImage;
use super::encoded::EncodedInit;
use super::request::LatentRequest;
use crate::Error;
use crate::model::RequestError;
use crate::model::engine::Kept;
use crate::model::options::{check, in_range};
use crate::model::wait::wait;
use crate::sampler::Call;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A run's first latents, and what it needs of the init images later.
#[derive(Default)]
pub(super) struct Start {
    /// The first latents, `(n, h, w, c)`.
    pub x: Vec<f32>,
    /// Channels of a U-Net after the noisy latents: for inpainting `(n, h, w, 1 + c)`, the mask, then latents of what is kept;
    /// to be led by depth `(n, h, w, 1)`; to change a picture `(texts n, h, w, c)`, its latents, and zeros for the text that is told of no picture; else empty.
    pub beside: Vec<f32>,
    /// What puts back, after every step, what is kept; else nothing.
    pub kept: Option<Kept>,
}

impl TextToImage {
    /// Encodes the pictures that a request starts from, for [`LatentRequest::encoded_init`] of that request and of others that
    /// differ in prompts, seeds and guidance; `None` if it starts from noise alone. Of the request's calls only where they
    /// begin counts.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn encode_init(&self, request: &LatentRequest<'_>) -> Result<Option<EncodedInit>, Error> {
        wait(self.encode_init_async(request))
    }

    /// [`Self::encode_init`], awaited.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn encode_init_async(&self, request: &LatentRequest<'_>) -> Result<Option<EncodedInit>, Error> {
        let (n, size @ [height, width], info) = (request.seeds.len(), request.size, self.info());
        let pixels = height * width;
        let [h, w] = info.latent_size(size)?;
        let repaints = info.repaints();
        let depth = match (info.sees_depth(), request.depth) {
            (true, Some(depth)) => Some(depth.fitted([h, w])?.repeat(n)),
            (true, None) => {
                let expected = String::from("given: the model is led by depth");
                return Err(RequestError::Range { what: "the depth picture", found: "missing".into(), expected }.into());
            }
            (false, Some(_)) => {
                return Err(RequestError::NotOf { what: "a depth picture", of: "models that are led by depth" }.into());
            }
            (false, None) => None,
        };
        if depth.is_some() && request.mask.is_some() {
            return Err(RequestError::NotOf { what: "mask", of: "models that are not led by depth" }.into());
        }
        let Some(first) = request.calls.calls().first() else { return Ok(None) };
        let Some(pictures) = request.init_image else {
            if repaints || info.edits() || request.mask.is_some() || first.step > 0 {
                let why = match () {
                    () if repaints => "the model paints a part of a picture anew",
                    () if info.edits() => "the model changes a picture",
                    () => "the run starts in the middle",
                };
                let expected = format!("given: {why}");
                return Err(
                    RequestError::Range { what: "the starting picture", found: "missing".into(), expected }.into()
                );
            }
            let encoded =
                |known| EncodedInit { made: ([n, h, w], 0), latents: Vec::new(), known, mask: None, continued: None };
            return Ok(depth.map(encoded));
        };
        let pictures = each(pictures, n, pixels * info.autoencoder.in_channels(), "values of the starting pictures")?;
        let mask = request.mask.map(|mask| each(mask, n, pixels, "values of the mask")).transpose()?;
        let encode =
            async |pictures: &[f32]| self.encode_async(pictures, size, request.decoding, &request.options).await;
        let mut known = Vec::new();
        if info.edits() {
            if mask.is_some() {
                let of = "models that draw or repaint a picture, not those that change one by instruction";
                return Err(RequestError::NotOf { what: "mask", of }.into());
            }
            known = encode(&pictures).await?;
        } else if repaints {
            let Some(mask) = &mask else {
                let expected = String::from("given: the model paints a part of a picture anew");
                return Err(RequestError::Range { what: "the mask", found: "missing".into(), expected }.into());
            };
            let mut blank = pictures.clone();
            let (of_pixel, gray) = (info.autoencoder.in_channels(), 0.5);
            blank.chunks_exact_mut(of_pixel).zip(mask).filter(|(_, m)| **m >= 0.5).for_each(|(p, _)| p.fill(gray));
            known = encode(&blank).await?;
        } else if let Some(depth) = depth {
            known = depth;
        }
        // From noise alone, an inpainting model sees nothing of the pictures but what is kept.
        let latents = match first.step {
            0 if repaints || info.edits() => Vec::new(),
            _ if info.edits() => known.clone(),
            _ => encode(&pictures).await?,
        };
        if info.edits() && !info.edits_scaled() {
            known.iter_mut().for_each(|z| *z = *z / info.scaling_factor + info.shift_factor);
        }
        let mask = mask.map(|mask| self.shrink(&mask, size));
        Ok(Some(EncodedInit { made: ([n, h, w], first.step), latents, known, mask, continued: None }))
    }

    /// The pictures that a request starts from, encoded if they are not yet.
    pub(super) async fn init_of<'a>(&self, request: &LatentRequest<'a>) -> Result<Option<Cow<'a, EncodedInit>>, Error> {
        match request.encoded_init {
            Some(begun) => Ok(Some(Cow::Borrowed(begun))),
            None => Ok(self.encode_init_async(request).await?.map(Cow::Owned)),
        }
    }

    /// Works out a run's beginning; `noise` is standard normal.
    pub(super) fn start(
        &self,
        request: &LatentRequest<'_>,
        begun: &EncodedInit,
        noise: &[f32],
    ) -> Result<Start, Error> {
        let Some(first) = request.calls.calls().first() else { return Ok(Start::default()) };
        let [h, w] = self.info().latent_size(request.size)?;
        let here = ([request.seeds.len(), h, w], first.step);
        let words = |([n, h, w], step): ([usize; 3], usize)| format!("{n} of {w}x{h} latents from step {step}");
        check(begun.made == here, "starting pictures", words(begun.made), words(here))?;
        if begun.continued.is_some() {
            return Ok(Start { x: begun.latents.clone(), ..Start::default() });
        }
        // All is noise at the first step of all; what is kept comes in beside it, or after the step.
        let depth = self.info().sees_depth();
        let x = if begun.latents.is_empty() || first.step == 0 && (begun.mask.is_some() || begun.is_beside() && !depth)
        {
            noise.iter().map(|v| v * request.calls.init_noise_sigma()).collect()
        } else {
            noised(&begun.latents, noise, first)
        };
        let channels = self.info().autoencoder.latent_channels();
        let Some(mask) = &begun.mask else {
            let mut beside = begun.known.clone();
            if !depth && self.info().is_guided(request.guidance_scale) {
                beside.extend_from_within(..);
                beside.resize(3 * begun.known.len(), 0.0);
            }
            return Ok(Start { x, beside, ..Start::default() });
        };
        if begun.known.is_empty() {
            let kept = Kept { latents: begun.latents.clone(), noise: noise.to_vec(), mask: mask.clone() };
            return Ok(Start { x, beside: Vec::new(), kept: Some(kept) });
        }
        let beside = mask.iter().zip(begun.known.chunks_exact(channels));
        let beside = beside.flat_map(|(mask, known)| core::iter::once(*mask).chain(known.iter().copied())).collect();
        Ok(Start { x, beside, kept: None })
    }

    /// The mask at the latents' size, 0 or 1: of each square of pixels the first, as diffusers does.
    fn shrink(&self, mask: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
        let factor = self.factor();
        let mut small = Vec::with_capacity(mask.len() / (factor * factor));
        for mask in mask.chunks_exact(height * width) {
            for row in mask.chunks_exact(width).step_by(factor) {
                small.extend(row.iter().step_by(factor).map(|m| if *m >= 0.5 { 1.0 } else { 0.0 }));
            }
        }
        small
    }
}

/// `alpha * picture + sigma * noise` at the call's level.
fn noised(latents: &[f32], noise: &[f32], call: &Call) -> Vec<f32> {
    latents.iter().zip(noise).map(|(x, noise)| call.alpha * x + call.sigma * noise).collect()
}

/// One for all of `n`, or `n`.
pub(super) fn each(values: &[f32], n: usize, of_one: usize, what: &'static str) -> Result<Vec<f32>, Error> {
    if values.len() == of_one {
        return Ok(values.repeat(n));
    }
    in_range(what, values.len(), n * of_one, n * of_one)?;
    Ok(values.to_vec())
}
