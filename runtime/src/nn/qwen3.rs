//! Qwen3 as a text encoder: a language model that reads a text from its beginning (Yang et al. 2025, "Qwen3 Technical Report",
//! section 2), of whose layers the states after some are taken: of Z-Image and FLUX.2.
//!
//! The tensors have the names of transformers' `Qwen3Model`.

use super::patches::{frequencies, write_angles};
use super::{NetworkError, range};
use crate::graph::{Attend, Graph, GraphError, IdsId, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// The encoder's configuration; the field in brackets is that of `config.json`.
#[derive(Clone, PartialEq, Debug)]
pub struct Qwen3 {
    /// Rows of the token embedding (`vocab_size`).
    pub vocabulary: usize,
    /// Channels of a token's state (`hidden_size`).
    pub width: usize,
    /// Heads of the queries (`num_attention_heads`).
    pub heads: usize,
    /// Heads of keys and values, each of which serves as many heads of the queries (`num_key_value_heads`).
    pub kv_heads: usize,
    /// Channels of a head (`head_dim`).
    pub head_channels: usize,
    /// Features between the linear layers of a perceptron (`intermediate_size`).
    pub hidden: usize,
    /// Added to means of squares (`rms_norm_eps`).
    pub eps: f32,
    /// Base of the rotary positions' wavelengths (`rope_theta`).
    pub theta: f32,
    /// After how many layers the states are taken that condition, side by side: in rising order. Layers after the last of them
    /// are not needed.
    pub states: Vec<usize>,
    /// A build without language models has no such network.
    #[cfg(not(feature = "language"))]
    pub never: core::convert::Infallible,
}

impl Qwen3 {
    /// The name of the input of token ids.
    pub const TOKENS: &'static str = "tokens";
    /// The name of the input of the number of tokens that are not padding, an id.
    pub const LENGTH: &'static str = "length";
    /// The name of the input of the rotary positions' angles ([`Self::angles`]), `(1, 1, tokens, head_channels)`.
    pub const ANGLES: &'static str = "angles";
    /// The name of the output, `(1, 1, tokens, state_width)`.
    pub const STATE: &'static str = "state";
    /// The longest text, in tokens.
    pub const LONGEST: usize = 4096;

    /// Layers that are needed.
    pub fn layers(&self) -> usize {
        self.states.last().copied().unwrap_or(0)
    }

    /// Numbers of a token's state.
    pub fn state_width(&self) -> usize {
        self.width * self.states.len()
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("vocabulary", self.vocabulary, 1, 1 << 24)?;
        range("width", self.width, 1, 65536)?;
        range("heads", self.heads, 1, 1024)?;
        range("kv_heads", self.kv_heads, 1, self.heads)?;
        range("heads of the queries beside whole groups", self.heads % self.kv_heads, 0, 0)?;
        range("head_channels", self.head_channels, 2, 1024)?;
        range("odd channels of a head", self.head_channels % 2, 0, 0)?;
        range("hidden", self.hidden, 1, 1 << 20)?;
        range("states", self.states.len(), 1, 16)?;
        range("layers", self.layers(), 1, 1024)?;
        let falls = self.states.windows(2).filter(|pair| pair[0] >= pair[1]).count();
        range("layers whose states are taken that do not rise", falls, 0, 0)
    }

    /// What the network's inputs of ids are given: the text's tokens, and how many of them are not padding.
    ///
    /// # Errors
    /// An id that the token embedding has no row for: the tokenizer is not this model's.
    pub fn ids(&self, tokens: &[u32], length: usize) -> Result<Vec<Option<u32>>, NetworkError> {
        if let Some(id) = tokens.iter().find(|id| **id as usize >= self.vocabulary) {
            return Err(NetworkError::Token { id: *id, vocabulary: self.vocabulary });
        }
        Ok(tokens.iter().copied().chain([length as u32]).map(Some).collect())
    }

    /// The angles of so many tokens: of each the cosines of its pairs of channels, then the sines. As in the reference, in f32.
    pub fn angles(&self, tokens: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(tokens * self.head_channels);
        for place in 0..tokens {
            let of = frequencies(f64::from(self.theta), self.head_channels).map(|f| f as f32 * place as f32);
            write_angles(of.collect::<Vec<_>>().into_iter(), &mut out);
        }
        out
    }

    /// The network for a text of so many tokens, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network, a text without a token.
    pub fn graph(&self, prefix: &str, tokens: usize) -> Result<Graph, NetworkError> {
        self.validate()?;
        range("tokens", tokens, 1, Self::LONGEST)?;
        let g = &mut Graph::new();
        let ids = g.input_ids(Self::TOKENS, tokens);
        let length = g.input_ids(Self::LENGTH, 1);
        let angles = g.input(Self::ANGLES, Shape::new(1, 1, tokens, self.head_channels))?;
        let mut x = g.token_rows(&format!("{prefix}embed_tokens"), ids, [1, tokens, self.width], self.vocabulary)?;
        let mut state = None;
        for i in 0..self.layers() {
            let name = format!("{prefix}layers.{i}");
            x = self.attention(g, &name, x, angles, length)?;
            x = self.perceptron(g, &name, x)?;
            if self.states.contains(&(i + 1)) {
                state = Some(state.map_or(Ok(x), |state| g.concat(&format!("{name}.state"), state, x))?);
            }
        }
        g.output(Self::STATE, state.unwrap_or(x))?;
        Ok(core::mem::take(g))
    }

    fn attention(
        &self,
        g: &mut Graph,
        name: &str,
        x: ValueId,
        angles: ValueId,
        length: IdsId,
    ) -> Result<ValueId, GraphError> {
        let y = g.rms_norm(&format!("{name}.input_layernorm"), x, 1, self.eps)?;
        let name = format!("{name}.self_attn");
        let mut turned = |of: &str, heads: usize| {
            let y = g.linear(&format!("{name}.{of}_proj"), y, heads * self.head_channels, false)?;
            let y = g.rms_norm(&format!("{name}.{of}_norm"), y, heads, self.eps)?;
            g.rotary(&format!("{name}.{of}_rotary"), y, angles, heads, true)
        };
        let (q, k) = (turned("q", self.heads)?, turned("k", self.kv_heads)?);
        let v = g.linear(&format!("{name}.v_proj"), y, self.kv_heads * self.head_channels, false)?;
        let how = Attend { causal: true, lengths: Some(length), ..Attend::heads(self.heads) };
        let y = g.attend(&name, [q, k, v], how)?;
        let y = g.linear(&format!("{name}.o_proj"), y, self.width, false)?;
        g.add(&format!("{name}.add"), x, y)
    }

    fn perceptron(&self, g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let y = g.rms_norm(&format!("{name}.post_attention_layernorm"), x, 1, self.eps)?;
        let name = format!("{name}.mlp");
        let gate = g.linear(&format!("{name}.gate_proj"), y, self.hidden, false)?;
        let gate = g.silu(&format!("{name}.act"), gate)?;
        let up = g.linear(&format!("{name}.up_proj"), y, self.hidden, false)?;
        let y = g.multiply(&format!("{name}.multiply"), gate, up)?;
        let y = g.linear(&format!("{name}.down_proj"), y, self.width, false)?;
        g.add(&format!("{name}.add"), x, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_graph_has_the_layers_that_its_states_need() {
        let network = Qwen3 {
            vocabulary: 9,
            width: 12,
            heads: 4,
            kv_heads: 2,
            head_channels: 6,
            hidden: 20,
            eps: 1e-6,
            theta: 1e6,
            states: vec![1, 3],
        };
        let graph = network.graph("t.", 5).unwrap();
        assert_eq!(graph.shape(graph.outputs()[0].value), Shape::new(1, 1, 5, 24));
        assert_eq!(graph.weights().len(), 1 + 3 * 11);
        let angles = network.angles(5);
        assert_eq!((angles.len(), &angles[..6]), (30, &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0][..]));
        assert!((angles[6 * 2 + 1] - libm::cosf(2.0 * 0.01)).abs() < 1e-6, "{angles:?}");
        assert!(matches!(network.ids(&[9], 1), Err(NetworkError::Token { id: 9, vocabulary: 9 })));
        for wrong in [
            Qwen3 { kv_heads: 3, ..network.clone() },
            Qwen3 { states: vec![2, 2], ..network.clone() },
            Qwen3 { head_channels: 5, ..network },
        ] {
            assert!(wrong.graph("", 5).is_err());
        }
    }
}
