//! From a plan's step to dispatches: which shader, on which operands, with which parameters, on which grid.

mod block;
mod product;

use super::weights::{Item, Weights};
use crate::graph::{Activation, IdsId, Op, Shape, WeightId};
use crate::plan::{Plan, Slot, Step};
use alloc::vec;
use alloc::vec::Vec;
use nijimi_shaders::table::{self, Class, Machine, Tile};
use nijimi_shaders::{Flag, Kernel, Shader};
#[cfg(not(target_arch = "wasm32"))]
pub(super) use product::halves;

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

/// The most groups of a grid along one axis.
const MAX_GROUPS: usize = 65535;

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
            let (sums, factors) = block::group_norm_scratch(x.shape);
            sums + factors
        }
        _ => 0,
    }
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
        Activation::LeakyRelu => shader.flag(Flag::LeakyRelu, true),
        Activation::ResidualScale => shader.flag(Flag::ResidualScale, true),
        Activation::Silu => shader.flag(Flag::Silu, true),
        Activation::Gelu => shader.flag(Flag::Gelu, true),
        Activation::QuickGelu => shader.flag(Flag::QuickGelu, true),
        Activation::GeluTanh => shader.flag(Flag::GeluTanh, true),
        Activation::Sigmoid => shader.flag(Flag::Sigmoid, true),
        Activation::Tanh => shader.flag(Flag::Tanh, true),
        Activation::Negate => shader.flag(Flag::Negate, true),
        // The gate's GELU is a function of the same file.
        Activation::Geglu => shader.flag(Flag::Geglu, true).flag(Flag::Gelu, true),
    }
}

impl Variants {
    pub fn shader(&self, kernel: Kernel) -> Shader {
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
            Op::Conv2d { x, upsample, weight, bias, kernel, stride, pad, residual, activation, .. } => {
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
            Op::Multiply { a, b } => {
                let mut dispatch = self.elementwise(Kernel::Multiply, step, a, "a", &[y.len()]);
                dispatch.operands.push(("b", Operand::Slot(b)));
                vec![dispatch]
            }
            Op::AddChannels { x, v } => {
                let mut dispatch = self.lines(Kernel::AddChannels, step, x, "x", &[x.shape.c]);
                dispatch.operands.push(("v", Operand::Slot(v)));
                let (_, unit) = units(&[x.shape.c]);
                dispatch.params.extend([("h", U(x.shape.h)), ("c", U(x.shape.c / unit))]);
                vec![dispatch]
            }
            Op::MaxPool2 { x, add } => vec![with_add(self.resized(Kernel::MaxPool, step, x), add)],
            Op::AvgPool2 { x } => vec![self.resized(Kernel::AvgPool, step, x)],
            Op::UpsampleBilinear2 { x } => {
                let mut dispatch = self.upsampled(step, x);
                dispatch.shader = dispatch.shader.flag(Flag::Bilinear, true);
                vec![dispatch]
            }
            Op::UpsampleNearest2 { x } => vec![self.upsampled(step, x)],
            Op::Concat { a, b, add } => {
                let (ca, cb) = (a.shape.c, b.shape.c);
                let (_, unit) = units(&[ca, cb]);
                let mut dispatch = self.lines(Kernel::Concat, step, a, "a", &[ca, cb]);
                dispatch.operands.push(("b", Operand::Slot(b)));
                let sizes = [("h", a.shape.h), ("w", a.shape.w), ("ca", ca / unit), ("cb", cb / unit)];
                dispatch.params.extend(sizes.map(|(name, size)| (name, U(size))));
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
                dispatch.params.extend([("dim", U(x.shape.c)), ("ids", U(first_id(plan, ids)))]);
                vec![dispatch]
            }
            Op::TokenEmbedding { ids, table, positions } => {
                let mut dispatch =
                    self.by_ids(Kernel::TokenEmbedding, step, [y.shape.w, y.shape.c], first_id(plan, ids));
                dispatch.shader = dispatch.shader.flag(Flag::Places, positions.is_some());
                dispatch.operands.push(("table", values(weights, table)));
                dispatch.operands.extend(positions.map(|w| ("positions", values(weights, w))));
                vec![dispatch]
            }
            Op::SelectToken { x, ids } => {
                let sizes = [x.shape.h * x.shape.w, x.shape.c];
                let mut dispatch = self.by_ids(Kernel::SelectToken, step, sizes, first_id(plan, ids));
                dispatch.operands.push(("x", Operand::Slot(x)));
                dispatch.params.push(("each", U(y.shape.w)));
                vec![dispatch]
            }
            Op::Rotary { x, angles, heads, halves } => vec![self.rotary(step, x, angles, heads, halves)],
            Op::GroupNorm { x, groups, eps, scale, bias, activation } => {
                self.group_norm(step, x, groups, eps, [values(weights, scale), values(weights, bias)], activation)
            }
            Op::LayerNorm { x, eps, scale, bias } => {
                let affine = [("scale", values(weights, scale)), ("bias", values(weights, bias))];
                vec![self.row_norm(Kernel::LayerNorm, step, (x, x.shape.c), eps, &affine)]
            }
            Op::AdaLayerNorm { x, eps, scale, shift } => {
                let mut dispatch = self.row_norm(Kernel::LayerNorm, step, (x, x.shape.c), eps, &[]);
                dispatch.shader = dispatch.shader.flag(Flag::Ada, true).flag(Flag::Bias, shift.is_some());
                dispatch.operands.push(("scale", Operand::Slot(scale)));
                dispatch.operands.extend(shift.map(|shift| ("bias", Operand::Slot(shift))));
                dispatch.params.push(("per", U(x.shape.h * x.shape.w)));
                vec![dispatch]
            }
            Op::RmsNorm { x, groups, eps, scale, modulation } => {
                let scale = [("scale", values(weights, scale))];
                let mut dispatch = self.row_norm(Kernel::RmsNorm, step, (x, x.shape.c / groups), eps, &scale);
                if let Some(modulation) = modulation {
                    dispatch.shader = dispatch.shader.flag(Flag::Ada, true);
                    dispatch.operands.push(("modulation", Operand::Slot(modulation)));
                    dispatch.params.push(("per", U(x.shape.h * x.shape.w)));
                }
                vec![dispatch]
            }
            Op::GatedAdd { x, gate, b } => {
                let mut dispatch = self.lines(Kernel::GatedAdd, step, x, "x", &[x.shape.c]);
                dispatch.operands.extend([("gate", Operand::Slot(gate)), ("b", Operand::Slot(b))]);
                let (_, unit) = units(&[x.shape.c]);
                dispatch.params.extend([("h", U(x.shape.h)), ("c", U(x.shape.c / unit))]);
                vec![dispatch]
            }
            Op::Slice { x, from } => {
                let channels = [x.shape.c, y.shape.c, from];
                let (_, unit) = units(&channels);
                let mut dispatch = self.lines(Kernel::Slice, step, x, "x", &channels);
                dispatch.params.push(("w", U(y.shape.w)));
                let sizes = ["c", "part", "first"].into_iter().zip(channels);
                dispatch.params.extend(sizes.map(|(name, size)| (name, U(size / unit))));
                vec![dispatch]
            }
            Op::LogSoftmax { x } => vec![self.rowwise(Kernel::LogSoftmax, step, x)],
            Op::LogSoftmaxBackward { x, ids } => {
                let mut dispatch = self.rowwise(Kernel::LogSoftmaxBackward, step, x);
                dispatch.operands.push(("ids", Operand::Ids));
                dispatch.params.push(("ids", U(first_id(plan, ids))));
                vec![dispatch]
            }
            Op::ReluBackward { g, relu } => {
                let mut dispatch = self.elementwise(Kernel::ReluBackward, step, g, "g", &[y.len()]);
                dispatch.operands.push(("relu", Operand::Slot(relu)));
                vec![dispatch]
            }
            Op::MaxPool2Backward { x, g } => {
                let mut dispatch = self.resized(Kernel::MaxPoolBackward, step, x);
                dispatch.operands.push(("g", Operand::Slot(g)));
                vec![dispatch]
            }
            Op::Attention { q, k, v, heads, causal, scale, bias, lengths } => {
                let mut dispatch = self.attention(step, [q, k, v], heads, causal, scale, bias);
                if let Some(lengths) = lengths {
                    dispatch.shader = dispatch.shader.flag(Flag::Lengths, true);
                    dispatch.operands.push(("ids", Operand::Ids));
                    dispatch.params.push(("ids", U(first_id(plan, lengths))));
                }
                vec![dispatch]
            }
        }
    }

    /// As [`Self::elementwise`], on a grid of the output's lines.
    fn lines<'a>(&self, kernel: Kernel, step: &Step, x: Slot, first: &'static str, c: &[usize]) -> Dispatch<'a> {
        let (_, unit) = units(c);
        let s = step.output.shape;
        let (lines, width) = (s.n * s.h, s.w * s.c / unit);
        let layers = lines.div_ceil(MAX_GROUPS);
        let mut dispatch = self.elementwise(kernel, step, x, first, c);
        dispatch.params = vec![("lines", Param::U(lines)), ("width", Param::U(width))];
        dispatch.grid = [width.div_ceil(self.flat_width() as usize), lines.div_ceil(layers), layers];
        dispatch
    }

    /// A kernel of texts of `tokens` tokens of `dim` elements, with the ids that begin at `first`.
    fn by_ids<'a>(&self, kernel: Kernel, step: &Step, [tokens, dim]: [usize; 2], first: usize) -> Dispatch<'a> {
        let n = step.output.len();
        let params = [("n", n), ("tokens", tokens), ("dim", dim), ("ids", first)];
        Dispatch {
            shader: self.flat(kernel),
            operands: vec![("y", Operand::Slot(step.output)), ("ids", Operand::Ids)],
            params: params.map(|(name, value)| (name, Param::U(value))).into(),
            grid: flat(self.machine.class, n),
        }
    }

    /// A kernel with an invocation for each row of channels.
    fn rowwise<'a>(&self, kernel: Kernel, step: &Step, x: Slot) -> Dispatch<'a> {
        let rows = pixels(x.shape);
        Dispatch {
            shader: self.flat(kernel),
            operands: vec![("x", Operand::Slot(x)), ("y", Operand::Slot(step.output))],
            params: vec![("rows", Param::U(rows)), ("c", Param::U(x.shape.c))],
            grid: flat(self.machine.class, rows),
        }
    }

    /// A kernel that makes a picture of another size, with the sizes of `x`.
    fn upsampled<'a>(&self, step: &Step, x: Slot) -> Dispatch<'a> {
        let mut dispatch = self.resized(Kernel::Upsample, step, x);
        dispatch.params.push(("out_h", Param::U(step.output.shape.h)));
        dispatch
    }

    fn resized<'a>(&self, kernel: Kernel, step: &Step, x: Slot) -> Dispatch<'a> {
        let s = x.shape;
        let (_, unit) = units(&[s.c]);
        let mut dispatch = self.lines(kernel, step, x, "x", &[s.c]);
        dispatch.params.extend([("h", Param::U(s.h)), ("w", Param::U(s.w)), ("c", Param::U(s.c / unit))]);
        dispatch
    }
}

/// Where an input's ids begin.
fn first_id(plan: &Plan, ids: IdsId) -> usize {
    plan.ids()[..ids.index()].iter().map(|(_, n)| n).sum()
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
