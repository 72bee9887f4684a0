//! Why a kernel refused.

use super::Isa;

/// Why weights, a shape or an instruction set were refused by the CPU backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The machine cannot run the instruction set asked for.
    #[error("this machine lacks {isa}; its best is {best}: ask for that, or let it be detected")]
    IsaMissing {
        /// What was asked for.
        isa: Isa,
        /// What the machine has.
        best: Isa,
    },
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
