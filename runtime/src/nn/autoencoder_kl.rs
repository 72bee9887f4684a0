//! Stable Diffusion's autoencoder (diffusers' `AutoencoderKL`), encoder and decoder apart.

use super::patches::{PATCH, unpatch};
use super::resnet::{Norm, resnet};
use super::transformer::attention_block;
use super::{NetworkError, range};
use crate::graph::{Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// diffusers' fixed epsilon of this network.
const EPS: f32 = 1e-6;

/// The autoencoder's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AutoencoderKl {
    /// Channels of the picture that is encoded.
    pub in_channels: usize,
    /// Channels of the picture that is decoded.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of each level, the largest picture first (`block_out_channels`). Between levels, sides halve.
    pub channels: Vec<usize>,
    /// Residual blocks of a level of the encoder; the decoder's have one more.
    pub layers_per_block: usize,
    /// Ranges of channels of each group normalization.
    pub norm_groups: usize,
    /// Whether the middle attends (`mid_block_add_attention`).
    pub mid_attention: bool,
    /// Whether a 1x1 convolution follows the encoder (`use_quant_conv`).
    pub quant_conv: bool,
    /// Whether a 1x1 convolution precedes the decoder (`use_post_quant_conv`).
    pub post_quant_conv: bool,
    /// Whether squares of 2x2 latents are one of four times the channels, FLUX.2's: its convolutions after the encoder and before
    /// the decoder pack and unpack.
    pub packed: bool,
}

impl AutoencoderKl {
    /// The name of the pictures, in [-1, 1], `(n, h, w, channels)`: the encoder's input, the decoder's output.
    pub const PICTURE: &'static str = "picture";
    /// The name of the decoder's input: latents, divided by the scaling factor, `(n, h / f, w / f, latent_channels)`.
    pub const LATENTS: &'static str = "latents";
    /// The name of the encoder's output, `(n, h / f, w / f, 2 latent_channels)`: each pixel's means, then its log
    /// variances ([`Self::moments`]).
    pub const MOMENTS: &'static str = "moments";

    /// How many times a picture's side is that of its latents.
    pub fn factor(&self) -> usize {
        1 << (self.channels.len().saturating_sub(1).min(15) + usize::from(self.packed))
    }

    /// Channels of latents before they are packed.
    const fn inner_channels(&self) -> usize {
        if self.packed { self.latent_channels / 4 } else { self.latent_channels }
    }

    /// Takes the encoder's output apart: means, and log variances held to [-30, 20] (diffusers'
    /// `DiagonalGaussianDistribution`). All channels last.
    pub fn moments(&self, moments: &[f32], mean: &mut [f32], log_variance: &mut [f32]) {
        let c = self.latent_channels.max(1);
        let parts = mean.chunks_exact_mut(c).zip(log_variance.chunks_exact_mut(c));
        for (pixel, (mean, log_variance)) in moments.chunks_exact(2 * c).zip(parts) {
            mean.copy_from_slice(&pixel[..c]);
            log_variance.iter_mut().zip(&pixel[c..]).for_each(|(y, x)| *y = x.clamp(-30.0, 20.0));
        }
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("in_channels", self.in_channels, 1, 1024)?;
        range("out_channels", self.out_channels, 1, 1024)?;
        range("latent_channels", self.latent_channels, 1, 1024)?;
        range("number of levels", self.channels.len(), 1, 12)?;
        for &c in &self.channels {
            range("channels", c, 1, 16384)?;
        }
        range("layers_per_block", self.layers_per_block, 1, 16)?;
        if self.packed {
            range("latent channels beside whole squares", self.latent_channels % 4, 0, 0)?;
            let convolutions = usize::from(self.quant_conv) + usize::from(self.post_quant_conv);
            range("convolutions that pack and unpack", convolutions, 2, 2)?;
        }
        range("norm_groups", self.norm_groups, 1, 16384)
    }

    /// The encoder of `batch` pictures of `height` x `width` pixels, its tensors' names after `prefix` (`vae.`, or nothing).
    ///
    /// # Errors
    /// A configuration that is no network; sides that are not multiples of [`Self::factor`].
    pub fn encoder(&self, prefix: &str, batch: usize, [height, width]: [usize; 2]) -> Result<Graph, NetworkError> {
        self.validate()?;
        let (multiple, levels) = (self.factor(), self.channels.len() - 1);
        if height % multiple != 0 || width % multiple != 0 {
            let halvings = levels + usize::from(self.packed);
            return Err(NetworkError::Sides { height, width, halvings, multiple });
        }
        let g = &mut Graph::new();
        let at = |part: &str| format!("{prefix}encoder.{part}");
        let picture = g.input(Self::PICTURE, Shape::new(batch, height, width, self.in_channels))?;
        let mut x = g.conv2d(&at("conv_in"), picture, self.channels[0], [3, 1, 1], true)?;
        for (i, &c) in self.channels.iter().enumerate() {
            let name = at(&format!("down_blocks.{i}"));
            for j in 0..self.layers_per_block {
                x = resnet(g, &format!("{name}.resnets.{j}"), x, c, self.norm(), None)?;
            }
            if i < levels {
                // One line of zeros below and right only.
                x = g.conv2d_padded(&format!("{name}.downsamplers.0.conv"), x, c, [3, 2, 0, 1], true)?;
            }
        }
        x = self.mid(g, &at("mid_block"), x)?;
        x = self.last(g, [at("conv_norm_out"), at("conv_out")], x, 2 * self.inner_channels())?;
        if self.quant_conv {
            let side = if self.packed { PATCH } else { 1 };
            x = g.conv2d(&format!("{prefix}quant_conv"), x, 2 * self.latent_channels, [side, side, 0], true)?;
        }
        g.output(Self::MOMENTS, x)?;
        Ok(core::mem::take(g))
    }

    /// The decoder of `batch` latents of `height` x `width`, its tensors' names after `prefix` (`vae.`, or nothing).
    ///
    /// # Errors
    /// A configuration that is no network, or activations that exceed what can be addressed.
    pub fn decoder(&self, prefix: &str, batch: usize, [height, width]: [usize; 2]) -> Result<Graph, NetworkError> {
        self.validate()?;
        let g = &mut Graph::new();
        let at = |part: &str| format!("{prefix}decoder.{part}");
        let mut x = g.input(Self::LATENTS, Shape::new(batch, height, width, self.latent_channels))?;
        if self.post_quant_conv {
            x = g.conv2d(&format!("{prefix}post_quant_conv"), x, self.latent_channels, [1, 1, 0], true)?;
        }
        if self.packed {
            x = unpatch(g, &format!("{prefix}unpack"), x)?;
        }
        let last = self.channels.len() - 1;
        x = g.conv2d(&at("conv_in"), x, self.channels[last], [3, 1, 1], true)?;
        x = self.mid(g, &at("mid_block"), x)?;
        for (i, &c) in self.channels.iter().rev().enumerate() {
            let name = at(&format!("up_blocks.{i}"));
            for j in 0..=self.layers_per_block {
                x = resnet(g, &format!("{name}.resnets.{j}"), x, c, self.norm(), None)?;
            }
            if i < last {
                x = g.upsample_nearest2(&format!("{name}.upsamplers.0"), x)?;
                x = g.conv2d(&format!("{name}.upsamplers.0.conv"), x, c, [3, 1, 1], true)?;
            }
        }
        x = self.last(g, [at("conv_norm_out"), at("conv_out")], x, self.out_channels)?;
        g.output(Self::PICTURE, x)?;
        Ok(core::mem::take(g))
    }

    const fn norm(&self) -> Norm {
        Norm { groups: self.norm_groups, eps: EPS }
    }

    /// A residual block, attention of one head, and another residual block.
    fn mid(&self, g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let c = g.shape(x).c;
        let mut x = resnet(g, &format!("{name}.resnets.0"), x, c, self.norm(), None)?;
        if self.mid_attention {
            x = attention_block(g, &format!("{name}.attentions.0"), x, 1, self.norm())?;
        }
        resnet(g, &format!("{name}.resnets.1"), x, c, self.norm(), None)
    }

    fn last(
        &self,
        g: &mut Graph,
        [norm, conv]: [alloc::string::String; 2],
        x: ValueId,
        out: usize,
    ) -> Result<ValueId, GraphError> {
        let x = g.group_norm(&norm, x, self.norm_groups, EPS)?;
        let x = g.silu(&format!("{norm}.act"), x)?;
        g.conv2d(&conv, x, out, [3, 1, 1], true)
    }
}
