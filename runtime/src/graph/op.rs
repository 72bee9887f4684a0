//! The operations, with what each reads.

use super::{Activation, IdsId, WeightId};

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
    /// `y = x[ids]`: of each picture, the pixels whose numbers (row-major, from 0) its ids name; zeros where there is no id.
    SelectToken {
        /// Tokens: a pixel is a token.
        x: R,
        /// Places, as many a picture as the output has columns.
        ids: IdsId,
    },
    /// Rotary positions (Su et al. 2021, "RoFormer"): each pair of a head's channels is turned by an angle of its token and of
    /// the pair, `(a, b)` to `(a cos - b sin, b cos + a sin)`.
    Rotary {
        /// Tokens: a pixel is a token.
        x: R,
        /// `(n, 1, tokens, channels of a head)`, or 1 for n, the same for all pictures: of each token the cosines of all
        /// pairs, then the sines.
        angles: R,
        /// Number of heads; divides the channels, into even numbers.
        heads: usize,
        /// Pair `i` of a head of `d` channels is `(i, i + d / 2)`, not `(2 i, 2 i + 1)`.
        halves: bool,
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
    /// adaLN), or the scale alone.
    AdaLayerNorm {
        /// Rows.
        x: R,
        /// Added to the variance.
        eps: f32,
        /// One vector a picture.
        scale: R,
        /// One vector a picture; none is nothing.
        shift: Option<R>,
    },
    /// `y = x / sqrt(mean(x²) + eps) * scale` over each of `groups` equal ranges of each pixel's channels, the heads of
    /// queries and keys for instance (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization"); then, with a modulation,
    /// `* (1 + modulation)`.
    RmsNorm {
        /// Rows.
        x: R,
        /// Ranges of channels; divides them.
        groups: usize,
        /// Added to the mean of the squares.
        eps: f32,
        /// One factor a channel of a range, the same for all of them.
        scale: WeightId,
        /// One vector a picture; there is one range then.
        modulation: Option<R>,
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
    /// 1). A pixel is a token; head `i` has channels `i * c / heads` to `(i + 1) * c / heads`. Keys and values may have fewer
    /// heads, of as many channels each: one serves as many neighbouring heads of queries as it takes (Ainslie et al. 2023,
    /// "GQA").
    Attention {
        /// Queries, `L` tokens; the output's shape.
        q: R,
        /// Keys, `S` tokens.
        k: R,
        /// Values, of the keys' shape.
        v: R,
        /// Number of heads of queries; divides the channels.
        heads: usize,
        /// Query `i` sees only keys `0..=i`; `L` equals `S`.
        causal: bool,
        /// `1 / sqrt(c / heads)` if none is said.
        scale: Option<f32>,
        /// `(1, S, L, heads)`, the same for all pictures; none is nothing.
        bias: Option<R>,
        /// How many keys, from the first on, each picture's queries see: one id a picture, and no id is all of them. Where it is
        /// 0, the output is.
        lengths: Option<IdsId>,
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
