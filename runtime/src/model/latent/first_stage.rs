//! The autoencoder of a file, whether the file holds the rest of a model too or not.

use super::super::info::wrong;
use super::super::unet_keys::{n, ns, size, sizes};
use crate::Error;
use crate::gguf::{File, WriteError, Writer};
use crate::model::{Device, ModelError, Network};
use crate::nn::{Autoencoder, AutoencoderKl, AutoencoderTiny};
use alloc::format;
use alloc::vec::Vec;

/// The first stage of latent diffusion: what makes latents of pictures and pictures of latents.
#[derive(Clone, PartialEq, Debug)]
pub struct FirstStage {
    /// The network.
    pub network: Autoencoder,
    /// The U-Net's latents are `(z - shift_factor) * scaling_factor`.
    pub scaling_factor: f32,
    /// See [`Self::scaling_factor`].
    pub shift_factor: f32,
    /// Of each latent channel, mean and standard deviation, by which it is brought to 0 and 1 before it is scaled
    /// (Playground 2.5): the U-Net's latents are then `((z - mean) / std - shift_factor) * scaling_factor`.
    pub statistics: Option<LatentStatistics>,
}

/// What latents are like in the mean, channel by channel.
#[derive(Clone, PartialEq, Debug)]
pub struct LatentStatistics {
    /// `latents_mean`.
    pub mean: Vec<f32>,
    /// `latents_std`.
    pub std: Vec<f32>,
}

impl LatentStatistics {
    /// The autoencoder's latents of normalized ones, in place.
    pub(super) fn undo(&self, z: &mut [f32]) {
        for z in z.chunks_exact_mut(self.mean.len().max(1)) {
            z.iter_mut().zip(&self.std).zip(&self.mean).for_each(|((z, std), mean)| *z = *z * std + mean);
        }
    }

    /// The reverse of [`Self::undo`].
    pub(super) fn apply(&self, z: &mut [f32]) {
        for z in z.chunks_exact_mut(self.mean.len().max(1)) {
            z.iter_mut().zip(&self.std).zip(&self.mean).for_each(|((z, std), mean)| *z = (*z - mean) / std);
        }
    }
}

impl FirstStage {
    /// `nijimi.system` of a file that holds nothing else.
    pub const SYSTEM: &'static str = "autoencoder-kl";
    /// What its tensors' names begin with.
    pub const PREFIX: &'static str = "vae.";
    /// The same of its two halves.
    pub(super) const ENCODER: [&'static str; 2] = ["vae.encoder.", "vae.quant_conv."];
    pub(super) const DECODER: [&'static str; 2] = ["vae.decoder.", "vae.post_quant_conv."];

    /// Reads a file's metadata, and no tensor.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type, or makes no sense.
    pub fn read(file: &File<'_>) -> Result<Self, Error> {
        let [shift_factor, scaling_factor] = [SHIFT, SCALING].map(|key| file.f32(key));
        let (shift_factor, scaling_factor) = (shift_factor?, scaling_factor?);
        let statistics = match file.get(MEAN).or(file.get(STD)) {
            None => None,
            Some(_) => Some(LatentStatistics { mean: file.f32s(MEAN)?, std: file.f32s(STD)? }),
        };
        let stage = Self { network: autoencoder(file)?, scaling_factor, shift_factor, statistics };
        stage.check()?;
        Ok(stage)
    }

    /// Writes the keys that [`Self::read`] reads.
    ///
    /// # Errors
    /// A key that is there already.
    pub fn write(&self, w: &mut Writer) -> Result<(), WriteError> {
        let network = &self.network;
        if network.is_tiny() {
            w.meta(NETWORK, TINY)?;
        }
        w.meta("nijimi.autoencoder.in_channels", n(network.in_channels()))?;
        w.meta("nijimi.autoencoder.out_channels", n(network.out_channels()))?;
        w.meta("nijimi.autoencoder.latent_channels", n(network.latent_channels()))?;
        match network {
            Autoencoder::Kl(network) => {
                w.meta("nijimi.autoencoder.channels", ns(network.channels.iter().copied()))?;
                w.meta("nijimi.autoencoder.layers_per_block", n(network.layers_per_block))?;
                w.meta("nijimi.autoencoder.norm_groups", n(network.norm_groups))?;
                w.meta("nijimi.autoencoder.mid_attention", network.mid_attention)?;
                w.meta("nijimi.autoencoder.quant_conv", network.quant_conv)?;
                w.meta("nijimi.autoencoder.post_quant_conv", network.post_quant_conv)?;
                if network.packed {
                    w.meta(PACKED, true)?;
                }
            }
            Autoencoder::Tiny(network) => {
                let levels = network.decoder_blocks.len();
                w.meta("nijimi.autoencoder.channels", ns((0..levels).map(|_| network.channels)))?;
                w.meta(ENCODER_BLOCKS, ns(network.encoder_blocks.iter().copied()))?;
                w.meta(DECODER_BLOCKS, ns(network.decoder_blocks.iter().copied()))?;
            }
        }
        w.meta(SCALING, self.scaling_factor)?;
        w.meta(SHIFT, self.shift_factor)?;
        if let Some(LatentStatistics { mean, std }) = &self.statistics {
            w.meta(MEAN, mean.clone())?;
            w.meta(STD, std.clone())?;
        }
        Ok(())
    }

    /// That latents can be scaled, shifted and normalized so.
    ///
    /// # Errors
    /// A number that is none; means and deviations that are not one a channel.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !self.shift_factor.is_finite() {
            return Err(wrong(SHIFT, self.shift_factor, "a finite number"));
        }
        if !(self.scaling_factor > 0.0 && self.scaling_factor.is_finite()) {
            return Err(wrong(SCALING, self.scaling_factor, "a positive number"));
        }
        let Some(LatentStatistics { mean, std }) = &self.statistics else { return Ok(()) };
        let channels = self.network.latent_channels();
        for (key, values) in [(MEAN, mean), (STD, std)] {
            if values.len() != channels {
                return Err(wrong(
                    key,
                    format!("{} numbers", values.len()),
                    format!("{channels}, one a latent channel"),
                ));
            }
        }
        if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
            return Err(wrong(MEAN, mean, "finite numbers"));
        }
        match std.iter().find(|std| !(**std > 0.0 && std.is_finite())) {
            Some(std) => Err(wrong(STD, std, "positive numbers")),
            None => Ok(()),
        }
    }

    /// Encoder and decoder, loaded for the CPU.
    ///
    /// # Errors
    /// Tensors that are missing or of another shape than the networks'; numbers that are damaged.
    pub fn load(&self, file: &File<'_>) -> Result<[Network; 2], Error> {
        let side = self.network.factor();
        let encoder = self.network.encoder(Self::PREFIX, 1, [side, side])?;
        let decoder = self.network.decoder(Self::PREFIX, 1, [1, 1])?;
        Ok([
            Network::load_part(file, &Self::ENCODER, encoder, &[], &Device::Cpu)?,
            Network::load_part(file, &Self::DECODER, decoder, &[], &Device::Cpu)?,
        ])
    }
}

const SCALING: &str = "nijimi.autoencoder.scaling_factor";
const SHIFT: &str = "nijimi.autoencoder.shift_factor";
const MEAN: &str = "nijimi.autoencoder.latents_mean";
const STD: &str = "nijimi.autoencoder.latents_std";
const PACKED: &str = "nijimi.autoencoder.packed";
/// Which of [`Autoencoder`] it is, where it is not Stable Diffusion's.
const NETWORK: &str = "nijimi.autoencoder.network";
const TINY: &str = "autoencoder-tiny";
const ENCODER_BLOCKS: &str = "nijimi.autoencoder.encoder_blocks";
const DECODER_BLOCKS: &str = "nijimi.autoencoder.decoder_blocks";

fn autoencoder(file: &File<'_>) -> Result<Autoencoder, Error> {
    let network = match file.get(NETWORK).is_some().then(|| file.str(NETWORK)).transpose()? {
        None => Autoencoder::Kl(kl(file)?),
        Some(TINY) => Autoencoder::Tiny(tiny(file)?),
        Some(other) => {
            let (key, found) = (NETWORK, format!("{other:?}"));
            return Err(ModelError::Unsupported { key, found, expected: TINY }.into());
        }
    };
    network.validate()?;
    Ok(network)
}

fn tiny(file: &File<'_>) -> Result<AutoencoderTiny, Error> {
    let (encoder_blocks, decoder_blocks) = (sizes(file, ENCODER_BLOCKS)?, sizes(file, DECODER_BLOCKS)?);
    let key = "nijimi.autoencoder.channels";
    let channels = sizes(file, key)?;
    let levels = decoder_blocks.len();
    if channels.len() != levels || encoder_blocks.len() != levels || channels.iter().any(|c| *c != channels[0]) {
        let expected = format!("{levels} times the same, one a level of {DECODER_BLOCKS} and {ENCODER_BLOCKS}");
        return Err(wrong(key, format!("{channels:?}"), expected));
    }
    Ok(AutoencoderTiny {
        in_channels: size(file, "nijimi.autoencoder.in_channels")?,
        out_channels: size(file, "nijimi.autoencoder.out_channels")?,
        latent_channels: size(file, "nijimi.autoencoder.latent_channels")?,
        channels: channels.first().copied().unwrap_or(0),
        encoder_blocks,
        decoder_blocks,
        // No pipeline's own does (diffusers' AutoencoderTiny).
        pooled: false,
    })
}

fn kl(file: &File<'_>) -> Result<AutoencoderKl, Error> {
    Ok(AutoencoderKl {
        in_channels: size(file, "nijimi.autoencoder.in_channels")?,
        out_channels: size(file, "nijimi.autoencoder.out_channels")?,
        latent_channels: size(file, "nijimi.autoencoder.latent_channels")?,
        channels: sizes(file, "nijimi.autoencoder.channels")?,
        layers_per_block: size(file, "nijimi.autoencoder.layers_per_block")?,
        norm_groups: size(file, "nijimi.autoencoder.norm_groups")?,
        mid_attention: file.bool("nijimi.autoencoder.mid_attention")?,
        quant_conv: file.bool("nijimi.autoencoder.quant_conv")?,
        post_quant_conv: file.bool("nijimi.autoencoder.post_quant_conv")?,
        packed: file.get(PACKED).is_some() && file.bool(PACKED)?,
    })
}
