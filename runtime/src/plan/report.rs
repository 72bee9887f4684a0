//! A plan as a person reads it.

use super::{Plan, Step};
use crate::graph::{Activation, Op};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// What was folded into the step, in the order in which it is applied.
fn fused(step: &Step) -> String {
    let (upsample, residual, last) = match step.op {
        Op::Conv2d { upsample, residual, activation, .. } => (upsample, residual.is_some(), activation),
        Op::Linear { residual, activation, .. } => (false, residual.is_some(), activation),
        Op::GroupNorm { activation, .. } => (false, false, activation),
        Op::MaxPool2 { add: Some(_), .. } | Op::Concat { add: Some(_), .. } => return "+add_channels".to_owned(),
        _ => (false, false, Activation::None),
    };
    let add = if residual { "+add" } else { "" };
    let (before, after) = if last == Activation::Geglu { ("", add) } else { (add, "") };
    let activation = match last {
        Activation::None => "",
        Activation::Relu => "+relu",
        Activation::LeakyRelu => "+leaky_relu",
        Activation::ResidualScale => "+residual_scale",
        Activation::Silu => "+silu",
        Activation::Gelu => "+gelu",
        Activation::QuickGelu => "+quick_gelu",
        Activation::GeluTanh => "+gelu_tanh",
        Activation::Sigmoid => "+sigmoid",
        Activation::Tanh => "+tanh",
        Activation::Negate => "+negate",
        Activation::Geglu => "+geglu",
    };
    let upsample = if upsample { "+upsample" } else { "" };
    let place = if step.is_in_place() { " in place" } else { "" };
    format!("{upsample}{before}{activation}{after}{place}")
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
            let operation = format!("{}{}", step.op.kind(), fused(step));
            let from = step.op.reads().next().map(|x| format!("{} -> ", x.shape)).unwrap_or_default();
            let shape = format!("{from}{}", step.output.shape);
            let (offset, macs, bytes) = (step.output.offset, step.macs, step.bytes());
            writeln!(f, "{i:3} {operation:<20} {:<20} {shape:<32} {offset:>8} {macs:>12} {bytes:>10}", step.name)?;
        }
        let bytes: u64 = self.steps.iter().map(Step::bytes).sum();
        writeln!(f, "{} steps, {} MACs, {bytes} bytes of activations moved", self.steps.len(), self.macs())?;
        write!(f, "arena {} bytes, of which {} live at the peak", self.arena_len * 4, self.peak * 4)
    }
}
