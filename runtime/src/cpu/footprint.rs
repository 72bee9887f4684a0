//! How much memory weights and executions take, told without taking it.

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

/// [`weight`], and whether it is a matrix, which need not be held.
pub(crate) fn held(kind: WeightKind, dtype: DType) -> (u64, bool) {
    (weight(kind, dtype), matches!(kind, WeightKind::Conv { .. } | WeightKind::Linear { .. }))
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
