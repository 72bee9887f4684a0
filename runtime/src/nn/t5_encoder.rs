//! T5's encoder, version 1.1: a language model that reads a text from both sides (Raffel et al. 2020, "Exploring the Limits of
//! Transfer Learning with a Unified Text-to-Text Transformer"; Shazeer 2020, "GLU Variants Improve Transformer"), the third text
//! encoder of Stable Diffusion 3.
//!
//! The tensors have the names of transformers' `T5EncoderModel`.

use super::{NetworkError, range};
use crate::graph::{Activation, Attend, Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// Distances that have a bias of their own, and those that share one (`relative_attention_num_buckets`).
const BUCKETS: usize = 32;
/// From here on all distances share the last one (`relative_attention_max_distance`).
const FARTHEST: f32 = 128.0;

/// The encoder's configuration; the field in brackets is that of `config.json`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct T5Encoder {
    /// Rows of the token embedding (`vocab_size`).
    pub vocabulary: usize,
    /// Channels of a token's state (`d_model`).
    pub width: usize,
    /// Layers (`num_layers`).
    pub layers: usize,
    /// Heads of attention (`num_heads`).
    pub heads: usize,
    /// Channels of a head (`d_kv`).
    pub head_channels: usize,
    /// Features between the linear layers of a perceptron (`d_ff`).
    pub hidden: usize,
    /// Added to means of squares (`layer_norm_epsilon`).
    pub eps: f32,
    /// A build without language models has no such network.
    #[cfg(not(feature = "language"))]
    pub never: core::convert::Infallible,
}

impl T5Encoder {
    /// The name of the input of token ids.
    pub const TOKENS: &'static str = "tokens";
    /// The name of the input of the distances' buckets ([`Self::ids`]).
    pub const BUCKETS: &'static str = "buckets";
    /// The name of the output, `(1, 1, tokens, width)`.
    pub const STATE: &'static str = "state";

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("vocabulary", self.vocabulary, 1, 1 << 24)?;
        range("width", self.width, 1, 65536)?;
        range("layers", self.layers, 1, 1024)?;
        range("heads", self.heads, 1, 1024)?;
        range("head_channels", self.head_channels, 1, 1024)?;
        range("hidden", self.hidden, 1, 1 << 20)
    }

    /// What the network's inputs of ids are given: the text's tokens, then the buckets.
    ///
    /// # Errors
    /// An id that the token embedding has no row for: the tokenizer is not this model's.
    pub fn ids(&self, tokens: &[u32]) -> Result<Vec<Option<u32>>, NetworkError> {
        if let Some(id) = tokens.iter().find(|id| **id as usize >= self.vocabulary) {
            return Err(NetworkError::Token { id: *id, vocabulary: self.vocabulary });
        }
        let n = tokens.len();
        let buckets = (0..n).flat_map(|key| (0..n).map(move |query| bucket(key, query)));
        Ok(tokens.iter().copied().chain(buckets).map(Some).collect())
    }

    /// The network for a text of so many tokens, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network, a text without a token.
    pub fn graph(&self, prefix: &str, tokens: usize) -> Result<Graph, NetworkError> {
        self.validate()?;
        range("tokens", tokens, 1, 4096)?;
        let g = &mut Graph::new();
        let ids = g.input_ids(Self::TOKENS, tokens);
        let buckets = g.input_ids(Self::BUCKETS, tokens * tokens);
        let mut x = g.token_rows(&format!("{prefix}shared"), ids, [1, tokens, self.width], self.vocabulary)?;
        let table = format!("{prefix}encoder.block.0.layer.0.SelfAttention.relative_attention_bias");
        let bias = g.token_rows(&table, buckets, [1, tokens * tokens, self.heads], BUCKETS)?;
        let bias = g.reshape(&table, bias, Shape::new(1, tokens, tokens, self.heads))?;
        for i in 0..self.layers {
            let name = format!("{prefix}encoder.block.{i}.layer");
            x = self.attention(g, &name, x, bias)?;
            x = self.perceptron(g, &name, x)?;
        }
        let x = g.rms_norm(&format!("{prefix}encoder.final_layer_norm"), x, 1, self.eps)?;
        g.output(Self::STATE, x)?;
        Ok(core::mem::take(g))
    }

    /// Its scores are not divided by the root of a head's channels.
    fn attention(&self, g: &mut Graph, name: &str, x: ValueId, bias: ValueId) -> Result<ValueId, GraphError> {
        let y = g.rms_norm(&format!("{name}.0.layer_norm"), x, 1, self.eps)?;
        let (name, inner) = (format!("{name}.0.SelfAttention"), self.heads * self.head_channels);
        let [q, k, v] = ["q", "k", "v"].map(|of| g.linear(&format!("{name}.{of}"), y, inner, false));
        let how = Attend { scale: Some(1.0), bias: Some(bias), ..Attend::heads(self.heads) };
        let y = g.attend(&name, [q?, k?, v?], how)?;
        let y = g.linear(&format!("{name}.o"), y, self.width, false)?;
        g.add(&format!("{name}.add"), x, y)
    }

    fn perceptron(&self, g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let y = g.rms_norm(&format!("{name}.1.layer_norm"), x, 1, self.eps)?;
        let name = format!("{name}.1.DenseReluDense");
        let gate = g.linear(&format!("{name}.wi_0"), y, self.hidden, false)?;
        let gate = g.activate(&format!("{name}.act"), gate, Activation::GeluTanh)?;
        let up = g.linear(&format!("{name}.wi_1"), y, self.hidden, false)?;
        let y = g.multiply(&format!("{name}.multiply"), gate, up)?;
        let y = g.linear(&format!("{name}.wo"), y, self.width, false)?;
        g.add(&format!("{name}.add"), x, y)
    }
}

/// Which row of the table of biases is of a key as seen from a query: half of them for keys behind it, and of each half the first
/// half for near ones, one each, and the others for ever longer stretches.
fn bucket(key: usize, query: usize) -> u32 {
    let (half, near) = (BUCKETS / 2, BUCKETS / 4);
    let behind = if key > query { half } else { 0 };
    let distance = key.abs_diff(query);
    if distance < near {
        return (behind + distance) as u32;
    }
    let far = libm::logf(distance as f32 / near as f32) / libm::logf(FARTHEST / near as f32) * (half - near) as f32;
    (behind + (near + far as usize).min(half - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the reference's `_relative_position_bucket` has them, of 32 buckets up to 128, both ways. Seen red with key and query
    /// exchanged.
    #[test]
    fn buckets_grow_with_the_distance() {
        let of = |distances: &[usize]| distances.iter().map(|d| bucket(0, *d)).collect::<Vec<_>>();
        assert_eq!(
            of(&[0, 1, 7, 8, 11, 12, 16, 23, 32, 64, 90, 91, 127, 128, 300]),
            [0, 1, 7, 8, 8, 9, 10, 11, 12, 14, 14, 15, 15, 15, 15]
        );
        assert_eq!([bucket(1, 0), bucket(9, 0), bucket(400, 100)], [17, 24, 31]);
    }

    #[test]
    fn a_graph_has_a_state_a_token() {
        let network =
            T5Encoder { vocabulary: 9, width: 12, layers: 2, heads: 3, head_channels: 5, hidden: 20, eps: 1e-6 };
        let graph = network.graph("t.", 6).unwrap();
        assert_eq!(graph.shape(graph.outputs()[0].value), Shape::new(1, 1, 6, 12));
        assert_eq!(graph.weights().len(), 2 + 2 * 9 + 1);
        assert_eq!(network.ids(&[0, 8]).unwrap(), [0, 8, 0, 1, 17, 0].map(Some));
        assert!(matches!(network.ids(&[9]), Err(NetworkError::Token { id: 9, vocabulary: 9 })));
    }
}
