//! From a plan's step to dispatches: which shader, on which operands, with which parameters, on which grid.

use super::exec::Storage;
use super::tune::Question;
use super::weights::{Item, Part, Weights, flag};
use crate::graph::{Activation, Op, Shape, WeightId};
use crate::plan::{Plan, Slot, Step};
use crate::quant::DType;
use alloc::vec;
use alloc::vec::Vec;
use nijimi_shaders::table::{self, Class, Machine, Product, Tile};
use nijimi_shaders::{Flag, Kernel, Shader};

/// What a binding is filled with.
#[derive(Clone, Copy)]
pub(super) enum Operand<'a> {
    /// An activation.
    Slot(Slot),
    /// A whole buffer.
    Buffer(&'a wgpu::Buffer),
    /// Bytes of the executor's scratch memory.
    Scratch { offset: u64, len: u64 },
    /// The ids of all inputs.
    Ids,
    /// The frequencies of a position encoding of this length.
    Turns(usize),
}

/// One field of a shader's parameters.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Param {
    U(usize),
    F(f32),
}

/// One call of a shader.
pub(super) struct Dispatch<'a> {
    pub shader: Shader,
    pub operands: Vec<(&'static str, Operand<'a>)>,
    pub params: Vec<(&'static str, Param)>,
    pub grid: [usize; 3],
}

/// What decides between variants of a shader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Variants {
    pub machine: Machine,
    /// Activations are f16.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// The tile of all products, for tests and measurements.
    pub tile: Option<Tile>,
}

/// The alignment of scratch memory: WebGPU's coarsest.
const SCRATCH_ALIGN: u64 = 256;
/// The most groups of a grid along one axis.
const MAX_GROUPS: usize = 65535;
/// Pixels that one invocation sums up in a group norm.
const CHUNK: usize = 64;

/// A grid of `groups` groups, folded into a second axis.
pub(super) fn line(groups: usize) -> [usize; 3] {
    let x = groups.clamp(1, 32768);
    [x, groups.div_ceil(x), 1]
}

/// Grid of an elementwise kernel of `n` units.
pub(super) fn flat(class: Class, n: usize) -> [usize; 3] {
    line(n.div_ceil(table::flat(class) as usize))
}

/// Bytes of scratch memory that a step needs.
pub(super) fn scratch_bytes(step: &Step) -> u64 {
    match step.op {
        Op::GroupNorm { x, .. } => {
            let (sums, factors) = group_norm_scratch(x.shape);
            sums + factors
        }
        _ => 0,
    }
}

/// Of the sums, then of the factors.
fn group_norm_scratch(s: Shape) -> (u64, u64) {
    let chunks = (s.h * s.w).div_ceil(CHUNK);
    let bytes = |n: usize| (n as u64 * 8).next_multiple_of(SCRATCH_ALIGN);
    (bytes(s.n * chunks * s.c), bytes(s.n * s.c))
}

/// Whether what is multiplied with weights of this type may be rounded to halves.
pub(super) const fn halves(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::Q8_0 | DType::Q4_0)
}

const fn pixels(s: Shape) -> usize {
    s.n * s.h * s.w
}

/// Channels in units of vectors where all of `c` allow it: flag, unit.
fn units(c: &[usize]) -> (bool, usize) {
    if c.iter().all(|c| c.is_multiple_of(4)) { (true, 4) } else { (false, 1) }
}

fn activation(shader: Shader, activation: Activation) -> Shader {
    match activation {
        Activation::None => shader,
        Activation::Relu => shader.flag(Flag::Relu, true),
        Activation::Silu => shader.flag(Flag::Silu, true),
        Activation::Gelu => shader.flag(Flag::Gelu, true),
        Activation::QuickGelu => shader.flag(Flag::QuickGelu, true),
        // The gate's GELU is a function of the same file.
        Activation::Geglu => shader.flag(Flag::Geglu, true).flag(Flag::Gelu, true),
    }
}

impl Variants {
    fn shader(&self, kernel: Kernel) -> Shader {
        Shader::new(kernel).flag(Flag::F16, self.f16)
    }

    /// Invocations of a group of an elementwise kernel.
    pub const fn flat_width(&self) -> u32 {
        table::flat(self.machine.class)
    }

    /// An elementwise kernel.
    pub fn flat(&self, kernel: Kernel) -> Shader {
        self.shader(kernel).constant("WX", table::flat(self.machine.class))
    }

    /// Takes an elementwise step with its first operand, which is bound by `first` unless the step is in place.
    fn elementwise<'a>(&self, kernel: Kernel, step: &Step, x: Slot, first: &'static str, c: &[usize]) -> Dispatch<'a> {
        let (vec4, unit) = units(c);
        let n = step.output.len() / unit;
        let mut operands = vec![("y", Operand::Slot(step.output))];
        let in_place = step.is_in_place();
        if !in_place {
            operands.push((first, Operand::Slot(x)));
        }
        Dispatch {
            shader: self.flat(kernel).flag(Flag::Vec4, vec4).flag(Flag::InPlace, in_place),
            operands,
            params: vec![("n", Param::U(n))],
            grid: flat(self.machine.class, n),
        }
    }

    /// A step's dispatches, in order.
    pub fn lower<'a>(&self, plan: &Plan, step: &Step, weights: &'a Weights) -> Vec<Dispatch<'a>> {
        use Param::U;
        let y = step.output;
        match step.op {
            Op::Conv2d { x, upsample, weight, bias, kernel, stride, pad, residual, activation } => {
                // One pixel sees one pixel: a linear layer.
                if (kernel, stride, pad, upsample) == (1, 1, 0, false) {
                    return self.products(Kernel::Linear, x, y, (weight, bias, residual, activation), weights, &[]);
                }
                let (s, o) = (x.shape, y.shape);
                let own = [
                    ("h", U(s.h)),
                    ("w", U(s.w)),
                    ("out_h", U(o.h)),
                    ("out_w", U(o.w)),
                    ("kernel", U(kernel)),
                    ("stride", U(stride)),
                    ("pad", U(pad)),
                ];
                let mut dispatches =
                    self.products(Kernel::Conv2d, x, y, (weight, bias, residual, activation), weights, &own);
                for dispatch in &mut dispatches {
                    dispatch.shader = dispatch.shader.clone().flag(Flag::Upsample, upsample);
                }
                dispatches
            }
            Op::Linear { x, weight, bias, residual, activation } => {
                self.products(Kernel::Linear, x, y, (weight, bias, residual, activation), weights, &[])
            }
            Op::Activate { x, activation: function } => {
                let mut dispatch = self.elementwise(Kernel::Activate, step, x, "x", &[y.len()]);
                dispatch.shader = activation(dispatch.shader, function);
                vec![dispatch]
            }
            Op::Add { a, b } => {
                let mut dispatch = self.elementwise(Kernel::Add, step, a, "a", &[y.len()]);
                dispatch.operands.push(("b", Operand::Slot(b)));
                vec![dispatch]
            }
            Op::AddChannels { x, v } => {
                let mut dispatch = self.elementwise(Kernel::AddChannels, step, x, "x", &[x.shape.c]);
                let (_, unit) = units(&[x.shape.c]);
                dispatch.operands.push(("v", Operand::Slot(v)));
                let s = x.shape;
                dispatch.params.extend([("picture", U(s.h * s.w * s.c / unit)), ("c", U(s.c / unit))]);
                vec![dispatch]
            }
            Op::MaxPool2 { x, add } => vec![self.image(Kernel::MaxPool, step, x, add)],
            Op::UpsampleBilinear2 { x } => {
                let mut dispatch = self.image(Kernel::Upsample, step, x, None);
                dispatch.shader = dispatch.shader.flag(Flag::Bilinear, true);
                vec![dispatch]
            }
            Op::UpsampleNearest2 { x } => vec![self.image(Kernel::Upsample, step, x, None)],
            Op::Concat { a, b, add } => {
                let (ca, cb) = (a.shape.c, b.shape.c);
                let (_, unit) = units(&[ca, cb]);
                let mut dispatch = self.elementwise(Kernel::Concat, step, a, "a", &[ca, cb]);
                dispatch.operands.push(("b", Operand::Slot(b)));
                let picture = y.shape.h * y.shape.w * (ca + cb) / unit;
                dispatch.params.extend([("picture", U(picture)), ("ca", U(ca / unit)), ("cb", U(cb / unit))]);
                vec![with_add(dispatch, add)]
            }
            Op::PositionEncoding { t, dim } => {
                let mut dispatch = self.elementwise(Kernel::PositionEncoding, step, t, "t", &[1]);
                dispatch.operands.push(("turns", Operand::Turns(dim)));
                dispatch.params.push(("dim", U(dim)));
                vec![dispatch]
            }
            Op::EmbeddingAdd { x, ids, table } => {
                let mut dispatch = self.elementwise(Kernel::EmbeddingAdd, step, x, "x", &[1]);
                dispatch.operands.push(("ids", Operand::Ids));
                dispatch.operands.push(("table", values(weights, table)));
                let skip: usize = plan.ids()[..ids.index()].iter().map(|(_, n)| n).sum();
                dispatch.params.extend([("dim", U(x.shape.c)), ("ids", U(skip))]);
                vec![dispatch]
            }
            Op::GroupNorm { x, groups, eps, scale, bias, activation } => {
                self.group_norm(step, x, groups, eps, [values(weights, scale), values(weights, bias)], activation)
            }
            Op::LayerNorm { x, eps, scale, bias } => vec![self.layer_norm(step, x, eps, [scale, bias], weights)],
            Op::Attention { q, k, v, heads, causal } => vec![self.attention(step, [q, k, v], heads, causal)],
        }
    }

    /// A kernel on a picture's rows and columns, with the sizes of `x`.
    fn image<'a>(&self, kernel: Kernel, step: &Step, x: Slot, add: Option<Slot>) -> Dispatch<'a> {
        let s = x.shape;
        let (_, unit) = units(&[s.c]);
        let mut dispatch = self.elementwise(kernel, step, x, "x", &[s.c]);
        dispatch.params.extend([("h", Param::U(s.h)), ("w", Param::U(s.w)), ("c", Param::U(s.c / unit))]);
        with_add(dispatch, add)
    }

    /// A matrix product, a dispatch for each part of its weight.
    fn products<'a>(
        &self,
        kernel: Kernel,
        x: Slot,
        y: Slot,
        (weight, bias, residual, function): (WeightId, Option<WeightId>, Option<Slot>, Activation),
        weights: &'a Weights,
        own: &[(&'static str, Param)],
    ) -> Vec<Dispatch<'a>> {
        // The kinds agree with the graph's (`Weights::fit`).
        let Item::Matrix { dtype, inp, taps, parts } = weights.item(weight) else { return Vec::new() };
        let gated = function == Activation::Geglu;
        let dispatch = |part: &'a Part| {
            let (rows, n) = (pixels(y.shape), part.n);
            let product = Product { rows, n, k: taps * inp, gated, halves: halves(*dtype) };
            let storage = if self.f16 { Storage::F16 } else { Storage::F32 };
            let question = Question { conv: kernel == Kernel::Conv2d, dtype: *dtype, storage, product };
            let measured = || weights.gpu().0.choices.get(&question);
            let tile = self.tile.or_else(measured).unwrap_or_else(|| table::product(self.machine, product));
            let shader = self.shader(kernel).flag(flag(*dtype), true).flag(Flag::XVec4, inp.is_multiple_of(4));
            let shader = shader.flag(Flag::Bias, bias.is_some()).flag(Flag::Residual, residual.is_some());
            let mut operands =
                vec![("x", Operand::Slot(x)), ("y", Operand::Slot(y)), ("w", Operand::Buffer(&part.codes))];
            operands.extend(part.scales.as_ref().map(|scales| ("w_scales", Operand::Buffer(scales))));
            operands.extend(bias.map(|bias| ("bias", values(weights, bias))));
            operands.extend(residual.map(|residual| ("residual", Operand::Slot(residual))));
            let params = [
                ("rows", Param::U(rows)),
                ("n", Param::U(n)),
                ("c_in", Param::U(*inp)),
                ("c4", Param::U(inp.div_ceil(4))),
                ("taps", Param::U(*taps)),
                ("c_out", Param::U(y.shape.c)),
                ("first", Param::U(part.first)),
                ("half", Param::U(if gated { n / 2 } else { 0 })),
            ];
            let row_groups = rows.div_ceil(tile.rows() as usize);
            let layers = row_groups.div_ceil(MAX_GROUPS);
            let columns = if gated { tile.columns() / 2 } else { tile.columns() } as usize;
            let of = if gated { n / 2 } else { n };
            Dispatch {
                shader: activation(tile.apply(shader), function),
                operands,
                params: params.iter().chain(own).copied().collect(),
                grid: [of.div_ceil(columns), row_groups.div_ceil(layers), layers],
            }
        };
        parts.iter().map(dispatch).collect()
    }

    fn group_norm<'a>(
        &self,
        step: &Step,
        x: Slot,
        groups: usize,
        eps: f32,
        [scale, bias]: [Operand<'a>; 2],
        function: Activation,
    ) -> Vec<Dispatch<'a>> {
        let s = x.shape;
        let area = s.h * s.w;
        let chunks = area.div_ceil(CHUNK);
        let (sums_len, factors_len) = group_norm_scratch(s);
        let sums = ("sums", Operand::Scratch { offset: 0, len: sums_len });
        let factors = ("factors", Operand::Scratch { offset: sums_len, len: factors_len });
        let params = vec![
            ("n", Param::U(x.len())),
            ("pictures", Param::U(s.n)),
            ("picture", Param::U(area * s.c)),
            ("c", Param::U(s.c)),
            ("pixels", Param::U(area)),
            ("chunks", Param::U(chunks)),
            ("per_chunk", Param::U(CHUNK)),
            ("per_group", Param::U(s.c / groups)),
            ("eps", Param::F(eps)),
        ];
        let input = ("x", Operand::Slot(x));
        let width = table::flat(self.machine.class) as usize;
        let reduction = self.shader(Kernel::GroupNorm).constant("WX", table::reduction(self.machine.class));
        let mut apply = self.elementwise(Kernel::GroupNorm, step, x, "x", &[1]);
        apply.operands.push(factors);
        apply.params.clone_from(&params);
        apply.shader = activation(apply.shader, function);
        vec![
            Dispatch {
                shader: self.flat(Kernel::GroupNorm).flag(Flag::Sums, true),
                operands: vec![input, sums],
                params: params.clone(),
                grid: [s.c.div_ceil(width), chunks, s.n],
            },
            Dispatch {
                shader: reduction.flag(Flag::Fold, true),
                operands: vec![input, sums, factors, ("scale", scale), ("bias", bias)],
                params,
                grid: [groups, s.n, 1],
            },
            apply,
        ]
    }

    fn layer_norm<'a>(
        &self,
        step: &Step,
        x: Slot,
        eps: f32,
        [scale, bias]: [WeightId; 2],
        weights: &'a Weights,
    ) -> Dispatch<'a> {
        let rows = pixels(x.shape);
        let mut dispatch = self.elementwise(Kernel::LayerNorm, step, x, "x", &[1]);
        let shader = self.shader(Kernel::LayerNorm).constant("WX", table::reduction(self.machine.class));
        dispatch.shader = shader.flag(Flag::Subgroups, self.subgroups).flag(Flag::InPlace, step.is_in_place());
        dispatch.operands.extend([("scale", values(weights, scale)), ("bias", values(weights, bias))]);
        dispatch.params = vec![("rows", Param::U(rows)), ("c", Param::U(x.shape.c)), ("eps", Param::F(eps))];
        dispatch.grid = line(rows);
        dispatch
    }

    fn attention<'a>(&self, step: &Step, [q, k, v]: [Slot; 3], heads: usize, causal: bool) -> Dispatch<'a> {
        let (s, d) = (q.shape, q.shape.c / heads);
        let tile = table::attention(self.machine.class, d);
        let (queries, keys) = (s.h * s.w, k.shape.h * k.shape.w);
        let operands = [("q", q), ("k", k), ("v", v), ("y", step.output)];
        Dispatch {
            shader: tile.apply(
                self.shader(Kernel::Attention).flag(Flag::Causal, causal).flag(Flag::XVec4, d.is_multiple_of(4)),
            ),
            operands: operands.iter().map(|(name, slot)| (*name, Operand::Slot(*slot))).collect(),
            params: vec![
                ("queries", Param::U(queries)),
                ("keys", Param::U(keys)),
                ("c", Param::U(s.c)),
                ("d", Param::U(d)),
                ("scale", Param::F(1.0 / libm::sqrtf(d as f32))),
            ],
            grid: [queries.div_ceil(tile.queries as usize), heads, s.n],
        }
    }
}

fn values(weights: &Weights, id: WeightId) -> Operand<'_> {
    match weights.item(id) {
        Item::Values(buffer) => Operand::Buffer(buffer),
        // The kinds agree with the graph's (`Weights::fit`).
        Item::Matrix { .. } => Operand::Ids,
    }
}

fn with_add<'a>(mut dispatch: Dispatch<'a>, add: Option<Slot>) -> Dispatch<'a> {
    if let Some(add) = add {
        dispatch.operands.push(("add", Operand::Slot(add)));
        dispatch.shader = dispatch.shader.flag(Flag::Add, true);
    }
    dispatch
}
