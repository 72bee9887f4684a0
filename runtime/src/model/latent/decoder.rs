//! From latents to a picture, with memory that is made once.

use super::TextToImage;
use super::request::Decoding;
use super::stages::Stage;
use super::tiling::Tiling;
use crate::Error;
use crate::cpu::exec::Memory;
#[cfg(feature = "gpu")]
use crate::model::engine::Values;
use crate::model::network::Evaluator;
use crate::model::options::{check, in_range};
use crate::model::wait::wait;
use crate::model::{RequestError, SessionOptions, TinyAutoencoder};
use crate::nn::{Autoencoder, AutoencoderTiny};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// Decodes latents of one size, a picture at a time, in memory that is made once: from [`TextToImage::decoder`].
pub struct LatentDecoder {
    model: TextToImage,
    /// Height and width of the latents.
    size: [usize; 2],
    tiling: Option<Tiling>,
    tiny: Option<TinyAutoencoder>,
    options: SessionOptions,
    made: Option<Made>,
}

struct Made {
    evaluator: Evaluator,
    /// What the decoder is given.
    z: Vec<f32>,
    /// In [0, 1].
    picture: Vec<f32>,
    #[cfg(feature = "gpu")]
    device: Option<crate::gpu::DeviceDecoder>,
}

impl TextToImage {
    /// What decodes latents of `size`, height and width, many times over; nothing is loaded or planned before the first.
    pub fn decoder(&self, size: [usize; 2], how: Decoding<'_>, options: &SessionOptions) -> LatentDecoder {
        LatentDecoder {
            model: self.clone(),
            size,
            tiling: how.tiling(),
            tiny: how.tiny().cloned(),
            options: *options,
            made: None,
        }
    }
}

impl LatentDecoder {
    /// The picture of latents `(h, w, latent_channels)`, as the U-Net knows them: `(f h, f w, channels)` in [0, 1], f the
    /// [`factor`](TextToImage::factor). On the CPU, decoded whole, only the first allocates.
    ///
    /// # Errors
    /// Values that are no latents of that size; more memory than the options allow; a NaN or an infinity; a device error.
    pub fn decode(&mut self, latents: &[f32]) -> Result<&[f32], Error> {
        wait(self.decode_async(latents))
    }

    /// [`Self::decode`], awaited.
    ///
    /// # Errors
    /// As [`Self::decode`] has.
    pub async fn decode_async(&mut self, latents: &[f32]) -> Result<&[f32], Error> {
        let values = self.size[0] * self.size[1] * self.model.info().autoencoder.latent_channels();
        in_range("values of the latents", latents.len(), values, values)?;
        self.decoded(latents).await
    }

    /// Decodes in another way from now on, if it is another.
    pub(in crate::model) fn decode_by(&mut self, how: Decoding<'_>) {
        let same_tiny = match (&self.tiny, how.tiny()) {
            (Some(a), Some(b)) => a.is(b),
            (a, b) => a.is_none() && b.is_none(),
        };
        if !same_tiny || self.tiling != how.tiling() {
            (self.tiling, self.tiny, self.made) = (how.tiling(), how.tiny().cloned(), None);
        }
    }

    /// Height, width and channels of a picture.
    pub fn picture_shape(&self) -> [usize; 3] {
        let factor = self.model.factor();
        [self.size[0] * factor, self.size[1] * factor, self.model.info().autoencoder.out_channels()]
    }

    /// Bytes of memory, weights not counted.
    pub fn bytes(&self) -> usize {
        self.made.as_ref().map_or(0, |made| {
            let device = 0;
            #[cfg(feature = "gpu")]
            let device = device + made.device.as_ref().map_or(0, |device| device.bytes() as usize);
            made.evaluator.bytes() + 4 * (made.z.len() + made.picture.len()) + device
        })
    }

    /// Loads and plans, if that has not been done.
    pub(in crate::model) fn make(&mut self) -> Result<(), Error> {
        if self.made.is_some() {
            return Ok(());
        }
        let (info, size) = (self.model.info(), self.size);
        let evaluator = match &self.tiny {
            Some(tiny) => {
                fits(&self.model, tiny)?;
                tiny.decoder(size, &self.options)?
            }
            None => self.model.parts.evaluator(info, Stage::decoder(info, self.tiling, size)?, &self.options)?,
        };
        let z = vec![0.0; size[0] * size[1] * info.autoencoder.latent_channels()];
        let picture = vec![0.0; self.picture_shape().iter().product()];
        self.made = Some(Made {
            evaluator,
            z,
            picture,
            #[cfg(feature = "gpu")]
            device: None,
        });
        Ok(())
    }

    /// As [`Self::decode_async`], of latents that are as many as they must be.
    async fn decoded(&mut self, latents: &[f32]) -> Result<&[f32], Error> {
        self.make()?;
        let (info, size) = (self.model.info(), self.size);
        let network = &info.autoencoder;
        let Some(Made { evaluator, z, picture, .. }) = &mut self.made else { unreachable!("it was made above") };
        z.copy_from_slice(latents);
        if self.tiny.is_some() {
            AutoencoderTiny::hold(z);
            evaluator.evaluate_async(0, &[(AutoencoderTiny::LATENTS, z.as_slice())], &[]).await?;
            picture.copy_from_slice(evaluator.output(AutoencoderTiny::PICTURE)?);
            picture.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
            return Ok(picture);
        }
        z.iter_mut().for_each(|v| *v = *v / info.scaling_factor + info.shift_factor);
        if let Some(statistics) = &info.statistics {
            statistics.undo(z);
        }
        if network.is_tiny() {
            AutoencoderTiny::hold(z);
        }
        match self.tiling {
            None => {
                evaluator.evaluate_async(0, &[(Autoencoder::LATENTS, z.as_slice())], &[]).await?;
                picture.copy_from_slice(evaluator.output(Autoencoder::PICTURE)?);
            }
            Some(tiling) => {
                let mut blend = tiling.decoded(size, network.out_channels());
                picture.fill(0.0);
                for (graph, tile) in tiling.sized(size) {
                    let cut = tile.cut(z, size[1], network.latent_channels(), 1);
                    let input = [(Autoencoder::LATENTS, cut.as_slice())];
                    evaluator.evaluate_async(graph, &input, &[]).await?;
                    blend.push(evaluator.output(Autoencoder::PICTURE)?, picture);
                }
            }
        }
        let tiny = network.is_tiny();
        picture.iter_mut().for_each(|v| *v = if tiny { v.clamp(0.0, 1.0) } else { unit(*v) });
        Ok(picture)
    }

    /// The memory of the CPU's executor, for another to use; it is to be given back.
    pub(in crate::model) fn take_memory(&mut self) -> Memory {
        self.made.as_mut().map(|made| made.evaluator.take_memory()).unwrap_or_default()
    }

    /// Memory of another executor, to be used from now on if it is larger.
    pub(in crate::model) fn give_memory(&mut self, memory: Memory) {
        if let Some(made) = &mut self.made {
            made.evaluator.give_memory(memory);
        }
    }
}

/// Whether the tiny autoencoder's latents are this model's.
pub(super) fn fits(model: &TextToImage, tiny: &TinyAutoencoder) -> Result<(), RequestError> {
    let shape = |channels: usize, factor: usize| format!("{channels} channels, {factor} pixels a side each");
    let (own_kind, network) = (&model.info().autoencoder, &tiny.info().network);
    let own = shape(own_kind.latent_channels(), model.factor());
    let found = shape(network.latent_channels, tiny.factor());
    check(own == found, "the tiny autoencoder's kind of latents", found, own.as_str())?;
    let made = [(network.out_channels, own_kind.out_channels()), (network.in_channels, own_kind.in_channels())];
    for (found, own) in made.into_iter().take(if tiny.info().has_encoder { 2 } else { 1 }) {
        let expected = format!("{own}, as the model's own autoencoder has");
        check(found == own, "the tiny autoencoder's number of channels of a picture", found, expected.as_str())?;
    }
    Ok(())
}

/// From the decoder's range to [0, 1].
fn unit(v: f32) -> f32 {
    (v / 2.0 + 0.5).clamp(0.0, 1.0)
}

#[cfg(feature = "gpu")]
impl LatentDecoder {
    /// Whether latents can be taken where they lie, from the samples and the estimate of a run on the same device.
    pub(in crate::model) fn is_on_device(&mut self, sources: [&wgpu::Buffer; 2]) -> Result<bool, Error> {
        self.make()?;
        let info = self.model.info();
        // What a device's kernel does to latents is to scale and shift them.
        let more = info.autoencoder.is_tiny() || info.statistics.is_some();
        if self.tiny.is_some() || self.tiling.is_some() || more {
            return Ok(false);
        }
        let Some(made) = &mut self.made else { return Ok(false) };
        let Some(exec) = made.evaluator.on_device() else { return Ok(false) };
        if made.device.is_none() {
            let plan = &exec.plans()[0];
            let slots = plan.input(Autoencoder::LATENTS).zip(plan.output(Autoencoder::PICTURE));
            let (latents, picture) = slots.ok_or(crate::plan::ExecError::Weights)?;
            let scale = [1.0 / info.scaling_factor, info.shift_factor];
            made.device = Some(crate::gpu::DeviceDecoder::new(exec, latents, picture, sources, scale)?);
        }
        Ok(true)
    }

    fn device(&mut self) -> Result<(&crate::gpu::DeviceDecoder, &crate::gpu::Executor, &mut [f32]), Error> {
        let Some(Made { evaluator, picture, device: Some(device), .. }) = &mut self.made else {
            return Err(RequestError::NoDevice.into());
        };
        let exec = evaluator.on_device().ok_or(RequestError::NoDevice)?;
        Ok((device, exec, picture))
    }

    /// Decodes picture `i` of a run on the same device ([`Self::is_on_device`]), and reads it back: in [0, 1].
    pub(in crate::model) async fn decode_from(&mut self, which: Values, i: usize) -> Result<&[f32], Error> {
        let (device, exec, picture) = self.device()?;
        device.decode(exec, which as usize, i)?;
        let values = device.read(exec).await?;
        if values.iter().any(|v| !v.is_finite()) {
            // Again, looking at each result, to find where a number was lost.
            device.feed(exec, which as usize, i)?;
            exec.run_checked_async(0).await?;
        }
        picture.iter_mut().zip(&values).for_each(|(to, v)| *to = unit(*v));
        Ok(picture)
    }

    /// Decodes picture `i` of `sources`, and draws it into a texture.
    pub(in crate::model) fn draw_into(
        &mut self,
        sources: [&wgpu::Buffer; 2],
        which: Values,
        i: usize,
        view: &wgpu::TextureView,
    ) -> Result<(), Error> {
        if !self.is_on_device(sources)? {
            let (what, found) =
                ("decoding for a texture", "in tiles, by a tiny autoencoder, or on another device".into());
            return Err(RequestError::Range { what, found, expected: "whole, on the run's device".into() }.into());
        }
        let shape = self.picture_shape();
        let (device, exec, _) = self.device()?;
        device.decode(exec, which as usize, i)?;
        let buffer = device.picture(exec)?;
        let shown = crate::gpu::Shown { buffer, first: 0, shape, range: [-1.0, 1.0] };
        Ok(crate::gpu::draw_into(exec, &shown, view)?)
    }
}
