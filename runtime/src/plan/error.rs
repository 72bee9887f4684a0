//! What can go wrong between a graph and its results, on any backend.

use super::Step;
use crate::quant::QuantError;
use alloc::string::String;

/// A plan that cannot be made, or (from [`Plan::verify`](super::Plan::verify)) is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// More memory than allowed.
    #[error("{needed} bytes of memory are needed, {allowed} are allowed: use a smaller batch, or raise the limit")]
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        allowed: u64,
    },
    /// An activation that no piece of the arena can hold.
    #[error(
        "{value} takes {needed} bytes, but the device binds {allowed} at once: use a smaller picture or batch, or another \
             device"
    )]
    Activation {
        /// The operation that makes it, or the input's name.
        value: String,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes of a piece.
        allowed: u64,
    },
    /// An alignment or a piece that is not what it must be.
    #[error("alignment {align} and pieces of {piece}: the one must be a multiple of 16, the other of the alignment")]
    Options {
        /// Elements.
        align: usize,
        /// Elements; 0 for no pieces.
        piece: usize,
    },
    /// A step reads an activation that is not, or no longer, in the arena.
    #[error("step {step} reads value {value}, which is not intact")]
    Clobbered {
        /// The step's name, or the output's.
        step: String,
        /// The value's index in the graph.
        value: usize,
    },
    /// A step's output lies on something that the step reads.
    #[error("step {step} writes over its operand, value {value}")]
    Aliased {
        /// The step's name.
        step: String,
        /// The operand's index in the graph.
        value: usize,
    },
    /// An activation lies outside the arena or off its alignment.
    #[error("value {value} is misplaced at offset {offset}")]
    Misplaced {
        /// The value's index in the graph.
        value: usize,
        /// Its offset in elements.
        offset: usize,
    },
}

/// Why a backend refused weights or their shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A dimension of a weight matrix is zero.
    #[error("a weight matrix of {out} outputs x {taps} taps x {inp} inputs is empty: every size must be at least 1")]
    EmptyMatrix {
        /// Output channels.
        out: usize,
        /// Kernel height times width.
        taps: usize,
        /// Input channels.
        inp: usize,
    },
    /// A product of sizes does not fit in memory's address range.
    #[error("a weight matrix of {out} outputs x {taps} taps x {inp} inputs is too large for this machine")]
    TooLarge {
        /// Output channels.
        out: usize,
        /// Kernel height times width.
        taps: usize,
        /// Input channels.
        inp: usize,
    },
    /// Quantized weights need whole blocks along the input channels.
    #[error("{dtype} weights come in blocks of {block} input channels, but there are {inp}: store them as f16 or f32")]
    PartialBlock {
        /// Name of the weights' format.
        dtype: &'static str,
        /// Elements in a block.
        block: usize,
        /// Input channels.
        inp: usize,
    },
    /// The bytes of a weight tensor are not as many as its shape says.
    #[error("{dtype} weights of {out} x {taps} x {inp} take {expected} bytes, but {got} were given: check the shape")]
    WeightBytes {
        /// Name of the weights' format.
        dtype: &'static str,
        /// Output channels.
        out: usize,
        /// Kernel height times width.
        taps: usize,
        /// Input channels.
        inp: usize,
        /// Bytes that the shape takes.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
}

/// An execution that cannot be set up, or went wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The kernels cannot read a matrix.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A bias or an embedding cannot be decoded.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// More memory than allowed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The weights are not the graph's.
    #[error("the weights are not those of this network")]
    Weights,
    /// Too little memory of the caller's.
    #[error("the network needs memory for {needed} f32 ({} bytes), {given} are lent: lend more, or plan smaller batches", .needed * 4)]
    Lent {
        /// Values of f32 that the arena and the scratch memory take.
        needed: usize,
        /// Values of f32 lent.
        given: usize,
    },
    /// A NaN or an infinity.
    #[error("{step} ({kind}) made {value} at element {index} of its output")]
    NotFinite {
        /// The operation.
        step: String,
        /// Its kind.
        kind: &'static str,
        /// `NaN`, `inf` or `-inf`.
        value: String,
        /// Where in the output.
        index: usize,
    },
    /// The same number everywhere, whatever the network is given.
    #[error(
        "{step} ({kind}) makes {value} everywhere, whatever it is given: its weights, or those before it, are zero or lost"
    )]
    Constant {
        /// The operation.
        step: String,
        /// Its kind.
        kind: &'static str,
        /// The number.
        value: f32,
    },
}

impl ExecError {
    /// That all numbers of an operation's output are finite.
    pub(crate) fn not_finite(step: &Step, output: &[f32]) -> Result<(), Self> {
        let Some(index) = output.iter().position(|v| !v.is_finite()) else { return Ok(()) };
        let value = alloc::format!("{}", output[index]);
        Err(Self::NotFinite { step: step.name.clone(), kind: step.op.kind(), value, index })
    }

    /// That not all of them are the same.
    pub(crate) fn constant(step: &Step, output: &[f32]) -> Result<(), Self> {
        match output {
            [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|v| v == first) => {
                Err(Self::Constant { step: step.name.clone(), kind: step.op.kind(), value: *first })
            }
            _ => Ok(()),
        }
    }
}
