//! A network as data: operations, shapes, and weights by name. Nothing here computes.
//!
//! A builder (see [`crate::nn`]) makes a [`Graph`] for one batch size; [`crate::plan`] folds it, gives every activation
//! a place in one arena, and each backend executes the resulting list of steps. Operations stand in the order in
//! which they were added, which is a valid order of execution: an operation reads only values that exist.

mod activation;
mod backward;
mod build;
mod error;
mod norms;
mod op;
mod operands;
mod share;
mod tokens;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use activation::Activation;
pub use error::GraphError;
pub use op::Op;
pub use share::share_weights;
pub use tokens::Attend;

/// The shape of an activation, channels last: `n` pictures of `h` rows, `w` columns and `c` channels.
///
/// A vector per picture, such as the time vector, is `(n, 1, 1, c)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Pictures.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels, contiguous in memory.
    pub c: usize,
}

impl Shape {
    /// A picture shape.
    pub const fn new(n: usize, h: usize, w: usize, c: usize) -> Self {
        Self { n, h, w, c }
    }

    /// A vector of `c` elements a picture.
    pub const fn vector(n: usize, c: usize) -> Self {
        Self { n, h: 1, w: 1, c }
    }

    /// Number of elements. Cannot overflow for a shape that a [`Graph`] accepted.
    pub const fn elements(self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Number of elements, or `None` if it exceeds `usize`.
    pub fn checked_elements(self) -> Option<usize> {
        self.n.checked_mul(self.h)?.checked_mul(self.w)?.checked_mul(self.c)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}x{}", self.n, self.h, self.w, self.c)
    }
}

/// An activation of a [`Graph`]: an input, or the output of one operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Its position in [`Graph::values`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A weight of a [`Graph`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WeightId(pub(crate) u32);

impl WeightId {
    /// Its position in [`Graph::weights`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An input of integer ids (labels, tokens, places, lengths): it does not live among the activations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdsId(pub(crate) u32);

impl IdsId {
    /// Its position in [`Graph::ids`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a weight is stored and used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WeightKind {
    /// The kernel of a convolution, `[out][kernel][kernel][in]`.
    Conv {
        /// Output channels.
        out: usize,
        /// Rows, and columns, of the kernel.
        kernel: usize,
        /// Input channels.
        inp: usize,
    },
    /// The matrix of a linear layer, `[out][in]`.
    Linear {
        /// Output features.
        out: usize,
        /// Input features.
        inp: usize,
    },
    /// A bias, or a normalization's scale: one number a channel.
    Vector {
        /// Length.
        len: usize,
    },
    /// An embedding: `rows` vectors of `dim` elements.
    Table {
        /// Number of ids.
        rows: usize,
        /// Length of a vector.
        dim: usize,
    },
}

impl WeightKind {
    /// The shape in GGUF's order: fastest dimension first, padded with 1.
    pub const fn ne(self) -> [u64; 4] {
        match self {
            Self::Conv { out, kernel, inp } => [inp as u64, kernel as u64, kernel as u64, out as u64],
            Self::Linear { out, inp } => [inp as u64, out as u64, 1, 1],
            Self::Vector { len } => [len as u64, 1, 1, 1],
            Self::Table { rows, dim } => [dim as u64, rows as u64, 1, 1],
        }
    }

    /// The shape in row-major order, as a [`crate::gguf::Writer`] takes it.
    pub fn row_major(self) -> Vec<usize> {
        match self {
            Self::Conv { out, kernel, inp } => alloc::vec![out, kernel, kernel, inp],
            Self::Linear { out, inp } => alloc::vec![out, inp],
            Self::Vector { len } => alloc::vec![len],
            Self::Table { rows, dim } => alloc::vec![rows, dim],
        }
    }

    /// Number of elements.
    pub const fn elements(self) -> usize {
        match self {
            Self::Conv { out, kernel, inp } => out * kernel * kernel * inp,
            Self::Linear { out, inp } => out * inp,
            Self::Vector { len } => len,
            Self::Table { rows, dim } => rows * dim,
        }
    }
}

/// How a weight comes from its tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Derivation {
    /// It is the tensor.
    #[default]
    Stored,
    /// The layer's transpose as a map: what takes the gradient of its output to that of its input. A matrix is
    /// transposed; a kernel is turned by 180 degrees, and its input and output channels exchanged.
    Adjoint,
    /// The same of a convolution that sees its whole input at once, whose output is one pixel: as a matrix,
    /// `[kernel * kernel * in][out]`.
    AdjointMatrix {
        /// Rows, and columns, of the kernel.
        kernel: usize,
    },
}

/// A weight that the network expects, by its name in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weight {
    /// The tensor's name.
    pub name: String,
    /// Its use and shape.
    pub kind: WeightKind,
    /// How it is made from the tensor.
    pub derivation: Derivation,
}

impl Weight {
    /// What the tensor in the file is.
    pub const fn tensor(&self) -> WeightKind {
        match (self.derivation, self.kind) {
            (Derivation::Adjoint, WeightKind::Conv { out, kernel, inp }) => {
                WeightKind::Conv { out: inp, kernel, inp: out }
            }
            (Derivation::Adjoint, WeightKind::Linear { out, inp }) => WeightKind::Linear { out: inp, inp: out },
            (Derivation::AdjointMatrix { kernel }, WeightKind::Linear { out, inp }) => {
                WeightKind::Conv { out: inp, kernel, inp: out / (kernel * kernel) }
            }
            (_, kind) => kind,
        }
    }
}

/// A named input or output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// The name by which a caller finds it.
    pub name: String,
    /// The activation behind it.
    pub value: ValueId,
}

/// An operation of a graph.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Where it comes from, for reports and errors: `down1.convs.0`.
    pub name: String,
    /// What it does, and what it reads.
    pub op: Op<ValueId>,
    /// What it makes.
    pub output: ValueId,
}

/// A network for one batch size.
#[derive(Clone, Default, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    values: Vec<Shape>,
    weights: Vec<Weight>,
    inputs: Vec<Port>,
    ids: Vec<(String, usize)>,
    outputs: Vec<Port>,
}

impl Graph {
    /// The operations, in an order in which they can be executed.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The shapes of all activations, by [`ValueId::index`].
    pub fn values(&self) -> &[Shape] {
        &self.values
    }

    /// The shape of an activation of this graph.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.values[value.index()]
    }

    /// The weights expected, by [`WeightId::index`]. The order depends on the network alone, never on the batch.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The activations that a caller fills.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The inputs of ids: name, and how many ids.
    pub fn ids(&self) -> &[(String, usize)] {
        &self.ids
    }

    /// The activations that a caller reads afterwards.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Number of elements of all tensors.
    pub fn parameters(&self) -> usize {
        let stored = self.weights.iter().filter(|w| w.derivation == Derivation::Stored);
        stored.map(|w| w.kind.elements()).sum()
    }
}
