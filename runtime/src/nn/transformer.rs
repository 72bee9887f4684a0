//! The spatial transformer: pixels attend to one another and to the words of a text; and attention of pixels alone.

use super::resnet::Norm;
use super::sd_unet::Conditions;
use crate::graph::{Graph, GraphError, ValueId};
use alloc::format;

/// diffusers' fixed epsilons of `Transformer2DModel` and `BasicTransformerBlock`.
const GROUP_EPS: f32 = 1e-6;
const LAYER_EPS: f32 = 1e-5;

/// A transformer's sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Transformer {
    /// Number of heads; divides the channels.
    pub heads: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Ranges of channels of the normalization before.
    pub groups: usize,
    /// The projections before and after are linear layers (SD 2.x and SDXL), not 1x1 convolutions (SD 1.x): the same
    /// map, but tensors of another shape.
    pub linear_projection: bool,
}

impl Transformer {
    /// diffusers' `Transformer2DModel` (Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
    /// Models", section 3.3): `x` is `(n, h, w, c)`, `text` `(n, 1, tokens, width)`.
    pub fn build(
        &self,
        g: &mut Graph,
        name: &str,
        x: ValueId,
        text: ValueId,
        conditions: &Conditions,
    ) -> Result<ValueId, GraphError> {
        let c = g.shape(x).c;
        let mut y = g.group_norm(&format!("{name}.norm"), x, self.groups, GROUP_EPS)?;
        y = self.project(g, &format!("{name}.proj_in"), y, c)?;
        for i in 0..self.layers {
            y = self.block(g, &format!("{name}.transformer_blocks.{i}"), [y, text], conditions)?;
        }
        y = self.project(g, &format!("{name}.proj_out"), y, c)?;
        g.add(&format!("{name}.add"), y, x)
    }

    fn project(&self, g: &mut Graph, name: &str, x: ValueId, c: usize) -> Result<ValueId, GraphError> {
        if self.linear_projection { g.linear(name, x, c, true) } else { g.conv2d(name, x, c, [1, 1, 0], true) }
    }

    /// Self-attention, attention to the text, and a gated layer of four times the width, each beside a shortcut.
    fn block(
        &self,
        g: &mut Graph,
        name: &str,
        [x, text]: [ValueId; 2],
        conditions: &Conditions,
    ) -> Result<ValueId, GraphError> {
        let at = |part: &str| format!("{name}.{part}");
        let c = g.shape(x).c;
        let y = g.layer_norm(&at("norm1"), x, LAYER_EPS)?;
        let y = attention(g, &at("attn1"), [y, y], None, self.heads, false)?;
        let x = g.add(&at("add1"), y, x)?;
        let y = g.layer_norm(&at("norm2"), x, LAYER_EPS)?;
        let image = conditions.image(g, &at("attn2"), c)?;
        let y = attention(g, &at("attn2"), [y, text], image, self.heads, false)?;
        let x = g.add(&at("add2"), y, x)?;
        let y = g.layer_norm(&at("norm3"), x, LAYER_EPS)?;
        let y = g.linear_geglu(&at("ff.net.0.proj"), y, 4 * c, true)?;
        let y = g.linear(&at("ff.net.2"), y, c, true)?;
        g.add(&at("add3"), y, x)
    }
}

/// diffusers' `Attention` as a block of its own, as autoencoders and networks without a text have it: norm, attention of the
/// pixels to one another, beside a shortcut.
pub(super) fn attention_block(
    g: &mut Graph,
    name: &str,
    x: ValueId,
    heads: usize,
    norm: Norm,
) -> Result<ValueId, GraphError> {
    let y = g.group_norm(&format!("{name}.group_norm"), x, norm.groups, norm.eps)?;
    let y = attention(g, name, [y, y], None, heads, true)?;
    g.add(&format!("{name}.add"), y, x)
}

/// Attention of `x` to `seen`, with its projections, those to queries, keys and values with a bias if `bias`; added to it, attention
/// to an image's keys and values.
pub(super) fn attention(
    g: &mut Graph,
    name: &str,
    [x, seen]: [ValueId; 2],
    image: Option<[ValueId; 2]>,
    heads: usize,
    bias: bool,
) -> Result<ValueId, GraphError> {
    let at = |part: &str| format!("{name}.{part}");
    let c = g.shape(x).c;
    let q = g.linear(&at("to_q"), x, c, bias)?;
    let k = g.linear(&at("to_k"), seen, c, bias)?;
    let v = g.linear(&at("to_v"), seen, c, bias)?;
    let mut y = g.attention(name, q, k, v, heads, false)?;
    if let Some([k, v]) = image {
        let z = g.attention(&at("image"), q, k, v, heads, false)?;
        y = g.add(&at("image.add"), y, z)?;
    }
    g.linear(&at("to_out.0"), y, c, true)
}
