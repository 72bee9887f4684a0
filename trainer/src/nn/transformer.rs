//! The spatial transformer: pixels attend to one another and to the words of a text. The twin of the runtime's
//! `nn/transformer.rs`, under the same names.
use super::layers::{Conv2d, GroupNorm, Norm};
use super::tokens::{Attention, AttentionNames, LayerNorm, TokenLinear};
use crate::ops::{Activation, Kit, Mask, Precision};
use crate::param::{Module, Visitor};
use crate::tensor::{T3, T4, Tp};
use dfdx::prelude::*;

/// diffusers' fixed epsilons of `Transformer2DModel` and `BasicTransformerBlock`.
const GROUP_EPS: f32 = 1e-6;
const LAYER_EPS: f32 = 1e-5;

/// Sizes of a transformer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Channels of the picture.
    pub channels: usize,
    /// Number of heads; divides the channels.
    pub heads: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Width of the text's states.
    pub text_width: usize,
    /// Ranges of channels of the normalization before; divides the channels.
    pub groups: usize,
    /// The projections before and after are linear layers (SD 2.x and SDXL), not 1x1 convolutions (SD 1.x).
    pub linear_projection: bool,
}

/// A map of each pixel's channels: one of two shapes of the same weights.
#[derive(Clone)]
enum Projection<D: Kit> {
    Linear(TokenLinear<D>),
    Conv(Conv2d<D>),
}

impl<D: Kit> Projection<D> {
    fn zeroed(self) -> Self {
        match self {
            Self::Linear(layer) => Self::Linear(layer.zeroed()),
            Self::Conv(layer) => Self::Conv(layer.zeroed()),
        }
    }

    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        match self {
            Self::Linear(layer) => layer.visit(prefix, v),
            Self::Conv(layer) => layer.visit(prefix, v),
        }
    }
}

/// diffusers' `BasicTransformerBlock`: self-attention, attention to the text, and a gated layer of four times the width, each
/// beside a shortcut.
#[derive(Clone)]
struct Block<D: Kit> {
    norms: [LayerNorm<D>; 3],
    attn1: Attention<D>,
    attn2: Attention<D>,
    ff_in: TokenLinear<D>,
    ff_out: TokenLinear<D>,
}

impl<D: Kit> Block<D> {
    fn new(device: &D, seed: u64, name: &str, sizes: &Sizes, precision: Precision) -> Self {
        let c = sizes.channels;
        let attention = |part: &str, seen| {
            let name = format!("{name}.{part}");
            Attention::new((device, seed, &name), AttentionNames::UNET, [c, seen], sizes.heads, precision)
        };
        let linear = |part: &str, sides| {
            TokenLinear::new(device, seed, &format!("{name}.ff.net.{part}"), sides, true, precision)
        };
        Self {
            norms: [(); 3].map(|()| LayerNorm::new(device, c, LAYER_EPS)),
            attn1: attention("attn1", c),
            attn2: attention("attn2", sizes.text_width),
            ff_in: linear("0.proj", [c, 8 * c]),
            ff_out: linear("2", [4 * c, c]),
        }
    }

    fn forward<T: Tp<D>>(&self, x: T3<D, T>, text: &T3<D>) -> T3<D, T> {
        let [norm1, norm2, norm3] = &self.norms;
        let (x, tape) = x.split_tape();
        let y = self.attn1.forward(norm1.forward(x.clone().put_tape(tape)), None, Mask::None);
        let (x, tape) = D::add(y, x.retaped::<T>()).split_tape();
        let y = self.attn2.forward(norm2.forward(x.clone().put_tape(tape)), Some(text), Mask::None);
        let (x, tape) = D::add(y, x.retaped::<T>()).split_tape();
        let y = D::geglu(self.ff_in.forward(norm3.forward(x.clone().put_tape(tape))));
        D::add(self.ff_out.forward(y), x.retaped::<T>())
    }

    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        let [norm1, norm2, norm3] = &mut self.norms;
        norm1.visit(&format!("{prefix}.norm1"), v);
        self.attn1.visit(&format!("{prefix}.attn1"), v);
        norm2.visit(&format!("{prefix}.norm2"), v);
        self.attn2.visit(&format!("{prefix}.attn2"), v);
        norm3.visit(&format!("{prefix}.norm3"), v);
        self.ff_in.visit(&format!("{prefix}.ff.net.0.proj"), v);
        self.ff_out.visit(&format!("{prefix}.ff.net.2"), v);
    }
}

/// diffusers' `Transformer2DModel` (Rombach et al. 2022, section 3.3), which begins as the identity.
#[derive(Clone)]
pub struct Transformer<D: Kit> {
    norm: GroupNorm<D>,
    proj_in: Projection<D>,
    blocks: Vec<Block<D>>,
    proj_out: Projection<D>,
}

impl<D: Kit> Transformer<D> {
    /// A network with random weights, keyed by seed and name.
    pub fn new(device: &D, seed: u64, name: &str, sizes: &Sizes, precision: Precision) -> Self {
        let c = sizes.channels;
        let project = |part: &str| {
            let name = format!("{name}.{part}");
            if sizes.linear_projection {
                Projection::Linear(TokenLinear::new(device, seed, &name, [c, c], true, precision))
            } else {
                Projection::Conv(Conv2d::new(device, seed, &name, c, c, 1).with_precision(precision))
            }
        };
        let block = |i| Block::new(device, seed, &format!("{name}.transformer_blocks.{i}"), sizes, precision);
        Self {
            norm: GroupNorm::new(device, c, Norm { groups: sizes.groups, eps: GROUP_EPS }),
            proj_in: project("proj_in"),
            blocks: (0..sizes.layers).map(block).collect(),
            proj_out: project("proj_out").zeroed(),
        }
    }

    /// `x` (n, channels, h, w) to the same; `text` (n, tokens, text_width), whose tape is part of `x`'s.
    pub fn forward<T: Tp<D>>(&self, x: T4<D, T>, text: &T3<D>) -> T4<D, T> {
        let (x, tape) = x.split_tape();
        let (_, _, h, w) = *x.shape();
        let y = self.norm.forward(x.clone().put_tape(tape), Activation::None);
        let y = match &self.proj_in {
            Projection::Linear(layer) => layer.forward(D::tokens(y)),
            Projection::Conv(layer) => D::tokens(layer.forward(y)),
        };
        let y = self.blocks.iter().fold(y, |y, block| block.forward(y, text));
        let y = match &self.proj_out {
            Projection::Linear(layer) => D::pictures(layer.forward(y), (h, w)),
            Projection::Conv(layer) => layer.forward(D::pictures(y, (h, w))),
        };
        D::add(y, x.retaped::<T>())
    }
}

impl<D: Kit> Module<D> for Transformer<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.norm.visit(&format!("{prefix}.norm"), v);
        self.proj_in.visit(&format!("{prefix}.proj_in"), v);
        for (i, block) in self.blocks.iter_mut().enumerate() {
            block.visit(&format!("{prefix}.transformer_blocks.{i}"), v);
        }
        self.proj_out.visit(&format!("{prefix}.proj_out"), v);
    }
}
