//! Executes plans with the CPU kernels, in one arena, allocating nothing.

use super::shapes::{attention_shape, conv_shape, image, rows};
use super::streamed::{Lend, Streamed};
use super::{Context, Epilogue, Matrix, Table, footprint};
use crate::graph::{Graph, IdsId, Op, Shape, WeightId, WeightKind};
use crate::plan::{ALIGN, ExecError, MemoryLimit, Plan, PlanError, PlanOptions, Slot, Step};
use crate::quant::{DType, QuantError};
use crate::sync::Arc;
use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// A weight as the kernels read it.
#[derive(Clone)]
enum Packed {
    Matrix(Matrix),
    /// A bias, or a scale.
    Values(Cow<'static, [f32]>),
    Table(Table),
    /// Packed each time that it is used.
    Streamed(Streamed),
    /// One of these in memory of its own, which several networks may hold.
    Shared(Arc<Packed>),
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

    /// Adds the next weight, in the order of [`Graph::weights`]: `data` in `dtype`, in the layout of `kind`. Matrices are
    /// packed for the kernels.
    ///
    /// # Errors
    /// Data that does not have the size that its kind and type ask for, or a type that the kernels cannot read.
    pub fn push(&mut self, kind: WeightKind, dtype: DType, data: &[u8]) -> Result<(), ExecError> {
        let packed = match sizes(kind) {
            Some([out, taps, inp]) => Packed::Matrix(Matrix::pack(dtype, data, out, taps, inp)?),
            None => as_stored(kind, dtype, Cow::Owned(data.to_vec()))?,
        };
        self.items.push((kind, Packed::Shared(packed.into())));
        Ok(())
    }

    /// Adds weight `i` of others as the next: the same memory.
    pub(crate) fn push_held(&mut self, others: &Self, i: usize) {
        self.items.extend(others.items.get(i).cloned());
    }

    /// As [`Self::push`], without packing: what is borrowed is read where it lies by portable code, which gives the same
    /// bits more slowly. Only biases and scales that are not f32, or not aligned as f32, are copied.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_stored(&mut self, kind: WeightKind, dtype: DType, data: Cow<'static, [u8]>) -> Result<(), ExecError> {
        let stored = match sizes(kind) {
            Some([out, taps, inp]) => Packed::Matrix(Matrix::stored(dtype, data, out, taps, inp)?),
            None => as_stored(kind, dtype, data)?,
        };
        self.items.push((kind, stored));
        Ok(())
    }

    /// As [`Self::push`], of `range` of what `source` stores: a matrix is not held, but packed each time that it is used, into memory
    /// that an executor has for the largest of them. What is no matrix is refused: [`ExecError::Weights`].
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_streamed(
        &mut self,
        kind: WeightKind,
        dtype: DType,
        source: Arc<dyn Lend>,
        range: Range<usize>,
    ) -> Result<(), ExecError> {
        let streamed = Streamed::new(kind, dtype, source, range)?.ok_or(ExecError::Weights)?;
        self.items.push((kind, Packed::Streamed(streamed)));
        Ok(())
    }

    /// Bytes of the largest matrix that is packed when it is used.
    fn slot_bytes(&self) -> usize {
        let streamed = self.items.iter().filter_map(|(_, packed)| match packed {
            Packed::Streamed(streamed) => Some(streamed.sizes.packed_bytes()),
            _ => None,
        });
        streamed.max().unwrap_or(0)
    }

    /// The matrix of a step, if it is not held.
    fn streamed(&self, step: &Step) -> Option<&Streamed> {
        let (Op::Conv2d { weight, .. } | Op::Linear { weight, .. }) = step.op else { return None };
        match self.item(weight) {
            Packed::Streamed(streamed) => Some(streamed),
            _ => None,
        }
    }

    /// Bytes of memory held; borrowed ones are not.
    pub fn bytes(&self) -> usize {
        self.items.iter().map(|(_, packed)| packed.bytes()).sum()
    }

    /// Whether these are the weights of that network.
    pub fn fit(&self, graph: &Graph) -> bool {
        self.items.len() == graph.weights().len()
            && self.items.iter().zip(graph.weights()).all(|((kind, _), weight)| *kind == weight.kind)
    }

    fn item(&self, id: WeightId) -> &Packed {
        match &self.items[id.index()].1 {
            Packed::Shared(packed) => packed,
            packed => packed,
        }
    }

    // The kinds agree with the graph's (`fit`), so the other arms are never taken.
    fn matrix(&self, id: WeightId) -> &Matrix {
        match self.item(id) {
            Packed::Matrix(m) => m,
            // Its sizes: what multiplies takes what was packed for it.
            Packed::Streamed(streamed) => &streamed.sizes,
            _ => unreachable!("the weights were checked against the graph"),
        }
    }

    fn table(&self, id: WeightId) -> &Table {
        match self.item(id) {
            Packed::Table(t) => t,
            _ => unreachable!("the weights were checked against the graph"),
        }
    }

    fn values(&self, id: WeightId) -> &[f32] {
        match self.item(id) {
            Packed::Values(v) => v,
            _ => unreachable!("the weights were checked against the graph"),
        }
    }
}

impl Packed {
    fn bytes(&self) -> usize {
        match self {
            Self::Matrix(m) => m.bytes(),
            Self::Values(Cow::Owned(v)) => v.len() * 4,
            Self::Values(Cow::Borrowed(_)) => 0,
            Self::Table(t) => t.bytes(),
            Self::Streamed(_) => 0,
            Self::Shared(packed) => packed.bytes(),
        }
    }
}

/// Outputs, taps and inputs of a matrix.
pub(super) fn sizes(kind: WeightKind) -> Option<[usize; 3]> {
    match kind {
        WeightKind::Conv { out, kernel, inp } => Some([out, kernel * kernel, inp]),
        WeightKind::Linear { out, inp } => Some([out, 1, inp]),
        WeightKind::Table { .. } | WeightKind::Vector { .. } => None,
    }
}

/// What is no matrix.
fn as_stored(kind: WeightKind, dtype: DType, data: Cow<'static, [u8]>) -> Result<Packed, ExecError> {
    if let WeightKind::Table { rows, dim } = kind {
        let (bytes, len) = (data.len(), kind.elements());
        let table = Table::stored(dtype, data, dim)?;
        if table.rows() != rows {
            return Err(QuantError::LengthMismatch { dtype, bytes, len }.into());
        }
        return Ok(Packed::Table(table));
    }
    if let (Cow::Borrowed(data), DType::F32, true) = (&data, dtype, cfg!(target_endian = "little"))
        && let Ok(values) = bytemuck::try_cast_slice(data)
        && values.len() == kind.elements()
    {
        return Ok(Packed::Values(Cow::Borrowed(values)));
    }
    let mut values = vec![0.0; kind.elements()];
    crate::quant::decode(dtype, &data, &mut values)?;
    Ok(Packed::Values(values.into()))
}

/// What an executor works in: the arena, then the scratch memory. Executors that never work at the same time may share it.
pub(crate) enum Memory {
    Allocated(Vec<f32>),
    Lent(&'static mut [f32]),
}

impl Default for Memory {
    /// None.
    fn default() -> Self {
        Self::Allocated(Vec::new())
    }
}

impl Memory {
    fn values(&self) -> &[f32] {
        match self {
            Self::Allocated(values) => values,
            Self::Lent(values) => values,
        }
    }

    fn values_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Allocated(values) => values,
            Self::Lent(values) => values,
        }
    }
}

/// One thread of execution: an arena and scratch memory, large enough for each of its plans.
pub struct Executor {
    context: Context,
    weights: Arc<Weights>,
    plans: Vec<Plan>,
    memory: Memory,
    /// The first element of the memory on a 64-byte boundary: where the arena begins.
    base: usize,
    /// The first element after the arena: the scratch memory.
    scratch: usize,
    /// The first element after that; what is lent may be longer.
    end: usize,
    /// Where matrices that are not held are packed.
    packed: Matrix,
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
        Self::new_in(context, weights, plans, limit, None)
    }

    /// As [`Self::new`], in memory of the caller's, if there is any: of any content, and of any length that suffices.
    ///
    /// # Errors
    /// As [`Self::new`]; [`ExecError::Lent`], with the length that is needed, if the memory is too short.
    pub fn new_in(
        context: Context,
        weights: Arc<Weights>,
        plans: Vec<(&Graph, Plan)>,
        limit: MemoryLimit,
        lent: Option<&'static mut [f32]>,
    ) -> Result<Self, ExecError> {
        if !plans.iter().all(|(graph, _)| weights.fit(graph)) {
            return Err(ExecError::Weights);
        }
        let plans: Vec<Plan> = plans.into_iter().map(|(_, plan)| plan).collect();
        let len = plans.iter().map(Plan::arena_len).max().unwrap_or(0);
        let dtype = |weight| weights.matrix(weight).scratch_dtype();
        let scratch = plans.iter().map(|plan| footprint::scratch(&context, plan, dtype)).max().unwrap_or(0);
        let slot = weights.slot_bytes();
        let own = footprint::arena(len) + (scratch + slot) as u64;
        let needed = own.saturating_add(limit.reserved);
        if needed > limit.allowed {
            return Err(PlanError::Memory { needed, allowed: limit.allowed }.into());
        }
        let values = len + ALIGN + scratch / size_of::<f32>();
        let memory = match lent {
            None => Memory::default(),
            Some(lent) if lent.len() < values => {
                return Err(ExecError::Lent { needed: values, given: lent.len() });
            }
            Some(lent) => Memory::Lent(lent),
        };
        let mut exec = Self {
            context,
            weights,
            plans,
            memory: Memory::default(),
            base: 0,
            scratch: len + ALIGN,
            end: values,
            packed: Matrix::room(slot),
        };
        exec.give_memory(memory);
        Ok(exec)
    }

    /// The memory, for another executor to use; it is to be given back before anything else is done.
    pub(crate) fn take_memory(&mut self) -> Memory {
        core::mem::take(&mut self.memory)
    }

    /// Memory of another executor, to be used from now on if it is larger.
    pub(crate) fn give_memory(&mut self, memory: Memory) {
        if memory.values().len() > self.memory.values().len() {
            self.memory = memory;
        }
        if self.memory.values().len() < self.end {
            self.memory = Memory::Allocated(vec![0.0; self.end]);
        }
        self.base = self.memory.values().as_ptr().align_offset(ALIGN * size_of::<f32>()).min(ALIGN);
    }

    /// The memory that was lent.
    pub fn into_lent(self) -> Option<&'static mut [f32]> {
        match self.memory {
            Memory::Allocated(_) => None,
            Memory::Lent(lent) => Some(lent),
        }
    }

    /// The plans, in the order in which they were given.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// Bytes of the arena and of the scratch memory.
    pub fn bytes(&self) -> usize {
        let memory = match &self.memory {
            Memory::Allocated(values) => size_of_val(&values[..]),
            // What is lent may be longer.
            Memory::Lent(_) => self.end * size_of::<f32>(),
        };
        memory + self.packed.bytes()
    }

    /// The elements of an input, to be filled before each execution.
    pub fn slot_mut(&mut self, slot: Slot) -> &mut [f32] {
        &mut self.memory.values_mut()[self.base..][slot.range()]
    }

    /// The elements of an output, after an execution.
    pub fn slot(&self, slot: Slot) -> &[f32] {
        &self.memory.values()[self.base..][slot.range()]
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
        self.run_looking(plan, ids, ExecError::not_finite)
    }

    /// Executes a plan up to the first operation of whose output `look` says what is wrong.
    pub(crate) fn run_looking(
        &mut self,
        plan: usize,
        ids: &[Option<u32>],
        look: fn(&Step, &[f32]) -> Result<(), ExecError>,
    ) -> Result<(), ExecError> {
        for i in 0..self.plans[plan].steps().len() {
            self.step(plan, i, ids);
            let step = &self.plans[plan].steps()[i];
            look(step, self.slot(step.output))?;
        }
        Ok(())
    }

    /// Executes one step of a plan, to be measured: all those before it must have been executed.
    pub fn run_step(&mut self, plan: usize, i: usize, ids: &[Option<u32>]) {
        self.step(plan, i, ids);
    }

    fn step(&mut self, plan: usize, i: usize, ids: &[Option<u32>]) {
        let plan = &self.plans[plan];
        let (arena, scratch) = self.memory.values_mut()[..self.end].split_at_mut(self.scratch);
        let (arena, scratch) = (&mut arena[self.base..][..plan.arena_len()], bytemuck::cast_slice_mut(scratch));
        let step = &plan.steps()[i];
        let packed = self.weights.streamed(step).map(|streamed| {
            streamed.pack(&self.context, &mut self.packed);
            &self.packed
        });
        execute(&self.context, &self.weights, packed, plan, step, ids, scratch, arena);
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
    packed: Option<&Matrix>,
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
    let matrix = |weight| packed.unwrap_or_else(|| weights.matrix(weight));
    let epilogue = |bias: Option<WeightId>, residual: Option<Slot>, activation| Epilogue {
        bias: bias.map_or(&[][..], |bias| weights.values(bias)),
        residual: residual.map(get),
        activation,
    };
    match step.op {
        Op::Conv2d { x, weight, bias, residual, activation, .. } => {
            if let Some(shape) = conv_shape(&step.op, step.output.shape) {
                let (w, e) = (matrix(weight), epilogue(bias, residual, activation));
                match step.is_in_place() {
                    true => super::conv2d_in_place(ctx, &shape, w, &e, scratch, y),
                    false => super::conv2d(ctx, &shape, get(x), w, &e, scratch, y),
                }
            }
        }
        Op::Linear { x, weight, bias, residual, activation } => {
            let e = epilogue(bias, residual, activation);
            super::linear(ctx, rows(x.shape), get(x), matrix(weight), &e, scratch, y);
        }
        Op::Activate { x, activation } => {
            replace(x, y);
            super::activate(ctx, activation, y);
        }
        Op::Add { a, b } => {
            replace(a, y);
            super::add(ctx, get(b), y);
        }
        Op::Multiply { a, b } => {
            replace(a, y);
            super::multiply(ctx, get(b), y);
        }
        Op::AddChannels { x, v } => super::add_channels(ctx, image(x.shape), get(x), get(v), y),
        Op::MaxPool2 { x, add } => super::max_pool2(ctx, image(x.shape), get(x), add.map(get), y),
        Op::AvgPool2 { x } => super::avg_pool2(ctx, image(x.shape), get(x), y),
        Op::UpsampleBilinear2 { x } => super::upsample_bilinear2(ctx, image(x.shape), get(x), y),
        Op::UpsampleNearest2 { x } => {
            let Shape { h, w, .. } = step.output.shape;
            super::upsample_nearest2(ctx, image(x.shape), [h, w], get(x), y);
        }
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
            let (table, positions) = (weights.table(table), positions.map(|w| weights.table(w)));
            super::token_embedding([tokens, dim], table, positions, ids_of(plan, input, ids), y);
        }
        Op::SelectToken { x, ids: input } => {
            let tokens = x.shape.h * x.shape.w;
            super::select_token([tokens, x.shape.c], get(x), ids_of(plan, input, ids), y);
        }
        Op::Rotary { x, angles, heads, halves } => {
            let (c, x) = (x.shape.c, (!step.is_in_place()).then(|| get(x)));
            super::rotary(ctx, [c, heads], halves, get(angles), x, y);
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
        Op::AdaLayerNorm { x, eps, scale, shift } => {
            let (s, x) = (image(x.shape), (!step.is_in_place()).then(|| get(x)));
            super::ada_layer_norm(ctx, s, eps, get(scale), shift.map(get), x, y);
        }
        Op::RmsNorm { x, eps, scale, modulation, .. } => {
            let (s, scale, x) = (image(x.shape), weights.values(scale), (!step.is_in_place()).then(|| get(x)));
            match modulation.map(get) {
                None => super::rms_norm(ctx, eps, scale, x, y),
                Some(modulation) => super::modulated_rms_norm(ctx, s, eps, [scale, modulation], x, y),
            }
        }
        Op::GatedAdd { x, gate, b } => {
            replace(x, y);
            super::gated_add(ctx, image(x.shape), get(gate), get(b), y);
        }
        Op::Slice { x, from } => super::slice(ctx, x.shape.c, [from, step.output.shape.c], get(x), y),
        Op::Attention { q, k, v, heads, causal, scale, bias, lengths } => {
            let shape = attention_shape(q.shape, k.shape, heads, causal, scale);
            let lengths = lengths.map(|input| ids_of(plan, input, ids));
            super::attention(ctx, &shape, [q, k, v].map(get), bias.map(get), lengths, scratch, y);
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
