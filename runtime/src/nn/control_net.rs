//! ControlNet (Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models"; diffusers'
//! `ControlNetModel`): the way down of a U-Net once more, which sees a picture too and makes residuals for the other.

use super::sd_unet::{SdRequest, SdUnet, sides};
use super::{NetworkError, range};
use crate::graph::{Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// A ControlNet's configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct ControlNet {
    /// The U-Net whose way down and middle it has; `out_channels` is ignored here.
    pub unet: SdUnet,
    /// Channels of the picture that controls.
    pub picture_channels: usize,
    /// Channels of the convolutions that bring the picture to the latents' size
    /// (`conditioning_embedding_out_channels`): it halves between two of them.
    pub embedding: Vec<usize>,
}

impl ControlNet {
    /// The name of the picture that controls, in [0, 1], `(n, f h, f w, picture_channels)`, f its [`Self::factor`]. The
    /// other inputs are the U-Net's; the outputs have the names of the U-Net's inputs of residuals
    /// ([`SdUnet::residual`]), which take them times the control's strength.
    pub const PICTURE: &'static str = "control_picture";

    /// How many times the latents' side is that of the picture.
    pub fn factor(&self) -> usize {
        1 << self.embedding.len().saturating_sub(1).min(16)
    }

    /// The network, its tensors' names after `prefix`; [`SdRequest::control`] is ignored here, and so is
    /// [`SdRequest::image`]: it attends to the text alone.
    ///
    /// # Errors
    /// A configuration that is no network; latents of no size that can be.
    pub fn graph(&self, prefix: &str, request: &SdRequest) -> Result<Graph, NetworkError> {
        self.unet.validate()?;
        sides(request)?;
        range("picture_channels", self.picture_channels, 1, 1024)?;
        range("convolutions of the picture", self.embedding.len(), 1, 12)?;
        for &c in &self.embedding {
            range("channels", c, 1, 16384)?;
        }
        let g = &mut Graph::new();
        let (x, conditions) = self.unet.inputs(g, prefix, &SdRequest { image: 0, ..*request })?;
        let (n, f) = (request.batch, self.factor());
        let picture = Shape::new(n, f * request.height, f * request.width, self.picture_channels);
        let picture = g.input(Self::PICTURE, picture)?;
        let picture = self.embed(g, &format!("{prefix}controlnet_cond_embedding"), picture)?;
        let x = g.conv2d(&format!("{prefix}conv_in"), x, self.unet.time_width(), [3, 1, 1], true)?;
        let mut x = g.add(&format!("{prefix}control"), x, picture)?;
        let skips = self.unet.down(g, prefix, x, &conditions, 0)?;
        if let Some(&last) = skips.last() {
            x = self.unet.mid(g, prefix, last, &conditions)?;
        }
        for (i, &skip) in skips.iter().enumerate() {
            let c = g.shape(skip).c;
            let y = g.conv2d(&format!("{prefix}controlnet_down_blocks.{i}"), skip, c, [1, 1, 0], true)?;
            g.output(&SdUnet::residual(Some(i)), y)?;
        }
        let c = g.shape(x).c;
        let y = g.conv2d(&format!("{prefix}controlnet_mid_block"), x, c, [1, 1, 0], true)?;
        g.output(&SdUnet::residual(None), y)?;
        Ok(core::mem::take(g))
    }

    /// diffusers' `ControlNetConditioningEmbedding`.
    fn embed(&self, g: &mut Graph, name: &str, picture: ValueId) -> Result<ValueId, GraphError> {
        let first = self.embedding.first().copied().unwrap_or(1);
        let mut x = g.conv2d(&format!("{name}.conv_in"), picture, first, [3, 1, 1], true)?;
        x = g.silu(&format!("{name}.act"), x)?;
        for (i, pair) in self.embedding.windows(2).enumerate() {
            for (j, c, stride) in [(2 * i, pair[0], 1), (2 * i + 1, pair[1], 2)] {
                x = g.conv2d(&format!("{name}.blocks.{j}"), x, c, [3, stride, 1], true)?;
                x = g.silu(&format!("{name}.blocks.{j}.act"), x)?;
            }
        }
        g.conv2d(&format!("{name}.conv_out"), x, self.unet.time_width(), [3, 1, 1], true)
    }
}
