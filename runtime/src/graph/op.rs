//! The operations, with what each reads.

use super::{Activation, IdsId, Shape, WeightId};

/// One operation. `R` says where an operand is: a [`super::ValueId`] in a graph, a [`crate::plan::Slot`] in a plan.
///
/// The graph's builder leaves the fused operands (`residual`, `activation` of a convolution or linear layer, `add`)
/// and `upsample` empty; the plan fills them. A backend implements each variant with the fused operands.
///
/// The order of the fused parts is `activation(x weightᵀ + bias + residual)`, but for [`Activation::Geglu`], a linear
/// layer's alone, whose residual comes last: `geglu(x weightᵀ + bias) + residual`.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Op<R> {
    /// `y = activation(conv(x, weight) + bias + residual)`, zero padded.
    Conv2d {
        /// Input picture.
        x: R,
        /// The convolution sees `x` twice as high and wide, each pixel repeated ([`Op::UpsampleNearest2`], fused).
        upsample: bool,
        /// Kernel, [`super::WeightKind::Conv`].
        weight: WeightId,
        /// One number an output channel.
        bias: Option<WeightId>,
        /// Rows, and columns, of the kernel.
        kernel: usize,
        /// Step of the kernel.
        stride: usize,
        /// Zeros above and left of the picture.
        pad: usize,
        /// Zeros below and right of it.
        pad_end: usize,
        /// Same shape as the output.
        residual: Option<R>,
        /// Applied last.
        activation: Activation,
    },
    /// `y = activation(x weightᵀ + bias + residual)`, for each pixel.
    Linear {
        /// Input rows.
        x: R,
        /// Matrix, [`super::WeightKind::Linear`].
        weight: WeightId,
        /// One number an output feature.
        bias: Option<WeightId>,
        /// Same shape as the output.
        residual: Option<R>,
        /// Applied last; [`Activation::Geglu`] before the residual: the weight then has twice the output's features.
        activation: Activation,
    },
    /// An elementwise function; with [`Activation::None`] the output may have another shape of as many elements.
    Activate {
        /// Input.
        x: R,
        /// The function, any but [`Activation::Geglu`].
        activation: Activation,
    },
    /// `y = a + b`, equal shapes.
    Add {
        /// Left operand.
        a: R,
        /// Right operand.
        b: R,
    },
    /// `y = a * b`, equal shapes, element by element.
    Multiply {
        /// Left operand.
        a: R,
        /// Right operand.
        b: R,
    },
    /// `y = x + v`, `v` broadcast over rows and columns.
    AddChannels {
        /// Picture.
        x: R,
        /// One vector a picture.
        v: R,
    },
    /// The largest of each 2 x 2 square; then `add`, one vector a picture.
    MaxPool2 {
        /// Picture with even sides.
        x: R,
        /// Added per picture and channel.
        add: Option<R>,
    },
    /// The average of each 2 x 2 square; where a side is odd, of what is there of the last ones.
    AvgPool2 {
        /// Picture.
        x: R,
    },
    /// Twice the size, bilinear with half-pixel centres.
    UpsampleBilinear2 {
        /// Picture.
        x: R,
    },
    /// Twice the size, each pixel repeated.
    UpsampleNearest2 {
        /// Picture.
        x: R,
    },
    /// The channels of `a`, then those of `b`; then `add`, one vector a picture.
    Concat {
        /// First channels.
        a: R,
        /// Last channels.
        b: R,
        /// Added per picture and channel.
        add: Option<R>,
    },
    /// The sine and cosine code of one number a picture, every element with a frequency of its own (the book, 9.2).
    PositionEncoding {
        /// `(n, 1, 1, 1)`.
        t: R,
        /// Length of the code.
        dim: usize,
    },
    /// `y = x +` the row of `table` that the picture's id names; no id adds nothing.
    EmbeddingAdd {
        /// One vector a picture.
        x: R,
        /// Ids, one a picture.
        ids: IdsId,
        /// [`super::WeightKind::Table`].
        table: WeightId,
    },
    /// `y = table[ids] + positions`: for each of a text's tokens, the row of `table` that its id names and, if there are any, the
    /// row of `positions` that its place names. No id adds nothing to the latter.
    TokenEmbedding {
        /// Ids, as many a text as the output has columns.
        ids: IdsId,
        /// A row an id, [`super::WeightKind::Table`].
        table: WeightId,
        /// A row a place, [`super::WeightKind::Table`].
        positions: Option<WeightId>,
    },
    /// `y = x[ids]`: of each picture, the one pixel whose number (row-major, from 0) its id names; zeros where there is no
    /// id.
    SelectToken {
        /// Tokens: a pixel is a token.
        x: R,
        /// Places, one a picture.
        ids: IdsId,
    },
    /// `y = activation((x - mean) / sqrt(variance + eps) * scale + bias)`, mean and (biased) variance over each
    /// picture's pixels and each of `groups` equal ranges of channels (Wu and He 2018, "Group Normalization").
    GroupNorm {
        /// Picture.
        x: R,
        /// Ranges of channels; divides them.
        groups: usize,
        /// Added to the variance.
        eps: f32,
        /// One factor a channel.
        scale: WeightId,
        /// One number a channel.
        bias: WeightId,
        /// Applied last: none, ReLU, SiLU or GELU.
        activation: Activation,
    },
    /// `y = (x - mean) / sqrt(variance + eps) * scale + bias`, mean and (biased) variance over the channels of each
    /// pixel (Ba, Kiros and Hinton 2016, "Layer Normalization").
    LayerNorm {
        /// Rows.
        x: R,
        /// Added to the variance.
        eps: f32,
        /// One factor a channel.
        scale: WeightId,
        /// One number a channel.
        bias: WeightId,
    },
    /// `y = (x - mean) / sqrt(variance + eps) * (1 + scale) + shift`, mean and (biased) variance as of [`Op::LayerNorm`]: what a
    /// condition tells each picture is the affine part (Peebles and Xie 2022, "Scalable Diffusion Models with Transformers",
    /// adaLN).
    AdaLayerNorm {
        /// Rows.
        x: R,
        /// Added to the variance.
        eps: f32,
        /// One vector a picture.
        scale: R,
        /// One vector a picture.
        shift: R,
    },
    /// `y = x / sqrt(mean(x²) + eps) * scale` over each of `groups` equal ranges of each pixel's channels, the heads of
    /// queries and keys for instance (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization").
    RmsNorm {
        /// Rows.
        x: R,
        /// Ranges of channels; divides them.
        groups: usize,
        /// Added to the mean of the squares.
        eps: f32,
        /// One factor a channel of a range, the same for all of them.
        scale: WeightId,
    },
    /// `y = x + gate * b`, `gate` broadcast over rows and columns (Peebles and Xie 2022, adaLN-Zero).
    GatedAdd {
        /// What is added to.
        x: R,
        /// One vector a picture.
        gate: R,
        /// Of the shape of `x`.
        b: R,
    },
    /// The channels of `x` from `from` on, as many as the output has.
    Slice {
        /// Picture.
        x: R,
        /// The first of them.
        from: usize,
    },
    /// `y = softmax(scale q kᵀ + bias) v` for each picture and head (Vaswani et al. 2017, "Attention Is All You Need", equation
    /// 1). A pixel is a token; head `i` has channels `i * c / heads` to `(i + 1) * c / heads`.
    Attention {
        /// Queries, `L` tokens; the output's shape.
        q: R,
        /// Keys, `S` tokens of as many channels.
        k: R,
        /// Values, of the keys' shape.
        v: R,
        /// Number of heads; divides the channels.
        heads: usize,
        /// Query `i` sees only keys `0..=i`; `L` equals `S`.
        causal: bool,
        /// `1 / sqrt(c / heads)` if none is said.
        scale: Option<f32>,
        /// `(1, S, L, heads)`, the same for all pictures; none is nothing.
        bias: Option<R>,
    },
    /// `y = log(softmax(x))` over the channels of each row.
    LogSoftmax {
        /// Logits.
        x: R,
    },
    /// The gradient of [`Op::LogSoftmax`]'s element `ids[n]`, a label, with respect to its input:
    /// `y = onehot(ids[n]) - softmax(x)`; zeros where there is no id.
    LogSoftmaxBackward {
        /// Logits, one row a picture.
        x: R,
        /// One label a picture.
        ids: IdsId,
    },
    /// What [`Activation::Relu`] lets pass of a gradient: `y = g` where its result was above 0, else 0.
    ReluBackward {
        /// The gradient of the function's result.
        g: R,
        /// The function's result.
        relu: R,
    },
    /// The gradient of [`Op::MaxPool2`]'s input: that of each square goes to its largest element, the first in
    /// row-major order if several are equal (as in PyTorch), and 0 to the others.
    MaxPool2Backward {
        /// The pooling's input; the output's shape.
        x: R,
        /// The gradient of its result.
        g: R,
    },
}

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
            Self::AdaLayerNorm { x, scale, shift, .. } => (x, Some(scale), Some(shift)),
            Self::GatedAdd { x, gate, b } => (x, Some(gate), Some(b)),
            Self::TokenEmbedding { .. } => return [None; 4].into_iter().flatten(),
            Self::Activate { x, .. }
            | Self::GroupNorm { x, .. }
            | Self::LayerNorm { x, .. }
            | Self::RmsNorm { x, .. }
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
            Self::GroupNorm { x, groups, eps, scale, bias, activation } => {
                Op::GroupNorm { x: f(x), groups, eps, scale, bias, activation }
            }
            Self::LayerNorm { x, eps, scale, bias } => Op::LayerNorm { x: f(x), eps, scale, bias },
            Self::AdaLayerNorm { x, eps, scale, shift } => {
                Op::AdaLayerNorm { x: f(x), eps, scale: f(scale), shift: f(shift) }
            }
            Self::RmsNorm { x, groups, eps, scale } => Op::RmsNorm { x: f(x), groups, eps, scale },
            Self::GatedAdd { x, gate, b } => Op::GatedAdd { x: f(x), gate: f(gate), b: f(b) },
            Self::Slice { x, from } => Op::Slice { x: f(x), from },
            Self::Attention { q, k, v, heads, causal, scale, bias } => {
                let (q, k, v) = (f(q), f(k), f(v));
                Op::Attention { q, k, v, heads, causal, scale, bias: bias.map(f) }
            }
            Self::LogSoftmax { x } => Op::LogSoftmax { x: f(x) },
            Self::LogSoftmaxBackward { x, ids } => Op::LogSoftmaxBackward { x: f(x), ids },
            Self::ReluBackward { g, relu } => Op::ReluBackward { g: f(g), relu: f(relu) },
            Self::MaxPool2Backward { x, g } => Op::MaxPool2Backward { x: f(x), g: f(g) },
        }
    }

    /// The operand whose memory the output may take over when nothing else needs it: the operation reads each of its
    /// elements no later than it writes the same element of the output. (A normalization reads all that a mean or a
    /// variance is taken over before it writes any of it.) A convolution's is one that only some backends can replace, and
    /// only where the output has the operand's sides and no more channels.
    pub fn in_place(&self) -> Option<R> {
        match *self {
            Self::Activate { x, .. }
            | Self::EmbeddingAdd { x, .. }
            | Self::GroupNorm { x, .. }
            | Self::LayerNorm { x, .. }
            | Self::AdaLayerNorm { x, .. }
            | Self::RmsNorm { x, .. }
            | Self::GatedAdd { x, .. } => Some(x),
            Self::Conv2d { x, upsample: false, stride: 1, .. } => Some(x),
            Self::Add { a, .. } | Self::Multiply { a, .. } | Self::ReluBackward { g: a, .. } => Some(a),
            _ => None,
        }
    }

    /// Multiply-accumulates for an output of this shape, from the shapes of the operands. Attention counts all pairs of
    /// query and key, causal or not.
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
