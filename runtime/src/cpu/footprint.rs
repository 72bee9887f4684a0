//! How much memory weights and executions take, told without taking it.

use super::exec::sizes;
use super::shapes::{attention_shape, conv_shape, image, rows};
use super::{Context, Matrix};
use crate::graph::{Op, WeightId, WeightKind};
use crate::plan::{ALIGN, Plan, Step};
use crate::quant::DType;

/// Bytes of a weight as [`super::exec::Weights`] hold it; the most there can be where its sizes overflow.
pub fn weight(kind: WeightKind, dtype: DType) -> u64 {
    let bytes = match kind {
        WeightKind::Conv { out, kernel, inp } => {
            kernel.checked_mul(kernel).and_then(|taps| Matrix::bytes_of(dtype, out, taps, inp))
        }
        WeightKind::Linear { out, inp } => Matrix::bytes_of(dtype, out, 1, inp),
        WeightKind::Vector { len } => len.checked_mul(size_of::<f32>()),
        WeightKind::Table { rows, dim } => dtype.row_bytes(dim).and_then(|row| row.checked_mul(rows)),
    };
    bytes.map_or(u64::MAX, |bytes| bytes as u64)
}

/// Whether a weight is a matrix, which can be packed as it is used.
pub(crate) fn is_matrix(kind: WeightKind) -> bool {
    sizes(kind).is_some()
}

/// Which weights of a network are in memory, where about `limit` bytes may be: all that are no matrices, and matrices as they come.
pub(crate) struct Holding {
    limit: u64,
    /// Bytes of those that are in memory.
    pub taken: u64,
}

impl Holding {
    pub fn new(limit: u64) -> Self {
        Self { limit, taken: 0 }
    }

    /// Whether the next one, of so many bytes, is.
    pub fn holds(&mut self, bytes: u64, is_matrix: bool) -> bool {
        let more = self.taken.saturating_add(bytes);
        let holds = !is_matrix || more <= self.limit;
        if holds {
            self.taken = more;
        }
        holds
    }
}

/// Bytes of the arena and of the scratch memory of an [`super::exec::Executor`] of this plan on these threads; `dtype`
/// tells how a matrix is stored.
pub fn executor(context: &Context, plan: &Plan, dtype: impl Fn(WeightId) -> DType) -> u64 {
    arena(plan.arena_len()) + scratch(context, plan, dtype) as u64
}

/// Bytes of an arena of `len` elements, wherever it begins.
pub(super) const fn arena(len: usize) -> u64 {
    (len as u64 + ALIGN as u64) * size_of::<f32>() as u64
}

/// The most scratch memory that a step needs, in bytes; whole f32.
pub(super) fn scratch(context: &Context, plan: &Plan, dtype: impl Fn(WeightId) -> DType) -> usize {
    let need = |step: &Step| match step.op {
        Op::Conv2d { weight, .. } => {
            let shape = conv_shape(&step.op, step.output.shape);
            shape.map_or(0, |shape| match step.is_in_place() {
                true => super::conv2d_in_place_scratch(context, &shape, dtype(weight)),
                false => super::conv2d_scratch(context, &shape, dtype(weight)),
            })
        }
        Op::Linear { x, weight, .. } => super::linear_scratch(context, rows(x.shape), x.shape.c, dtype(weight)),
        Op::GroupNorm { x, groups, .. } => super::group_norm_scratch(image(x.shape), groups),
        Op::Attention { q, k, heads, causal, scale, .. } => {
            super::attention_scratch(context, &attention_shape(q.shape, k.shape, heads, causal, scale))
        }
        _ => 0,
    };
    plan.steps().iter().map(need).max().unwrap_or(0).next_multiple_of(size_of::<f32>())
}
