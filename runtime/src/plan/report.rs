//! A plan as a person reads it.

use super::{Plan, Step};
use crate::graph::{Activation, Op};
use core::fmt;

fn fused(step: &Step) -> &'static str {
    match step.op {
        Op::Conv2d { residual, activation, .. } | Op::Linear { residual, activation, .. } => {
            match (residual.is_some(), activation) {
                (false, Activation::None) => "",
                (false, Activation::Relu) => "+relu",
                (false, Activation::Silu) => "+silu",
                (true, Activation::None) => "+add",
                (true, Activation::Relu) => "+add+relu",
                (true, Activation::Silu) => "+add+silu",
            }
        }
        Op::MaxPool2 { add: Some(_), .. } | Op::Concat { add: Some(_), .. } => "+add_channels",
        _ if step.is_in_place() => " in place",
        _ => "",
    }
}

/// One line a step: number, operation, name, shapes, offset in the arena, multiply-accumulates, bytes of activations
/// moved; then the totals.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  # operation            name                 shape                            offset         MACs      bytes"
        )?;
        for (i, step) in self.steps.iter().enumerate() {
            let operation = alloc::format!("{}{}", step.op.kind(), fused(step));
            let from = step.op.reads().next().map(|x| alloc::format!("{} -> ", x.shape)).unwrap_or_default();
            let shape = alloc::format!("{from}{}", step.output.shape);
            let (offset, macs, bytes) = (step.output.offset, step.macs, step.bytes());
            writeln!(f, "{i:3} {operation:<20} {:<20} {shape:<32} {offset:>8} {macs:>12} {bytes:>10}", step.name)?;
        }
        let bytes: u64 = self.steps.iter().map(Step::bytes).sum();
        writeln!(f, "{} steps, {} MACs, {bytes} bytes of activations moved", self.steps.len(), self.macs())?;
        write!(f, "arena {} bytes, of which {} live at the peak", self.arena_len * 4, self.peak * 4)
    }
}
