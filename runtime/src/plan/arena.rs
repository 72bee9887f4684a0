//! Lifetimes, and a place in the arena for every activation.

use super::{PlanError, PlanOptions};
use crate::graph::{Graph, Node, Op, Shape, ValueId};
use crate::order::order;
use alloc::vec;
use alloc::vec::Vec;

pub(super) struct Arena {
    /// By value, in elements. A dropped value has offset 0.
    pub offsets: Vec<u64>,
    /// Elements of the arena.
    pub len: u64,
    /// Elements live at the fullest step.
    pub peak: u64,
}

/// Memory shared by a value and those that replace it in place.
#[derive(Clone, Copy)]
struct Buffer {
    size: u64,
    /// First and last moment at which it holds something needed; moment 0 is before the first step.
    first: usize,
    last: usize,
    offset: u64,
}

/// Gives every value its offset: largest first, each in the tightest gap that is free during its whole life (Pisarchyk
/// and Lee 2020, "Efficient memory management for deep neural net inference", greedy by size). An addition may have
/// its operands exchanged so that the output can replace one.
pub(super) fn allocate(nodes: &mut [Node], graph: &Graph, options: &PlanOptions) -> Arena {
    let last = last_uses(nodes, graph);
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut buffer_of: Vec<Option<usize>> = vec![None; graph.values().len()];
    let size = |value: ValueId| (graph.shape(value).elements() as u64).next_multiple_of(options.align as u64);

    for port in graph.inputs() {
        let value = port.value.index();
        buffer_of[value] = Some(buffers.len());
        buffers.push(Buffer { size: size(port.value), first: 0, last: last[value], offset: 0 });
    }
    for (i, node) in nodes.iter_mut().enumerate() {
        let moment = i + 1;
        let output = node.output.index();
        let replaced = replaceable(node, moment, &last, graph, options.convolve_in_place)
            .and_then(|value| buffer_of[value.index()]);
        if let Some(buffer) = replaced {
            buffers[buffer].last = last[output];
            buffer_of[output] = Some(buffer);
        } else {
            buffer_of[output] = Some(buffers.len());
            buffers.push(Buffer { size: size(node.output), first: moment, last: last[output].max(moment), offset: 0 });
        }
    }

    let order = order(buffers.len(), &|a, b| {
        buffers[b].size.cmp(&buffers[a].size).then(buffers[a].first.cmp(&buffers[b].first))
    });
    for (placed, &b) in order.iter().enumerate() {
        let (piece, new) = (options.piece.map(|piece| piece as u64), buffers[b as usize]);
        buffers[b as usize].offset = best_fit(&buffers, &order[..placed], new, piece);
    }
    let len = buffers.iter().map(|b| b.offset.saturating_add(b.size)).max().unwrap_or(0);
    let live = |moment| buffers.iter().filter(move |b| (b.first..=b.last).contains(&moment)).map(|b| b.size).sum();
    let peak = (0..=nodes.len()).map(live).max().unwrap_or(0);
    let offsets = buffer_of.iter().map(|b| b.map_or(0, |b| buffers[b].offset)).collect();
    Arena { offsets, len, peak }
}

/// The moment of each value's last reading; an output is read after the last step.
fn last_uses(nodes: &[Node], graph: &Graph) -> Vec<usize> {
    let mut last = vec![0; graph.values().len()];
    for (i, node) in nodes.iter().enumerate() {
        node.op.reads().for_each(|value| last[value.index()] = i + 1);
    }
    graph.outputs().iter().for_each(|port| last[port.value.index()] = nodes.len() + 1);
    last
}

/// The operand that the output may replace: the operation allows it, and this is its only and last reading.
fn replaceable(
    node: &mut Node,
    moment: usize,
    last: &[usize],
    graph: &Graph,
    convolve: Option<usize>,
) -> Option<ValueId> {
    let output = graph.shape(node.output);
    let suits = |x: Shape, op: &Op<ValueId>| match op {
        Op::Conv2d { .. } => {
            convolve.is_some_and(|least| output.elements() >= least)
                && x.c >= output.c
                && Shape { c: output.c, ..x } == output
        }
        _ => x == output,
    };
    let free = |value: ValueId, op: &Op<ValueId>| {
        last[value.index()] == moment
            && op.reads().filter(|&read| read == value).count() == 1
            && suits(graph.shape(value), op)
    };
    if let Op::Add { a, b } = node.op
        && !free(a, &node.op)
        && free(b, &node.op)
    {
        node.op = Op::Add { a: b, b: a };
    }
    node.op.in_place().filter(|&value| free(value, &node.op))
}

/// Whether each activation fits into one piece of the arena.
pub(super) fn fits(nodes: &[Node], graph: &Graph, piece: u64) -> Result<(), PlanError> {
    let inputs = graph.inputs().iter().map(|port| (&port.name, port.value));
    let outputs = nodes.iter().map(|node| (&node.name, node.output));
    let large = inputs.chain(outputs).find(|(_, value)| graph.shape(*value).elements() as u64 > piece);
    large.map_or(Ok(()), |(name, value)| {
        let needed = graph.shape(value).elements() as u64 * 4;
        Err(PlanError::Activation { value: name.clone(), needed, allowed: piece * 4 })
    })
}

/// The first place at or after `offset` where `size` elements lie within one piece.
fn within(piece: Option<u64>, offset: u64, size: u64) -> u64 {
    match piece {
        Some(piece) if offset / piece != (offset + size.max(1) - 1) / piece => offset.next_multiple_of(piece),
        _ => offset,
    }
}

fn best_fit(buffers: &[Buffer], placed: &[u32], new: Buffer, piece: Option<u64>) -> u64 {
    let mut busy: Vec<(u64, u64)> = placed
        .iter()
        .map(|&b| buffers[b as usize])
        .filter(|b| b.first <= new.last && new.first <= b.last)
        .map(|b| (b.offset, b.offset.saturating_add(b.size)))
        .collect();
    busy.sort_unstable();
    let mut best: Option<(u64, u64)> = None;
    let mut end = 0;
    for (from, to) in busy {
        let start = within(piece, end, new.size);
        let gap = from.saturating_sub(start);
        if gap >= new.size && best.is_none_or(|(tightest, _)| gap < tightest) {
            best = Some((gap, start));
        }
        end = end.max(to);
    }
    best.map_or(within(piece, end, new.size), |(_, offset)| offset)
}
