//! What can be wrong with a network's description.

use super::Shape;
use alloc::string::String;

/// A graph that cannot be built. `name` is the operation's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Two operands that must agree do not.
    #[error("{name}: {kind} got {found}, expected {expected}")]
    Shape {
        /// The operation.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// The offending operand's shape.
        found: Shape,
        /// What would have been right.
        expected: Shape,
    },
    /// The picture's sides do not suit the operation.
    #[error("{name}: {kind} cannot take {found}: {rule}")]
    Size {
        /// The operation.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// The input's shape.
        found: Shape,
        /// What the sides must satisfy.
        rule: &'static str,
    },
    /// A parameter of the operation is out of its range.
    #[error("{name}: {parameter} is {found}, must be {rule}")]
    Parameter {
        /// The operation.
        name: String,
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        found: usize,
        /// What it must be.
        rule: &'static str,
    },
    /// A normalization's epsilon is not a number that keeps a variance of zero from dividing.
    #[error("{name}: eps is {found}, must be finite and greater than 0")]
    Epsilon {
        /// The operation.
        name: String,
        /// Its value.
        found: String,
    },
    /// The gated function asked for by itself.
    #[error("{name}: geglu halves the features of a linear layer and stands nowhere else: use linear_geglu")]
    Geglu {
        /// The operation.
        name: String,
    },
    /// An activation or a weight has no elements, or more than can be addressed.
    #[error("{name}: {found} is empty or exceeds the limit of {limit} elements")]
    Extent {
        /// The operation.
        name: String,
        /// The shape, for a weight `[out, kernel, kernel, in]`.
        found: Shape,
        /// The limit.
        limit: usize,
    },
    /// One tensor is asked for twice with different shapes.
    #[error("weight {name} is used as {first:?} and as {second:?} (GGUF order)")]
    Weight {
        /// The tensor.
        name: String,
        /// The first use's shape.
        first: [u64; 4],
        /// The second use's shape.
        second: [u64; 4],
    },
    /// A gradient through an operation that has none here, or with respect to something that the result does not depend
    /// on.
    #[error("{name}: no gradient through {kind}: {remedy}")]
    NoGradient {
        /// The operation.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// What can be done.
        remedy: &'static str,
    },
    /// A value, or an input of ids, that is not of this graph.
    #[error("{name}: operand {index} is not of this graph")]
    Foreign {
        /// The operation.
        name: String,
        /// The operand's index.
        index: usize,
    },
}
