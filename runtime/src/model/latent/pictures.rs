//! From latents to pictures and back, one picture at a time.

use super::TextToImage;
use super::decoder::fits;
use super::preview;
use super::request::Decoding;
use super::stages::Stage;
use crate::Error;
use crate::model::SessionOptions;
use crate::model::network::Evaluator;
use crate::model::options::in_range;
use crate::model::wait::wait;
use crate::nn::{Autoencoder, AutoencoderKl};
use alloc::vec;
use alloc::vec::Vec;

impl TextToImage {
    /// Latents of pictures in [0, 1], `(n, height, width, channels)`, as the U-Net knows them: the encoder's mean, without
    /// its noise, times the scaling factor.
    ///
    /// # Errors
    /// Values that are no pictures of that size; more memory than the options allow; a NaN or an infinity; a device
    /// error.
    pub fn encode(
        &self,
        pictures: &[f32],
        size: [usize; 2],
        how: Decoding<'_>,
        options: &SessionOptions,
    ) -> Result<Vec<f32>, Error> {
        wait(self.encode_async(pictures, size, how, options))
    }

    /// [`Self::encode`], awaited.
    ///
    /// # Errors
    /// As [`Self::encode`] has.
    pub async fn encode_async(
        &self,
        pictures: &[f32],
        size: [usize; 2],
        how: Decoding<'_>,
        options: &SessionOptions,
    ) -> Result<Vec<f32>, Error> {
        let (info, network) = (self.info(), &self.info().autoencoder);
        let picture = size[0] * size[1] * network.in_channels();
        whole("values of the pictures", pictures.len(), picture)?;
        let mut latents = Vec::new();
        if let Decoding::Tiny(tiny) = how
            && tiny.info().has_encoder
        {
            fits(self, tiny)?;
            let mut encoder = tiny.encoder(size, options)?;
            for picture in pictures.chunks_exact(picture) {
                latents.extend(tiny.encode_async(&mut encoder, picture).await?);
            }
            return Ok(latents);
        }
        let factor = self.factor();
        let small = size.map(|side| side / factor);
        let stage = Stage::encoder(info, how.tiling(), small)?;
        let mut evaluator = self.parts.evaluator(info, stage, options)?;
        for picture in pictures.chunks_exact(picture) {
            let mut mean = match how.tiling() {
                Some(tiling) => {
                    let mut blend = tiling.encoded(small, network.latent_channels());
                    let mut whole = vec![0.0; small[0] * small[1] * network.latent_channels()];
                    for (graph, tile) in tiling.sized(small) {
                        let cut = tile.cut(picture, size[1], network.in_channels(), factor);
                        blend.push(&mean(network, &cut, &mut evaluator, graph).await?, &mut whole);
                    }
                    whole
                }
                None => mean(network, picture, &mut evaluator, 0).await?,
            };
            if let Some(statistics) = &info.statistics {
                statistics.apply(&mut mean);
            }
            latents.extend(mean.iter().map(|z| (z - info.shift_factor) * info.scaling_factor));
        }
        Ok(latents)
    }

    /// Pictures in [0, 1], `(n, h f, w f, channels)`, of latents `(n, h, w, latent_channels)` as the U-Net knows them.
    ///
    /// # Errors
    /// Values that are no latents of that size; more memory than the options allow; a NaN or an infinity; what a device has
    /// to say.
    pub fn decode(
        &self,
        latents: &[f32],
        size: [usize; 2],
        how: Decoding<'_>,
        options: &SessionOptions,
    ) -> Result<Vec<f32>, Error> {
        wait(self.decode_async(latents, size, how, options))
    }

    /// [`Self::decode`], awaited.
    ///
    /// # Errors
    /// As [`Self::decode`] has.
    pub async fn decode_async(
        &self,
        latents: &[f32],
        size: [usize; 2],
        how: Decoding<'_>,
        options: &SessionOptions,
    ) -> Result<Vec<f32>, Error> {
        let one = size[0] * size[1] * self.info().autoencoder.latent_channels();
        whole("values of the latents", latents.len(), one)?;
        let mut decoder = self.decoder(size, how, options);
        let mut pictures = Vec::new();
        for latents in latents.chunks_exact(one) {
            pictures.extend_from_slice(decoder.decode_async(latents).await?);
        }
        Ok(pictures)
    }

    /// Pictures in [0, 1] as bytes, each rounded to the nearest.
    pub fn to_u8(pictures: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; pictures.len()];
        write_u8(pictures, &mut bytes);
        bytes
    }

    /// A rough look at latents, a pixel each, without any network: `(n, h, w, 3)` in [0, 1].
    pub fn project(&self, latents: &[f32]) -> Vec<f32> {
        preview::project(latents, self.info().autoencoder.latent_channels(), &self.info().family)
    }
}

/// Pictures in [0, 1] as bytes, as diffusers rounds them; a NaN never leaves the decoder.
pub(in crate::model) fn write_u8(pictures: &[f32], out: &mut [u8]) {
    out.iter_mut().zip(pictures).for_each(|(out, v)| *out = libm::rintf(v.clamp(0.0, 1.0) * 255.0) as u8);
}

/// The mean of the latents of a picture, or of a tile, in [0, 1].
async fn mean(
    network: &Autoencoder,
    picture: &[f32],
    encoder: &mut Evaluator,
    graph: usize,
) -> Result<Vec<f32>, Error> {
    let Autoencoder::Kl(network) = network else {
        encoder.evaluate_async(graph, &[(Autoencoder::PICTURE, picture)], &[]).await?;
        return Ok(encoder.output(Autoencoder::LATENTS)?.to_vec());
    };
    let centred: Vec<f32> = picture.iter().map(|v| 2.0 * v - 1.0).collect();
    encoder.evaluate_async(graph, &[(AutoencoderKl::PICTURE, centred.as_slice())], &[]).await?;
    let moments = encoder.output(AutoencoderKl::MOMENTS)?;
    let (mut mean, mut log_variance) = (vec![0.0; moments.len() / 2], vec![0.0; moments.len() / 2]);
    network.moments(moments, &mut mean, &mut log_variance);
    Ok(mean)
}

/// A whole number of pictures, at least one.
fn whole(what: &'static str, found: usize, one: usize) -> Result<(), Error> {
    Ok(in_range(what, found, one.max(1), found / one.max(1) * one.max(1))?)
}
