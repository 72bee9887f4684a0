//! From a [`Graph`] to a list of steps on one arena: what runs, in which order, and where every activation lies.
//!
//! A plan is plain data that any backend executes: it holds no kernel and no pointer. Its memory is known before
//! anything runs, so it can be refused.

mod arena;
mod error;
mod fuse;
mod limit;
#[cfg(test)]
pub(crate) mod random;
mod report;
#[cfg(test)]
mod tests;
mod verify;

use crate::graph::{Graph, Op, Shape, ValueId};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

pub use error::{ExecError, KernelError, PlanError};
pub use limit::MemoryLimit;

/// Offsets in the arena are multiples of this many elements: 64 bytes, a cache line.
pub const ALIGN: usize = 16;

/// Where an activation lies in the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// The graph's value.
    pub value: ValueId,
    /// First element, in `f32` elements from the start of the arena; a multiple of [`ALIGN`].
    pub offset: usize,
    /// Its shape.
    pub shape: Shape,
}

impl Slot {
    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.shape.elements()
    }

    /// Never: a graph has no empty activations.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements' range in the arena.
    pub const fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }

    const fn overlaps(&self, other: &Slot) -> bool {
        self.offset < other.offset + other.len() && other.offset < self.offset + self.len()
    }
}

/// One operation to execute.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// The graph's name of it; a fused step bears the name of its first part that has weights, or else of its first.
    pub name: String,
    /// What to do, with fused operands. An output may lie exactly on [`Op::in_place`]'s operand (a convolution's on the
    /// first elements of it), and on nothing else that the step reads.
    pub op: Op<Slot>,
    /// Where the result goes.
    pub output: Slot,
    /// Multiply-accumulates.
    pub macs: u64,
}

impl Step {
    /// Bytes of activations read and written.
    pub fn bytes(&self) -> u64 {
        let read: usize = self.op.reads().map(|slot| slot.len()).sum();
        (read + self.output.len()) as u64 * 4
    }

    /// Whether the output lies on the operand that it replaces.
    pub fn is_in_place(&self) -> bool {
        self.op.in_place().is_some_and(|x| x.offset == self.output.offset)
    }
}

/// A named place that the caller fills or reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The graph's name of it.
    pub name: String,
    /// Where it lies. An input is overwritten during execution: fill it before each.
    pub slot: Slot,
}

/// How to plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlanOptions {
    /// Fold activations and additions into the operations that they follow.
    pub fuse: bool,
    /// The most bytes that the arena may have.
    pub memory_limit: Option<u64>,
    /// Offsets are multiples of this many elements, itself a multiple of [`ALIGN`]: devices bind memory at coarser
    /// steps than a cache line.
    pub align: usize,
    /// The arena is cut into pieces of this many elements, a multiple of `align`, and no activation crosses from one
    /// into the next: devices bind, or allocate, only so much at once.
    pub piece: Option<usize>,
    /// A convolution that keeps the sides, and adds no channels, may write over its operand where its output has at least
    /// this many elements: for backends that can do so.
    pub convolve_in_place: Option<usize>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { fuse: true, memory_limit: None, align: ALIGN, piece: None, convolve_in_place: None }
    }
}

/// A network, ready to be executed.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    inputs: Vec<Binding>,
    outputs: Vec<Binding>,
    ids: Vec<(String, usize)>,
    arena_len: usize,
    peak: usize,
}

impl Plan {
    /// Plans a graph.
    ///
    /// # Errors
    /// [`PlanError::Memory`] if the arena would be larger than the options allow, or than memory can be;
    /// [`PlanError::Activation`] if one activation alone is larger than a piece; [`PlanError::Options`].
    pub fn new(graph: &Graph, options: &PlanOptions) -> Result<Self, PlanError> {
        let mut nodes = graph.nodes().to_vec();
        if options.fuse {
            fuse::fuse(&mut nodes, graph);
        }
        fuse::drop_dead(&mut nodes, graph);
        let piece = options.piece.unwrap_or(0);
        let multiple = |of: usize, by: usize| by != 0 && of.is_multiple_of(by);
        if !multiple(options.align, ALIGN) || options.align == 0 || !multiple(piece, options.align) {
            return Err(PlanError::Options { align: options.align, piece });
        }
        if let Some(piece) = options.piece {
            arena::fits(&nodes, graph, piece as u64)?;
        }
        let arena = arena::allocate(&mut nodes, graph, options);

        let allowed = options.memory_limit.unwrap_or(u64::MAX).min(isize::MAX as u64);
        let needed = arena.len.saturating_mul(4);
        if needed > allowed {
            return Err(PlanError::Memory { needed, allowed });
        }

        let slot = |value: ValueId| {
            let offset = arena.offsets[value.index()] as usize;
            Slot { value, offset, shape: graph.shape(value) }
        };
        let bind = |port: &crate::graph::Port| Binding { name: port.name.clone(), slot: slot(port.value) };
        let step = |node: crate::graph::Node| {
            let op = node.op.map(slot);
            let output = slot(node.output);
            let macs = op.macs(|x: Slot| x.shape, output.shape);
            Step { name: node.name, op, output, macs }
        };
        Ok(Self {
            inputs: graph.inputs().iter().map(bind).collect(),
            outputs: graph.outputs().iter().map(bind).collect(),
            steps: nodes.into_iter().map(step).collect(),
            ids: graph.ids().to_vec(),
            arena_len: arena.len as usize,
            peak: arena.peak as usize,
        })
    }

    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The activations to fill before each execution.
    pub fn inputs(&self) -> &[Binding] {
        &self.inputs
    }

    /// The activations to read after each execution.
    pub fn outputs(&self) -> &[Binding] {
        &self.outputs
    }

    /// The input of that name.
    pub fn input(&self, name: &str) -> Option<Slot> {
        self.inputs.iter().find(|b| b.name == name).map(|b| b.slot)
    }

    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<Slot> {
        self.outputs.iter().find(|b| b.name == name).map(|b| b.slot)
    }

    /// The inputs of ids: name, and how many ids.
    pub fn ids(&self) -> &[(String, usize)] {
        &self.ids
    }

    /// Length of the arena in `f32` elements.
    pub fn arena_len(&self) -> usize {
        self.arena_len
    }

    /// The most elements live at any one step: no arena can be shorter.
    pub fn peak_live(&self) -> usize {
        self.peak
    }

    /// Multiply-accumulates of one execution.
    pub fn macs(&self) -> u64 {
        self.steps.iter().map(|s| s.macs).sum()
    }
}
