//! Executes plans with the CPU kernels, in one arena, allocating nothing.

use super::shapes::{attention_shape, conv_shape, image, rows};
use super::{Context, Epilogue, PackedMatrix, Table, footprint};
use crate::graph::{Graph, IdsId, Op, Shape, WeightId, WeightKind};
use crate::plan::{ALIGN, ExecError, MemoryLimit, Plan, PlanError, PlanOptions, Slot, Step};
use crate::quant::{DType, QuantError};
use alloc::borrow::ToOwned;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// A weight as the kernels read it.
enum Packed {
    Matrix(PackedMatrix),
    /// A bias, or a scale.
    Values(Vec<f32>),
    Table(Table),
}

/// How plans are made for these kernels: large convolutions take their operand's place.
pub const PLAN: PlanOptions = PlanOptions {
    fuse: true,
    memory_limit: None,
    align: ALIGN,
    piece: None,
    // 16 MB: below, the memory is not worth the copies.
    convolve_in_place: Some(4 << 20),
};

/// A network's weights, packed for the kernels; immutable, shared by all executors.
#[derive(Default)]
pub struct Weights {
    items: Vec<(WeightKind, Packed)>,
}

impl Weights {
    /// No weights yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next weight, in the order of [`Graph::weights`]: `data` in `dtype`, in the layout of `kind`.
    ///
    /// # Errors
    /// Data that does not have the size that its kind and type ask for, or a type that the kernels cannot read.
    pub fn push(&mut self, kind: WeightKind, dtype: DType, data: &[u8]) -> Result<(), ExecError> {
        let packed = match kind {
            WeightKind::Conv { out, kernel, inp } => {
                Packed::Matrix(PackedMatrix::new(dtype, data, out, kernel * kernel, inp)?)
            }
            WeightKind::Linear { out, inp } => Packed::Matrix(PackedMatrix::new(dtype, data, out, 1, inp)?),
            WeightKind::Table { rows, dim } => {
                let table = Table::new(dtype, data, dim)?;
                if table.rows() != rows {
                    let (bytes, len) = (data.len(), kind.elements());
                    return Err(QuantError::LengthMismatch { dtype, bytes, len }.into());
                }
                Packed::Table(table)
            }
            WeightKind::Vector { .. } => {
                let mut values = vec![0.0; kind.elements()];
                crate::quant::decode(dtype, data, &mut values)?;
                Packed::Values(values)
            }
        };
        self.items.push((kind, packed));
        Ok(())
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        let bytes = |packed: &Packed| match packed {
            Packed::Matrix(m) => m.bytes(),
            Packed::Values(v) => v.len() * 4,
            Packed::Table(t) => t.bytes(),
        };
        self.items.iter().map(|(_, packed)| bytes(packed)).sum()
    }

    /// Whether these are the weights of that network.
    pub fn fit(&self, graph: &Graph) -> bool {
        self.items.len() == graph.weights().len()
            && self.items.iter().zip(graph.weights()).all(|((kind, _), weight)| *kind == weight.kind)
    }

    // The kinds agree with the graph's (`fit`), so the other arms are never taken.
    fn matrix(&self, id: WeightId) -> &PackedMatrix {
        match &self.items[id.index()].1 {
            Packed::Matrix(m) => m,
            _ => unreachable!("the weights were checked against the graph"),
        }
    }

    fn table(&self, id: WeightId) -> &Table {
        match &self.items[id.index()].1 {
            Packed::Table(t) => t,
            _ => unreachable!("the weights were checked against the graph"),
        }
    }

    fn values(&self, id: WeightId) -> &[f32] {
        match &self.items[id.index()].1 {
            Packed::Values(v) => v,
            _ => unreachable!("the weights were checked against the graph"),
        }
    }
}

/// One thread of execution: an arena and scratch memory, large enough for each of its plans.
pub struct Executor {
    context: Context,
    weights: Arc<Weights>,
    plans: Vec<Plan>,
    memory: Memory,
    /// Elements of the arena and bytes of scratch memory that the plans need.
    needs: [usize; 2],
}

/// An arena and scratch memory, which executors that never work at the same time may share.
#[derive(Default)]
pub(crate) struct Memory {
    arena: Vec<f32>,
    /// The first element of `arena` on a 64-byte boundary.
    base: usize,
    scratch: Vec<u8>,
}

impl Memory {
    fn new([arena, scratch]: [usize; 2]) -> Self {
        let arena = vec![0.0f32; arena + ALIGN];
        let base = arena.as_ptr().align_offset(ALIGN * size_of::<f32>()).min(ALIGN);
        Self { arena, base, scratch: vec![0; scratch] }
    }

    /// The larger of each.
    fn larger(self, other: Self) -> Self {
        let (mut a, b) = if self.arena.len() >= other.arena.len() { (self, other) } else { (other, self) };
        if b.scratch.len() > a.scratch.len() {
            a.scratch = b.scratch;
        }
        a
    }

    fn has(&self, [arena, scratch]: [usize; 2]) -> bool {
        self.arena.len() >= arena + ALIGN && self.scratch.len() >= scratch
    }
}

impl Executor {
    /// Sets up the execution of several plans of one network (batch sizes), one at a time in the same memory.
    ///
    /// # Errors
    /// [`ExecError::Weights`] if a graph has other weights; [`PlanError::Memory`] if the limit is too low, before
    /// anything is allocated.
    pub fn new(
        context: Context,
        weights: Arc<Weights>,
        plans: Vec<(&Graph, Plan)>,
        limit: MemoryLimit,
    ) -> Result<Self, ExecError> {
        if !plans.iter().all(|(graph, _)| weights.fit(graph)) {
            return Err(ExecError::Weights);
        }
        let plans: Vec<Plan> = plans.into_iter().map(|(_, plan)| plan).collect();
        let len = plans.iter().map(Plan::arena_len).max().unwrap_or(0);
        let dtype = |weight| weights.matrix(weight).dtype();
        let scratch = plans.iter().map(|plan| footprint::scratch(&context, plan, dtype)).max().unwrap_or(0);
        let own = footprint::arena(len) + scratch as u64;
        let needed = own.saturating_add(limit.reserved);
        if needed > limit.allowed {
            return Err(PlanError::Memory { needed, allowed: limit.allowed }.into());
        }
        let needs = [len, scratch];
        Ok(Self { context, weights, plans, memory: Memory::new(needs), needs })
    }

    /// The memory, for another executor to use; it is to be given back before anything else is done.
    pub(crate) fn take_memory(&mut self) -> Memory {
        core::mem::take(&mut self.memory)
    }

    /// Memory of another executor, to be used from now on if it is larger.
    pub(crate) fn give_memory(&mut self, memory: Memory) {
        self.memory = core::mem::take(&mut self.memory).larger(memory);
        if !self.memory.has(self.needs) {
            self.memory = core::mem::take(&mut self.memory).larger(Memory::new(self.needs));
        }
    }

    /// The plans, in the order in which they were given.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// Bytes of the arena and of the scratch memory.
    pub fn bytes(&self) -> usize {
        self.memory.arena.len() * 4 + self.memory.scratch.len()
    }

    /// The elements of an input, to be filled before each execution.
    pub fn slot_mut(&mut self, slot: Slot) -> &mut [f32] {
        &mut self.memory.arena[self.memory.base..][slot.range()]
    }

    /// The elements of an output, after an execution.
    pub fn slot(&self, slot: Slot) -> &[f32] {
        &self.memory.arena[self.memory.base..][slot.range()]
    }

    /// Executes a plan. `ids` are those of the plan's inputs of ids, one after the other; each must be a row of its
    /// table.
    pub fn run(&mut self, plan: usize, ids: &[Option<u32>]) {
        for i in 0..self.plans[plan].steps().len() {
            self.step(plan, i, ids);
        }
    }

    /// Executes a plan and looks at each result.
    ///
    /// # Errors
    /// [`ExecError::NotFinite`] names the first operation that made a NaN or an infinity.
    pub fn run_checked(&mut self, plan: usize, ids: &[Option<u32>]) -> Result<(), ExecError> {
        for i in 0..self.plans[plan].steps().len() {
            self.step(plan, i, ids);
            let step = &self.plans[plan].steps()[i];
            let output = self.slot(step.output);
            if let Some(index) = output.iter().position(|v| !v.is_finite()) {
                let value = alloc::format!("{}", output[index]);
                return Err(ExecError::NotFinite { step: step.name.to_owned(), kind: step.op.kind(), value, index });
            }
        }
        Ok(())
    }

    /// Executes one step of a plan, to be measured: all those before it must have been executed.
    pub fn run_step(&mut self, plan: usize, i: usize, ids: &[Option<u32>]) {
        self.step(plan, i, ids);
    }

    fn step(&mut self, plan: usize, i: usize, ids: &[Option<u32>]) {
        let plan = &self.plans[plan];
        let Memory { arena, base, scratch } = &mut self.memory;
        let arena = &mut arena[*base..][..plan.arena_len()];
        execute(&self.context, &self.weights, plan, &plan.steps()[i], ids, scratch, arena);
    }
}

/// The ids of one input.
fn ids_of<'a>(plan: &Plan, input: IdsId, ids: &'a [Option<u32>]) -> &'a [Option<u32>] {
    let skip: usize = plan.ids()[..input.index()].iter().map(|(_, n)| n).sum();
    &ids[skip..][..plan.ids()[input.index()].1]
}

/// The arena without a step's output: what lies left and right of it.
#[derive(Clone, Copy)]
struct Operands<'a> {
    left: &'a [f32],
    right: &'a [f32],
    right_start: usize,
}

impl<'a> Operands<'a> {
    fn get(self, slot: Slot) -> &'a [f32] {
        let range = slot.range();
        if range.end <= self.left.len() {
            &self.left[range]
        } else {
            &self.right[range.start - self.right_start..range.end - self.right_start]
        }
    }
}

fn execute(
    ctx: &Context,
    weights: &Weights,
    plan: &Plan,
    step: &Step,
    ids: &[Option<u32>],
    scratch: &mut [u8],
    arena: &mut [f32],
) {
    let (left, rest) = arena.split_at_mut(step.output.offset);
    // A convolution in place may replace a longer operand than its output is.
    let replaced = step.op.in_place().filter(|_| step.is_in_place()).map_or(0, |x| x.len());
    let len = replaced.max(step.output.len());
    let (y, right) = rest.split_at_mut(len);
    let operands = Operands { left, right, right_start: step.output.offset + len };
    let get = |slot| operands.get(slot);
    // An operand that the output replaces is in `y` already; any other is copied there.
    let replace = |x: Slot, y: &mut [f32]| {
        if x.offset != step.output.offset {
            y.copy_from_slice(get(x));
        }
    };
    let epilogue = |bias: Option<WeightId>, residual: Option<Slot>, activation| Epilogue {
        bias: bias.map_or(&[][..], |bias| weights.values(bias)),
        residual: residual.map(get),
        activation,
    };
    match step.op {
        Op::Conv2d { x, weight, bias, residual, activation, .. } => {
            if let Some(shape) = conv_shape(&step.op, step.output.shape) {
                let (w, e) = (weights.matrix(weight), epilogue(bias, residual, activation));
                match step.is_in_place() {
                    true => super::conv2d_in_place(ctx, &shape, w, &e, scratch, y),
                    false => super::conv2d(ctx, &shape, get(x), w, &e, scratch, y),
                }
            }
        }
        Op::Linear { x, weight, bias, residual, activation } => {
            let e = epilogue(bias, residual, activation);
            super::linear(ctx, rows(x.shape), get(x), weights.matrix(weight), &e, scratch, y);
        }
        Op::Activate { x, activation } => {
            replace(x, y);
            super::activate(ctx, activation, y);
        }
        Op::Add { a, b } => {
            replace(a, y);
            super::add(ctx, get(b), y);
        }
        Op::AddChannels { x, v } => super::add_channels(ctx, image(x.shape), get(x), get(v), y),
        Op::MaxPool2 { x, add } => super::max_pool2(ctx, image(x.shape), get(x), add.map(get), y),
        Op::UpsampleBilinear2 { x } => super::upsample_bilinear2(ctx, image(x.shape), get(x), y),
        Op::UpsampleNearest2 { x } => super::upsample_nearest2(ctx, image(x.shape), get(x), y),
        Op::Concat { a, b, add } => super::concat(ctx, image(a.shape), get(a), b.shape.c, get(b), add.map(get), y),
        Op::PositionEncoding { t, dim } => {
            let rows = y.chunks_exact_mut(dim).zip(get(t));
            rows.for_each(|(row, &t)| super::position_encoding(t, dim, row));
        }
        Op::EmbeddingAdd { x, ids: input, table } => {
            replace(x, y);
            super::embedding_add(weights.table(table), ids_of(plan, input, ids), y);
        }
        Op::TokenEmbedding { ids: input, table, positions } => {
            let Shape { w: tokens, c: dim, .. } = step.output.shape;
            let [table, positions] = [table, positions].map(|w| weights.table(w));
            super::token_embedding([tokens, dim], table, positions, ids_of(plan, input, ids), y);
        }
        Op::SelectToken { x, ids: input } => {
            let tokens = x.shape.h * x.shape.w;
            super::select_token([tokens, x.shape.c], get(x), ids_of(plan, input, ids), y);
        }
        Op::GroupNorm { x, groups, eps, scale, bias, activation } => {
            let (s, affine) = (image(x.shape), [scale, bias].map(|w| weights.values(w)));
            let x = (!step.is_in_place()).then(|| get(x));
            super::group_norm(ctx, s, groups, eps, affine, activation, x, scratch, y);
        }
        Op::LayerNorm { x, eps, scale, bias } => {
            let (c, affine) = (x.shape.c, [scale, bias].map(|w| weights.values(w)));
            super::layer_norm(ctx, c, eps, affine, (!step.is_in_place()).then(|| get(x)), y);
        }
        Op::Attention { q, k, v, heads, causal } => {
            let shape = attention_shape(q.shape, k.shape, heads, causal);
            super::attention(ctx, &shape, [q, k, v].map(get), scratch, y);
        }
        Op::LogSoftmax { x } => super::log_softmax(ctx, x.shape.c, get(x), y),
        Op::LogSoftmaxBackward { x, ids: input } => {
            super::log_softmax_backward(ctx, x.shape.c, get(x), ids_of(plan, input, ids), y);
        }
        Op::ReluBackward { g, relu } => {
            replace(g, y);
            super::relu_backward(ctx, get(relu), y);
        }
        Op::MaxPool2Backward { x, g } => super::max_pool2_backward(ctx, image(x.shape), get(x), get(g), y),
    }
}
