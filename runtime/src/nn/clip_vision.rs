//! CLIP's image encoder: a transformer that looks at the patches of a picture (Radford et al. 2021, section 2.4; Dosovitskiy et al.
//! 2020, "An Image is Worth 16x16 Words"), as IP-Adapters read it.
//!
//! The tensors have the names of transformers' `CLIPVisionModelWithProjection`.

use super::clip_layer::ClipLayer;
use super::unshuffle::pixel_unshuffle;
use super::{NetworkError, range};
use crate::graph::{Activation, Graph, Shape};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// The encoder's configuration; the field in brackets is that of `config.json`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ClipVision {
    /// Height and width of the pictures that it is shown, in pixels (`image_size`).
    pub size: usize,
    /// Side of a patch; divides the size (`patch_size`).
    pub patch: usize,
    /// Channels of a patch's state (`hidden_size`).
    pub width: usize,
    /// Transformer layers (`num_hidden_layers`).
    pub layers: usize,
    /// Heads of attention; divides the width (`num_attention_heads`).
    pub heads: usize,
    /// Features between the two linear layers of a perceptron (`intermediate_size`).
    pub hidden: usize,
    /// Their function, [`Activation::QuickGelu`] or [`Activation::Gelu`] (`hidden_act`).
    pub activation: Activation,
    /// Of the layer norms (`layer_norm_eps`).
    pub eps: f32,
    /// Features of what it says of the whole picture (`projection_dim`).
    pub projection: usize,
}

/// Which of the encoder's states are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VisionStates {
    /// One for the whole picture, projected (`image_embeds`).
    Whole,
    /// Those of all patches before the last layer (`hidden_states[-2]`), one for the whole first.
    Patches,
}

/// Red, green and blue.
const CHANNELS: usize = 3;

impl ClipVision {
    /// The name of the input of patches ([`Self::patches`]), `(1, 1, tokens, channels)`.
    pub const PATCHES: &'static str = "patches";
    /// The name of the output, `(1, 1, 1, projection)` or `(1, 1, tokens, width)`.
    pub const STATES: &'static str = "states";

    /// Of the pictures that it was trained on, by red, green and blue (transformers' `OPENAI_CLIP_MEAN` and `_STD`).
    pub const MEAN: [f32; CHANNELS] = [0.48145466, 0.4578275, 0.40821073];
    /// See [`Self::MEAN`].
    pub const STD: [f32; CHANNELS] = [0.26862954, 0.2613026, 0.2757771];

    /// OpenCLIP's ViT-H/14, that of most IP-Adapters.
    pub const OPEN_CLIP_H: Self = Self {
        size: 224,
        patch: 14,
        width: 1280,
        layers: 32,
        heads: 16,
        hidden: 5120,
        activation: Activation::Gelu,
        eps: 1e-5,
        projection: 1024,
    };
    /// OpenCLIP's ViT-bigG/14, that of SDXL's first IP-Adapter.
    pub const OPEN_CLIP_BIG_G: Self =
        Self { width: 1664, layers: 48, hidden: 8192, projection: 1280, ..Self::OPEN_CLIP_H };

    /// States of a picture: one a patch, and one for the whole.
    pub fn tokens(&self) -> usize {
        1 + (self.size / self.patch.max(1)).pow(2)
    }

    /// Width of the states that are wanted, and how many there are.
    pub fn states(&self, states: VisionStates) -> [usize; 2] {
        match states {
            VisionStates::Whole => [self.projection, 1],
            VisionStates::Patches => [self.width, self.tokens()],
        }
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("image_size", self.size, 1, 4096)?;
        range("patch_size", self.patch, 1, self.size)?;
        let whole = self.size.next_multiple_of(self.patch);
        range("image_size", self.size, whole, whole)?;
        range("width", self.width, 1, 65536)?;
        range("layers", self.layers, 1, 1024)?;
        range("heads", self.heads, 1, self.width)?;
        range("hidden", self.hidden, 1, 1 << 20)?;
        range("projection", self.projection, 1, 65536)
    }

    /// A picture `(size, size, 3)`, normalized, as the graph takes it: nothing, in the place of the whole, then patch by patch.
    pub fn patches(&self, picture: &[f32]) -> Vec<f32> {
        let mut patches = vec![0.0; CHANNELS * self.patch * self.patch];
        patches.extend(pixel_unshuffle(picture, self.size, CHANNELS, self.patch));
        patches
    }

    /// The ids that an evaluation takes.
    pub fn ids(&self, states: VisionStates) -> Vec<Option<u32>> {
        let tokens = self.tokens() as u32;
        let class = (0..tokens).map(|i| (i == 0).then_some(0));
        let whole = Some(Some(0)).filter(|_| states == VisionStates::Whole);
        class.chain((0..tokens).map(Some)).chain(whole).collect()
    }

    /// The network for one picture. Its tensors' names begin with `prefix`, and then `vision_model.` or `visual_projection.`; there
    /// are the same ones whichever states are wanted.
    ///
    /// # Errors
    /// A configuration that is out of its range.
    pub fn graph(&self, prefix: &str, states: VisionStates) -> Result<Graph, NetworkError> {
        self.validate()?;
        let mut g = Graph::new();
        let (tokens, width) = (self.tokens(), self.width);
        let patches = g.input(Self::PATCHES, Shape::new(1, 1, tokens, CHANNELS * self.patch * self.patch))?;
        let class = g.input_ids("class", tokens);
        let places = g.input_ids("places", tokens);
        let name = format!("{prefix}vision_model.embeddings");
        // Without a bias nothing stays nothing: that is where the vector of the whole goes.
        let x = g.linear(&format!("{name}.patch_embedding"), patches, width, false)?;
        let x = g.reshape(&name, x, Shape::vector(tokens, width))?;
        let x = g.embedding_add(&format!("{name}.class_embedding"), x, class, 1)?;
        let x = g.embedding_add(&format!("{name}.position_embedding"), x, places, tokens)?;
        let x = g.reshape(&name, x, Shape::new(1, 1, tokens, width))?;
        // The published name has no e.
        let mut x = g.layer_norm(&format!("{prefix}vision_model.pre_layrnorm"), x, self.eps)?;
        let &Self { heads, hidden, activation, eps, .. } = self;
        let layer = ClipLayer { width, heads, hidden, activation, eps, causal: false };
        let mut before = x;
        for i in 0..self.layers {
            before = x;
            x = layer.build(&mut g, &format!("{prefix}vision_model.encoder.layers.{i}"), x)?;
        }
        let (whole, normed) = (states == VisionStates::Whole, format!("{prefix}vision_model.post_layernorm"));
        if whole {
            let end = g.input_ids("end", 1);
            x = g.select_token(&format!("{normed}.whole"), x, end)?;
        }
        // Where they are not wanted, they stay in the graph for their tensors, and no plan runs them.
        let x = g.layer_norm(&normed, x, self.eps)?;
        let x = g.linear(&format!("{prefix}visual_projection"), x, self.projection, false)?;
        g.output(Self::STATES, if whole { x } else { before })?;
        Ok(g)
    }
}
