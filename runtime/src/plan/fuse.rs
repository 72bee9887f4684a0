//! Rewriting: additions and activations move into the operation whose result they alone use.

use crate::graph::{Activation, Graph, Node, Op, ValueId};
use alloc::vec;
use alloc::vec::Vec;

/// Folds activations and residual additions into convolutions and linear layers, activations into group norms, nearest
/// upsampling into the convolution that follows, channel additions into pooling and concatenation. The fused operation
/// stands where the last of its parts stood, so that all operands exist.
pub(super) fn fuse(nodes: &mut Vec<Node>, graph: &Graph) {
    let uses = count_uses(nodes, graph);
    let mut producer: Vec<Option<usize>> = vec![None; graph.values().len()];
    let mut absorbed = vec![false; nodes.len()];
    for i in 0..nodes.len() {
        let fused = {
            // The operation that makes `value`, if nothing else reads it.
            let sole = |value: ValueId| producer[value.index()].filter(|_| uses[value.index()] == 1);
            candidates(&nodes[i].op)
                .map(|x| x.filter(|x| !stays_apart(&nodes[i], *x, graph)))
                .into_iter()
                .flatten()
                .find_map(|x| sole(x).and_then(|p| Some((p, absorb(&nodes[p].op, &nodes[i].op, x)?))))
        };
        if let Some((p, op)) = fused {
            // A convolution keeps the name by which its weights are known.
            if !matches!(nodes[i].op, Op::Conv2d { .. }) {
                nodes[i].name = core::mem::take(&mut nodes[p].name);
            }
            nodes[i].op = op;
            absorbed[p] = true;
        }
        producer[nodes[i].output.index()] = Some(i);
    }
    let mut absorbed = absorbed.into_iter();
    nodes.retain(|_| absorbed.next() != Some(true));
}

/// Whether what makes the operand cannot do the operation too: one that gives it another shape, or a convolution of a picture
/// that was not quite doubled.
fn stays_apart(node: &Node, x: ValueId, graph: &Graph) -> bool {
    let s = graph.shape(x);
    match node.op {
        Op::Activate { .. } => s != graph.shape(node.output),
        Op::Conv2d { .. } => !s.h.is_multiple_of(2) || !s.w.is_multiple_of(2),
        _ => false,
    }
}

/// Removes what no output needs.
pub(super) fn drop_dead(nodes: &mut Vec<Node>, graph: &Graph) {
    let mut needed = vec![false; graph.values().len()];
    for port in graph.outputs() {
        needed[port.value.index()] = true;
    }
    for node in nodes.iter().rev() {
        if needed[node.output.index()] {
            node.op.reads().for_each(|value| needed[value.index()] = true);
        }
    }
    nodes.retain(|node| needed[node.output.index()]);
}

/// How often each value is read; the caller's reading of an output counts.
fn count_uses(nodes: &[Node], graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.values().len()];
    let read = nodes.iter().flat_map(|node| node.op.reads());
    read.chain(graph.outputs().iter().map(|port| port.value)).for_each(|value| uses[value.index()] += 1);
    uses
}

/// The operands whose producers may absorb the operation.
fn candidates(op: &Op<ValueId>) -> [Option<ValueId>; 2] {
    match *op {
        Op::Activate { x, .. } | Op::AddChannels { x, .. } | Op::Conv2d { x, upsample: false, .. } => [Some(x), None],
        Op::Add { a, b } => [Some(a), Some(b)],
        _ => [None, None],
    }
}

/// `first` extended by `then`, which reads `first`'s output `x`; `None` if `first` has no place for it.
fn absorb(first: &Op<ValueId>, then: &Op<ValueId>, x: ValueId) -> Option<Op<ValueId>> {
    let mut op = *first;
    match (&mut op, *then) {
        (
            Op::Conv2d { activation: slot @ Activation::None, .. }
            | Op::Linear { activation: slot @ Activation::None, .. },
            Op::Activate { activation, .. },
        ) => *slot = activation,
        (
            Op::Conv2d { activation: Activation::None, residual: slot @ None, .. }
            | Op::Linear { activation: Activation::None | Activation::Geglu, residual: slot @ None, .. },
            Op::Add { a, b },
        ) => *slot = Some(if a == x { b } else { a }),
        (
            Op::GroupNorm { activation: slot @ Activation::None, .. },
            Op::Activate { activation: activation @ (Activation::Relu | Activation::Silu | Activation::Gelu), .. },
        ) => *slot = activation,
        (&mut Op::UpsampleNearest2 { x: small }, mut conv @ Op::Conv2d { .. }) => {
            if let Op::Conv2d { x, upsample, .. } = &mut conv {
                (*x, *upsample) = (small, true);
            }
            op = conv;
        }
        (Op::MaxPool2 { add: slot @ None, .. } | Op::Concat { add: slot @ None, .. }, Op::AddChannels { v, .. }) => {
            *slot = Some(v);
        }
        _ => return None,
    }
    Some(op)
}
