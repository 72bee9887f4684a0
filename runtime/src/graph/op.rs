//! The operations, with what each reads.

use super::{Activation, IdsId, Shape, WeightId};

/// One operation. `R` says where an operand is: a [`super::ValueId`] in a graph, a [`crate::plan::Slot`] in a plan.
///
/// The graph's builder leaves the fused operands (`residual`, `activation` of a convolution or linear layer, `add`)
/// empty; the plan fills them. A backend implements each variant with the fused operands.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Op<R> {
    /// `y = activation(conv(x, weight) + bias + residual)`, zero padded.
    Conv2d {
        /// Input picture.
        x: R,
        /// Kernel, [`super::WeightKind::Conv`].
        weight: WeightId,
        /// One number an output channel.
        bias: Option<WeightId>,
        /// Rows, and columns, of the kernel.
        kernel: usize,
        /// Step of the kernel.
        stride: usize,
        /// Zeros around the picture.
        pad: usize,
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
        /// Applied last.
        activation: Activation,
    },
    /// An elementwise function.
    Activate {
        /// Input.
        x: R,
        /// The function.
        activation: Activation,
    },
    /// `y = a + b`, equal shapes.
    Add {
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
}

impl<R: Copy> Op<R> {
    /// What kind of operation this is, as reports and errors call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::Linear { .. } => "linear",
            Self::Activate { .. } => "activate",
            Self::Add { .. } => "add",
            Self::AddChannels { .. } => "add_channels",
            Self::MaxPool2 { .. } => "max_pool2",
            Self::UpsampleBilinear2 { .. } => "upsample_bilinear2",
            Self::UpsampleNearest2 { .. } => "upsample_nearest2",
            Self::Concat { .. } => "concat",
            Self::PositionEncoding { .. } => "position_encoding",
            Self::EmbeddingAdd { .. } => "embedding_add",
        }
    }

    /// Everything read from among the activations.
    pub fn reads(&self) -> impl Iterator<Item = R> + use<R> {
        let (a, b, c) = match *self {
            Self::Conv2d { x, residual, .. } | Self::Linear { x, residual, .. } => (x, residual, None),
            Self::Add { a, b } | Self::AddChannels { x: a, v: b } => (a, Some(b), None),
            Self::MaxPool2 { x, add } => (x, add, None),
            Self::Concat { a, b, add } => (a, Some(b), add),
            Self::Activate { x, .. }
            | Self::UpsampleBilinear2 { x }
            | Self::UpsampleNearest2 { x }
            | Self::PositionEncoding { t: x, .. }
            | Self::EmbeddingAdd { x, .. } => (x, None, None),
        };
        [Some(a), b, c].into_iter().flatten()
    }

    /// The same operation on operands named otherwise.
    pub fn map<S>(&self, mut f: impl FnMut(R) -> S) -> Op<S> {
        match *self {
            Self::Conv2d { x, weight, bias, kernel, stride, pad, residual, activation } => {
                Op::Conv2d { x: f(x), weight, bias, kernel, stride, pad, residual: residual.map(f), activation }
            }
            Self::Linear { x, weight, bias, residual, activation } => {
                Op::Linear { x: f(x), weight, bias, residual: residual.map(f), activation }
            }
            Self::Activate { x, activation } => Op::Activate { x: f(x), activation },
            Self::Add { a, b } => Op::Add { a: f(a), b: f(b) },
            Self::AddChannels { x, v } => Op::AddChannels { x: f(x), v: f(v) },
            Self::MaxPool2 { x, add } => Op::MaxPool2 { x: f(x), add: add.map(f) },
            Self::UpsampleBilinear2 { x } => Op::UpsampleBilinear2 { x: f(x) },
            Self::UpsampleNearest2 { x } => Op::UpsampleNearest2 { x: f(x) },
            Self::Concat { a, b, add } => Op::Concat { a: f(a), b: f(b), add: add.map(f) },
            Self::PositionEncoding { t, dim } => Op::PositionEncoding { t: f(t), dim },
            Self::EmbeddingAdd { x, ids, table } => Op::EmbeddingAdd { x: f(x), ids, table },
        }
    }

    /// The operand whose memory the output may take over when nothing else needs it: the operation reads each of its
    /// elements no later than it writes the same element of the output.
    pub fn in_place(&self) -> Option<R> {
        match *self {
            Self::Activate { x, .. } | Self::EmbeddingAdd { x, .. } => Some(x),
            Self::Add { a, .. } => Some(a),
            _ => None,
        }
    }

    /// Multiply-accumulates for an output of this shape; `inp` is the shape of the first operand.
    pub fn macs(&self, inp: Shape, out: Shape) -> u64 {
        let out = out.elements() as u64;
        match *self {
            Self::Conv2d { kernel, .. } => out * (kernel * kernel * inp.c) as u64,
            Self::Linear { .. } => out * inp.c as u64,
            _ => 0,
        }
    }
}
