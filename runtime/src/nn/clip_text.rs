//! CLIP's text encoder: a transformer that reads one window of token ids (Radford et al. 2021, "Learning Transferable
//! Visual Models From Natural Language Supervision", section 2.4), as Stable Diffusion conditions on it.
//!
//! The tensors have the names of transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`.

use super::clip_layer::ClipLayer;
use super::{NetworkError, range};
use crate::graph::{Activation, Graph, GraphError, IdsId, ValueId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The encoder's configuration; the field in brackets is that of `config.json`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ClipText {
    /// Rows of the token embedding (`vocab_size`).
    pub vocabulary: usize,
    /// Rows of the position embedding: the most tokens of a window (`max_position_embeddings`).
    pub positions: usize,
    /// Channels of a token's state (`hidden_size`).
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
    /// Features of the pooled state, if the model projects it (`projection_dim` of a `CLIPTextModelWithProjection`).
    pub projection: Option<usize>,
}

/// Which of the encoder's states are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextStates {
    /// Layers at the end whose work the state does without: 0 in SD 1.x and 2.x (whose published encoder lacks the last
    /// layer already), 1 in SDXL: `clip_skip - 1` of stable-diffusion.cpp and A1111, whose 1 is the last layer.
    pub skip: usize,
    /// Whether the state passes the final layer norm: in SD 1.x and 2.x, not in SDXL.
    pub normed: bool,
    /// Whether the pooled state is wanted, which is of the last layer whatever is skipped.
    pub pooled: bool,
}

impl TextStates {
    /// SD 1.x and 2.x.
    pub const LAST: Self = Self { skip: 0, normed: true, pooled: false };
    /// The first encoder of SDXL. The second also has `pooled`.
    pub const PENULTIMATE: Self = Self { skip: 1, normed: false, pooled: false };
}

impl ClipText {
    /// The name of the input of token ids, a window a text.
    pub const TOKENS: &'static str = "tokens";
    /// The name of the input of places, one a text, where the state is pooled: see [`Self::end`]. Absent if the pooled
    /// state is not wanted.
    pub const END: &'static str = "end";
    /// The name of the output of states, `(n, 1, tokens, width)`.
    pub const STATE: &'static str = "state";
    /// The name of the output of pooled states, `(n, 1, 1, projection or width)`.
    pub const POOLED: &'static str = "pooled";

    /// ViT-L/14, the encoder of SD 1.x and the first of SDXL.
    pub const VIT_L_14: Self = Self {
        vocabulary: 49408,
        positions: 77,
        width: 768,
        layers: 12,
        heads: 12,
        hidden: 3072,
        activation: Activation::QuickGelu,
        eps: 1e-5,
        projection: None,
    };
    /// OpenCLIP's ViT-H/14 without its last layer, the encoder of SD 2.x.
    pub const OPEN_CLIP_H: Self =
        Self { width: 1024, layers: 23, heads: 16, hidden: 4096, activation: Activation::Gelu, ..Self::VIT_L_14 };
    /// OpenCLIP's ViT-bigG/14, the second encoder of SDXL.
    pub const OPEN_CLIP_BIG_G: Self = Self {
        width: 1280,
        layers: 32,
        heads: 20,
        hidden: 5120,
        activation: Activation::Gelu,
        projection: Some(1280),
        ..Self::VIT_L_14
    };

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("vocabulary", self.vocabulary, 1, 1 << 24)?;
        range("positions", self.positions, 1, 65536)?;
        range("width", self.width, 1, 65536)?;
        range("layers", self.layers, 1, 1024)?;
        range("heads", self.heads, 1, self.width)?;
        range("hidden", self.hidden, 1, 1 << 20)?;
        self.projection.map_or(Ok(()), |features| range("projection", features, 1, 65536))
    }

    /// The network for `batch` windows of `tokens` ids. Its tensors' names begin with `prefix`, such as
    /// `text_encoder.`, and then `text_model.` or `text_projection.`; there are the same ones whichever states are wanted.
    ///
    /// # Errors
    /// A configuration or a request that is out of its range.
    pub fn graph(&self, prefix: &str, [batch, tokens]: [usize; 2], states: TextStates) -> Result<Graph, NetworkError> {
        self.validate()?;
        range("tokens", tokens, 1, self.positions)?;
        range("skipped layers", states.skip, 0, self.layers - 1)?;
        let mut g = Graph::new();
        let count = batch.saturating_mul(tokens);
        let ids = g.input_ids(Self::TOKENS, count);
        let end = states.pooled.then(|| g.input_ids(Self::END, batch));
        let names = ["token", "position"].map(|of| format!("{prefix}text_model.embeddings.{of}_embedding"));
        let sizes = [batch, tokens, self.width];
        let mut x = g.token_embedding([&names[0], &names[1]], ids, sizes, [self.vocabulary, self.positions])?;
        let mut state = x;
        for i in 0..self.layers {
            x = self.layer().build(&mut g, &format!("{prefix}text_model.encoder.layers.{i}"), x)?;
            if i + states.skip + 1 == self.layers {
                state = x;
            }
        }
        let norm = format!("{prefix}text_model.final_layer_norm");
        let last = g.layer_norm(&norm, x, self.eps)?;
        if states.normed {
            state = if states.skip == 0 { last } else { g.layer_norm(&norm, state, self.eps)? };
        }
        g.output(Self::STATE, state)?;
        self.pool(&mut g, prefix, last, end)?;
        Ok(g)
    }

    fn layer(&self) -> ClipLayer {
        let &Self { width, heads, hidden, activation, eps, .. } = self;
        ClipLayer { width, heads, hidden, activation, eps, causal: true }
    }

    /// The pooled state. Where it is not wanted, what projects it stays in the graph, for its tensor, and no plan runs it.
    fn pool(&self, g: &mut Graph, prefix: &str, last: ValueId, end: Option<IdsId>) -> Result<(), GraphError> {
        let mut pooled = last;
        if let Some(end) = end {
            pooled = g.select_token(&format!("{prefix}text_model.pooled"), last, end)?;
        }
        if let Some(features) = self.projection {
            pooled = g.linear(&format!("{prefix}text_projection"), pooled, features, false)?;
        }
        if end.is_some() { g.output(Self::POOLED, pooled) } else { Ok(()) }
    }

    /// Where the state of a window is pooled: at its first `end`, or at its beginning if there is none.
    pub fn end(window: &[u32], end: u32) -> u32 {
        window.iter().position(|id| *id == end).unwrap_or(0) as u32
    }

    /// The ids that an evaluation takes: those of all windows, and, with `end`, the places where they are pooled.
    ///
    /// # Errors
    /// An id that the token embedding has no row for: the tokenizer is not this model's.
    pub fn ids(&self, windows: &[&[u32]], end: Option<u32>) -> Result<Vec<Option<u32>>, NetworkError> {
        let all = || windows.iter().copied().flatten().copied();
        if let Some(id) = all().find(|id| *id as usize >= self.vocabulary) {
            return Err(NetworkError::Token { id, vocabulary: self.vocabulary });
        }
        let places = end.into_iter().flat_map(|end| windows.iter().map(move |window| Self::end(window, end)));
        Ok(all().chain(places).map(Some).collect())
    }

    /// The function that `hidden_act` names.
    pub fn activation_of(hidden_act: &str) -> Option<Activation> {
        match hidden_act {
            "quick_gelu" => Some(Activation::QuickGelu),
            "gelu" => Some(Activation::Gelu),
            _ => None,
        }
    }

    /// What names the function in a weight file: `quick_gelu` or `gelu`.
    pub fn hidden_act(&self) -> String {
        String::from(if self.activation == Activation::QuickGelu { "quick_gelu" } else { "gelu" })
    }
}

#[cfg(test)]
mod tests;
