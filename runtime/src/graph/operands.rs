//! What an operation is called, reads, writes over and costs.

use super::{Activation, Op, Shape, WeightId};

impl<R: Copy> Op<R> {
    /// What kind of operation this is, as reports and errors call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::Linear { .. } => "linear",
            Self::Activate { .. } => "activate",
            Self::Add { .. } => "add",
            Self::Multiply { .. } => "multiply",
            Self::AddChannels { .. } => "add_channels",
            Self::MaxPool2 { .. } => "max_pool2",
            Self::AvgPool2 { .. } => "avg_pool2",
            Self::UpsampleBilinear2 { .. } => "upsample_bilinear2",
            Self::UpsampleNearest2 { .. } => "upsample_nearest2",
            Self::Concat { .. } => "concat",
            Self::PositionEncoding { .. } => "position_encoding",
            Self::EmbeddingAdd { .. } => "embedding_add",
            Self::TokenEmbedding { .. } => "token_embedding",
            Self::SelectToken { .. } => "select_token",
            Self::Rotary { .. } => "rotary",
            Self::GroupNorm { .. } => "group_norm",
            Self::LayerNorm { .. } => "layer_norm",
            Self::AdaLayerNorm { .. } => "ada_layer_norm",
            Self::RmsNorm { .. } => "rms_norm",
            Self::GatedAdd { .. } => "gated_add",
            Self::Slice { .. } => "slice",
            Self::Attention { .. } => "attention",
            Self::LogSoftmax { .. } => "log_softmax",
            Self::LogSoftmaxBackward { .. } => "log_softmax_backward",
            Self::ReluBackward { .. } => "relu_backward",
            Self::MaxPool2Backward { .. } => "max_pool2_backward",
        }
    }

    /// Everything read from among the activations.
    pub fn reads(&self) -> impl Iterator<Item = R> + use<R> {
        let (a, b, c) = match *self {
            Self::Conv2d { x, residual, .. } | Self::Linear { x, residual, .. } => (x, residual, None),
            Self::Add { a, b } | Self::Multiply { a, b } | Self::AddChannels { x: a, v: b } => (a, Some(b), None),
            Self::MaxPool2 { x, add } => (x, add, None),
            Self::Concat { a, b, add } => (a, Some(b), add),
            Self::ReluBackward { g: a, relu: b } | Self::MaxPool2Backward { x: a, g: b } => (a, Some(b), None),
            Self::Attention { q, k, v, bias, .. } => return [Some(q), Some(k), Some(v), bias].into_iter().flatten(),
            Self::AdaLayerNorm { x, scale, shift, .. } => (x, Some(scale), shift),
            Self::RmsNorm { x, modulation, .. } => (x, modulation, None),
            Self::Rotary { x, angles, .. } => (x, Some(angles), None),
            Self::GatedAdd { x, gate, b } => (x, Some(gate), Some(b)),
            Self::TokenEmbedding { .. } => return [None; 4].into_iter().flatten(),
            Self::Activate { x, .. }
            | Self::GroupNorm { x, .. }
            | Self::LayerNorm { x, .. }
            | Self::Slice { x, .. }
            | Self::AvgPool2 { x }
            | Self::UpsampleBilinear2 { x }
            | Self::UpsampleNearest2 { x }
            | Self::PositionEncoding { t: x, .. }
            | Self::LogSoftmax { x }
            | Self::LogSoftmaxBackward { x, .. }
            | Self::SelectToken { x, .. }
            | Self::EmbeddingAdd { x, .. } => (x, None, None),
        };
        [Some(a), b, c, None].into_iter().flatten()
    }

    /// The weights, to be renumbered.
    pub(super) fn weights_mut(&mut self) -> [Option<&mut WeightId>; 2] {
        match self {
            Self::Conv2d { weight, bias, .. } | Self::Linear { weight, bias, .. } => [Some(weight), bias.as_mut()],
            Self::EmbeddingAdd { table, .. } => [Some(table), None],
            Self::TokenEmbedding { table, positions, .. } => [Some(table), positions.as_mut()],
            Self::GroupNorm { scale, bias, .. } | Self::LayerNorm { scale, bias, .. } => [Some(scale), Some(bias)],
            Self::RmsNorm { scale, .. } => [Some(scale), None],
            Self::Activate { .. }
            | Self::Add { .. }
            | Self::Multiply { .. }
            | Self::AddChannels { .. }
            | Self::MaxPool2 { .. }
            | Self::AvgPool2 { .. }
            | Self::UpsampleBilinear2 { .. }
            | Self::UpsampleNearest2 { .. }
            | Self::Concat { .. }
            | Self::PositionEncoding { .. }
            | Self::SelectToken { .. }
            | Self::Rotary { .. }
            | Self::LogSoftmax { .. }
            | Self::LogSoftmaxBackward { .. }
            | Self::ReluBackward { .. }
            | Self::MaxPool2Backward { .. }
            | Self::AdaLayerNorm { .. }
            | Self::GatedAdd { .. }
            | Self::Slice { .. }
            | Self::Attention { .. } => [None, None],
        }
    }

    /// The same operation on operands named otherwise.
    pub fn map<S>(&self, mut f: impl FnMut(R) -> S) -> Op<S> {
        match *self {
            Self::Conv2d { x, upsample, weight, bias, kernel, stride, pad, pad_end, residual, activation } => {
                let (x, residual) = (f(x), residual.map(f));
                Op::Conv2d { x, upsample, weight, bias, kernel, stride, pad, pad_end, residual, activation }
            }
            Self::Linear { x, weight, bias, residual, activation } => {
                Op::Linear { x: f(x), weight, bias, residual: residual.map(f), activation }
            }
            Self::Activate { x, activation } => Op::Activate { x: f(x), activation },
            Self::Add { a, b } => Op::Add { a: f(a), b: f(b) },
            Self::Multiply { a, b } => Op::Multiply { a: f(a), b: f(b) },
            Self::AddChannels { x, v } => Op::AddChannels { x: f(x), v: f(v) },
            Self::MaxPool2 { x, add } => Op::MaxPool2 { x: f(x), add: add.map(f) },
            Self::AvgPool2 { x } => Op::AvgPool2 { x: f(x) },
            Self::UpsampleBilinear2 { x } => Op::UpsampleBilinear2 { x: f(x) },
            Self::UpsampleNearest2 { x } => Op::UpsampleNearest2 { x: f(x) },
            Self::Concat { a, b, add } => Op::Concat { a: f(a), b: f(b), add: add.map(f) },
            Self::PositionEncoding { t, dim } => Op::PositionEncoding { t: f(t), dim },
            Self::EmbeddingAdd { x, ids, table } => Op::EmbeddingAdd { x: f(x), ids, table },
            Self::TokenEmbedding { ids, table, positions } => Op::TokenEmbedding { ids, table, positions },
            Self::SelectToken { x, ids } => Op::SelectToken { x: f(x), ids },
            Self::Rotary { x, angles, heads, halves } => Op::Rotary { x: f(x), angles: f(angles), heads, halves },
            Self::GroupNorm { x, groups, eps, scale, bias, activation } => {
                Op::GroupNorm { x: f(x), groups, eps, scale, bias, activation }
            }
            Self::LayerNorm { x, eps, scale, bias } => Op::LayerNorm { x: f(x), eps, scale, bias },
            Self::AdaLayerNorm { x, eps, scale, shift } => {
                Op::AdaLayerNorm { x: f(x), eps, scale: f(scale), shift: shift.map(f) }
            }
            Self::RmsNorm { x, groups, eps, scale, modulation } => {
                Op::RmsNorm { x: f(x), groups, eps, scale, modulation: modulation.map(f) }
            }
            Self::GatedAdd { x, gate, b } => Op::GatedAdd { x: f(x), gate: f(gate), b: f(b) },
            Self::Slice { x, from } => Op::Slice { x: f(x), from },
            Self::Attention { q, k, v, heads, causal, scale, bias, lengths } => {
                let (q, k, v) = (f(q), f(k), f(v));
                Op::Attention { q, k, v, heads, causal, scale, bias: bias.map(f), lengths }
            }
            Self::LogSoftmax { x } => Op::LogSoftmax { x: f(x) },
            Self::LogSoftmaxBackward { x, ids } => Op::LogSoftmaxBackward { x: f(x), ids },
            Self::ReluBackward { g, relu } => Op::ReluBackward { g: f(g), relu: f(relu) },
            Self::MaxPool2Backward { x, g } => Op::MaxPool2Backward { x: f(x), g: f(g) },
        }
    }

    /// The operand whose memory the output may take over when nothing else needs it: the operation reads each of its
    /// elements no later than it writes the same element of the output. (A normalization reads all that a mean or a
    /// variance is taken over before it writes any of it, and rotary positions both channels of a pair.) A convolution's is one that only some backends can replace, and
    /// only where the output has the operand's sides and no more channels.
    pub fn in_place(&self) -> Option<R> {
        match *self {
            Self::Activate { x, .. }
            | Self::EmbeddingAdd { x, .. }
            | Self::GroupNorm { x, .. }
            | Self::LayerNorm { x, .. }
            | Self::AdaLayerNorm { x, .. }
            | Self::RmsNorm { x, .. }
            | Self::Rotary { x, .. }
            | Self::GatedAdd { x, .. } => Some(x),
            Self::Conv2d { x, upsample: false, stride: 1, .. } => Some(x),
            Self::Add { a, .. } | Self::Multiply { a, .. } | Self::ReluBackward { g: a, .. } => Some(a),
            _ => None,
        }
    }

    /// Multiply-accumulates for an output of this shape, from the shapes of the operands. Attention counts all pairs of
    /// query and key, causal or not, of all lengths.
    pub fn macs(&self, shape: impl Fn(R) -> Shape, out: Shape) -> u64 {
        let elements = out.elements() as u64;
        match *self {
            Self::Conv2d { x, kernel, .. } => elements * (kernel * kernel * shape(x).c) as u64,
            Self::Linear { x, activation, .. } => {
                let halves = if activation == Activation::Geglu { 2 } else { 1 };
                halves * elements * shape(x).c as u64
            }
            Self::Attention { k, .. } => 2 * elements * (shape(k).h * shape(k).w) as u64,
            _ => 0,
        }
    }
}
