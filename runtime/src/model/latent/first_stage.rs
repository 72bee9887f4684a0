//! The autoencoder of a file, whether the file holds the rest of a model too or not.

use super::super::info::wrong;
use super::super::unet_keys::{n, ns, size, sizes};
use crate::Error;
use crate::gguf::{File, WriteError, Writer};
use crate::model::{Device, Network};
use crate::nn::AutoencoderKl;

/// The first stage of latent diffusion: what makes latents of pictures and pictures of latents.
#[derive(Clone, PartialEq, Debug)]
pub struct FirstStage {
    /// The network.
    pub network: AutoencoderKl,
    /// The U-Net's latents are `(z - shift_factor) * scaling_factor`.
    pub scaling_factor: f32,
    /// See [`Self::scaling_factor`].
    pub shift_factor: f32,
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
        check_factors(scaling_factor, shift_factor)?;
        Ok(Self { network: autoencoder(file)?, scaling_factor, shift_factor })
    }

    /// Writes the keys that [`Self::read`] reads.
    ///
    /// # Errors
    /// A key that is there already.
    pub fn write(&self, w: &mut Writer) -> Result<(), WriteError> {
        let network = &self.network;
        w.meta("nijimi.autoencoder.in_channels", n(network.in_channels))?;
        w.meta("nijimi.autoencoder.out_channels", n(network.out_channels))?;
        w.meta("nijimi.autoencoder.latent_channels", n(network.latent_channels))?;
        w.meta("nijimi.autoencoder.channels", ns(network.channels.iter().copied()))?;
        w.meta("nijimi.autoencoder.layers_per_block", n(network.layers_per_block))?;
        w.meta("nijimi.autoencoder.norm_groups", n(network.norm_groups))?;
        w.meta("nijimi.autoencoder.mid_attention", network.mid_attention)?;
        w.meta("nijimi.autoencoder.quant_conv", network.quant_conv)?;
        w.meta("nijimi.autoencoder.post_quant_conv", network.post_quant_conv)?;
        w.meta(SCALING, self.scaling_factor)?;
        w.meta(SHIFT, self.shift_factor)
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

/// That latents can be scaled and shifted so.
pub(super) fn check_factors(scaling: f32, shift: f32) -> Result<(), Error> {
    if !shift.is_finite() {
        return Err(wrong(SHIFT, shift, "a finite number"));
    }
    let positive = scaling > 0.0 && scaling.is_finite();
    if positive { Ok(()) } else { Err(wrong(SCALING, scaling, "a positive number")) }
}

fn autoencoder(file: &File<'_>) -> Result<AutoencoderKl, Error> {
    let network = AutoencoderKl {
        in_channels: size(file, "nijimi.autoencoder.in_channels")?,
        out_channels: size(file, "nijimi.autoencoder.out_channels")?,
        latent_channels: size(file, "nijimi.autoencoder.latent_channels")?,
        channels: sizes(file, "nijimi.autoencoder.channels")?,
        layers_per_block: size(file, "nijimi.autoencoder.layers_per_block")?,
        norm_groups: size(file, "nijimi.autoencoder.norm_groups")?,
        mid_attention: file.bool("nijimi.autoencoder.mid_attention")?,
        quant_conv: file.bool("nijimi.autoencoder.quant_conv")?,
        post_quant_conv: file.bool("nijimi.autoencoder.post_quant_conv")?,
    };
    network.validate()?;
    Ok(network)
}
