//! CLIP's text encoder (Radford et al. 2021, section 2.4): token ids to states. The twin of the runtime's
//! `nn/clip_text.rs`, under the same names.
use super::tokens::{Attention, AttentionNames, LayerNorm, TokenLinear};
use crate::error::{Error, Result};
use crate::ops::{Function, Kit, Mask, Precision};
use crate::param::{Kind, Module, Visitor};
use crate::tensor::{T2, T3, Tp};
use dfdx::prelude::*;
use nijimi_runtime::raw::graph::Activation;
pub use nijimi_runtime::raw::nn::ClipText as ClipTextConfig;
use nijimi_runtime::raw::nn::TextStates;
use nijimi_runtime::raw::rng::Stream;

/// Standard deviation of the embeddings to begin with, as in CLIP's own training.
const EMBEDDING_STD: f32 = 0.02;

/// One transformer layer; norms come first. Its branches do not begin at zero: so from the first step on, the states behind a
/// text tell of it.
#[derive(Clone)]
struct Layer<D: Kit> {
    layer_norm1: LayerNorm<D>,
    self_attn: Attention<D>,
    layer_norm2: LayerNorm<D>,
    fc1: TokenLinear<D>,
    function: Function,
    fc2: TokenLinear<D>,
}

impl<D: Kit> Layer<D> {
    fn new(
        device: &D,
        seed: u64,
        name: &str,
        config: &ClipTextConfig,
        function: Function,
        precision: Precision,
    ) -> Self {
        let (width, hidden) = (config.width, config.hidden);
        let linear =
            |part: &str, sides| TokenLinear::new(device, seed, &format!("{name}.{part}"), sides, true, precision);
        let (names, attention) = (AttentionNames::CLIP, format!("{name}.self_attn"));
        Self {
            layer_norm1: LayerNorm::new(device, width, config.eps),
            self_attn: Attention::new((device, seed, &attention), names, [width, width], config.heads, precision),
            layer_norm2: LayerNorm::new(device, width, config.eps),
            fc1: linear("mlp.fc1", [width, hidden]),
            function,
            fc2: linear("mlp.fc2", [hidden, width]),
        }
    }

    fn forward<T: Tp<D>>(&self, x: T3<D, T>) -> T3<D, T> {
        let (x, tape) = x.split_tape();
        let y = self.self_attn.forward(self.layer_norm1.forward(x.clone().put_tape(tape)), None, Mask::Causal);
        let (x, tape) = D::add(y, x.retaped::<T>()).split_tape();
        let y = self.fc1.forward(self.layer_norm2.forward(x.clone().put_tape(tape)));
        D::add(self.fc2.forward(D::activate(y, self.function)), x.retaped::<T>())
    }

    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.layer_norm1.visit(&format!("{prefix}.layer_norm1"), v);
        self.self_attn.visit(&format!("{prefix}.self_attn"), v);
        self.layer_norm2.visit(&format!("{prefix}.layer_norm2"), v);
        self.fc1.visit(&format!("{prefix}.mlp.fc1"), v);
        self.fc2.visit(&format!("{prefix}.mlp.fc2"), v);
    }
}

/// The encoder.
#[derive(Clone)]
pub struct ClipText<D: Kit> {
    config: ClipTextConfig,
    token_embedding: T2<D>,
    position_embedding: T2<D>,
    layers: Vec<Layer<D>>,
    final_layer_norm: LayerNorm<D>,
}

impl<D: Kit> ClipText<D> {
    /// A network with random weights, keyed by seed and name.
    ///
    /// # Errors
    /// A configuration that the runtime refuses, or one with a projection (SDXL's second encoder), which is not trained
    /// here.
    pub fn new(device: &D, seed: u64, config: &ClipTextConfig, precision: Precision) -> Result<Self> {
        let refuse = |what: String| Error::Usage(format!("the text encoder: {what}"));
        config.graph("", [1, config.positions], TextStates::LAST).map_err(|e| refuse(e.to_string()))?;
        if config.projection.is_some() {
            return Err(refuse(
                "one with a projection (SDXL's second) can be run, but not trained: leave it out".into(),
            ));
        }
        let function = match config.activation {
            Activation::Gelu => Function::Gelu,
            Activation::QuickGelu => Function::QuickGelu,
            other => return Err(refuse(format!("its activation is {other:?}: use Gelu or QuickGelu"))),
        };
        let table = |of: &str, rows: usize| {
            let mut stream = Stream::new(seed, &format!("text_model.embeddings.{of}_embedding.weight"), 0);
            let values = (0..rows * config.width).map(|_| stream.normal() * EMBEDDING_STD).collect::<Vec<f32>>();
            device.tensor_from_vec(values, (rows, config.width))
        };
        let layer = |i| {
            let name = format!("text_model.encoder.layers.{i}");
            Layer::new(device, seed, &name, config, function, precision)
        };
        Ok(Self {
            config: *config,
            token_embedding: table("token", config.vocabulary),
            position_embedding: table("position", config.positions),
            layers: (0..config.layers).map(layer).collect(),
            final_layer_norm: LayerNorm::new(device, config.width, config.eps),
        })
    }

    /// The sizes.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// The states (n, tokens, width) of `ids`, n windows of `tokens` ids one after another, and their tape. Which states
    /// is said by `states`; the pooled one is not among them.
    ///
    /// # Errors
    /// Ids that are not whole windows or have no row in the embedding; windows longer than there are positions; more
    /// layers skipped than there are.
    pub fn forward<T: Tp<D>>(&self, ids: &[u32], tokens: usize, states: TextStates) -> Result<T3<D, T>> {
        let config = &self.config;
        let refuse = |what: String| Err(Error::Usage(format!("the text encoder: {what}")));
        if tokens == 0 || tokens > config.positions || ids.is_empty() || !ids.len().is_multiple_of(tokens) {
            let (found, most) = (ids.len(), config.positions);
            return refuse(format!("{found} ids are not whole windows of {tokens}, of which 1 to {most} fit"));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= config.vocabulary) {
            return refuse(format!("token id {id} of a vocabulary of {}: the tokenizer is another", config.vocabulary));
        }
        if states.skip >= config.layers {
            return refuse(format!("{} layers skipped of {}: at most all but one", states.skip, config.layers));
        }
        let shape = (ids.len() / tokens, tokens);
        let ids: Vec<usize> = ids.iter().map(|id| *id as usize).collect();
        let places: Vec<usize> = (0..ids.len()).map(|i| i % tokens).collect();
        let x = D::add(
            D::embedding(self.token_embedding.retaped::<T>(), &ids, shape),
            D::embedding(self.position_embedding.retaped::<T>(), &places, shape),
        );
        let x = self.layers[..config.layers - states.skip].iter().fold(x, |x, layer| layer.forward(x));
        Ok(if states.normed { self.final_layer_norm.forward(x) } else { x })
    }
}

impl<D: Kit> Module<D> for ClipText<D> {
    /// `prefix` is empty, or ends with a dot: `text_encoder.`.
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        let at = |part: &str| format!("{prefix}text_model.{part}");
        v.visit(&at("embeddings.token_embedding.weight"), &mut self.token_embedding, Kind::Table);
        v.visit(&at("embeddings.position_embedding.weight"), &mut self.position_embedding, Kind::Table);
        for (i, layer) in self.layers.iter_mut().enumerate() {
            layer.visit(&at(&format!("encoder.layers.{i}")), v);
        }
        self.final_layer_norm.visit(&at("final_layer_norm"), v);
    }
}
