//! What a transformer's or a diffusion network's block has beside products: normalizations, rotary positions and attention.

use super::{Dispatch, Operand, Param, Variants, activation, flat, line};
use crate::graph::{Activation, Shape};
use crate::plan::{Slot, Step};
use alloc::vec;
use alloc::vec::Vec;
use nijimi_shaders::{Flag, Kernel, table};

/// The alignment of scratch memory: WebGPU's coarsest.
const SCRATCH_ALIGN: u64 = 256;
/// Pixels that one invocation sums up in a group norm.
const CHUNK: usize = 64;

/// Of the sums, then of the factors.
pub(super) fn group_norm_scratch(s: Shape) -> (u64, u64) {
    let chunks = (s.h * s.w).div_ceil(CHUNK);
    let bytes = |n: usize| (n as u64 * 8).next_multiple_of(SCRATCH_ALIGN);
    (bytes(s.n * chunks * s.c), bytes(s.n * s.c))
}

impl Variants {
    pub(super) fn group_norm<'a>(
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
        let mut apply = self.lines(Kernel::GroupNorm, step, x, "x", &[s.c]);
        let mut params = apply.params.clone();
        params.extend([
            ("h", Param::U(s.h)),
            ("pictures", Param::U(s.n)),
            ("picture", Param::U(area * s.c)),
            ("c", Param::U(s.c)),
            ("pixels", Param::U(area)),
            ("chunks", Param::U(chunks)),
            ("per_chunk", Param::U(CHUNK)),
            ("per_group", Param::U(s.c / groups)),
            ("eps", Param::F(eps)),
        ]);
        let input = ("x", Operand::Slot(x));
        let width = table::flat(self.machine.class) as usize;
        let reduction = self.shader(Kernel::GroupNorm).constant("WX", table::reduction(self.machine.class));
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
                shader: reduction.flag(Flag::Fold, true).flag(Flag::Subgroups, self.subgroups),
                operands: vec![input, sums, factors, ("scale", scale), ("bias", bias)],
                params,
                grid: [groups, s.n, 1],
            },
            apply,
        ]
    }

    /// A normalization of each row of `c` elements.
    pub(super) fn row_norm<'a>(
        &self,
        kernel: Kernel,
        step: &Step,
        (x, c): (Slot, usize),
        eps: f32,
        affine: &[(&'static str, Operand<'a>)],
    ) -> Dispatch<'a> {
        let rows = x.len() / c;
        let mut dispatch = self.elementwise(kernel, step, x, "x", &[1]);
        let shader = self.shader(kernel).constant("WX", table::reduction(self.machine.class));
        dispatch.shader = shader.flag(Flag::Subgroups, self.subgroups).flag(Flag::InPlace, step.is_in_place());
        dispatch.operands.extend_from_slice(affine);
        dispatch.params = vec![("rows", Param::U(rows)), ("c", Param::U(c)), ("eps", Param::F(eps))];
        dispatch.grid = line(rows);
        dispatch
    }

    /// Pairs of channels, turned: a unit is one of them, or a vector that holds two neighbouring ones, or two vectors with four.
    pub(super) fn rotary<'a>(&self, step: &Step, x: Slot, angles: Slot, heads: usize, halves: bool) -> Dispatch<'a> {
        let pairs = x.shape.c / heads / 2;
        let unit = match (halves, pairs.is_multiple_of(4), pairs.is_multiple_of(2)) {
            (true, true, _) => 4,
            (false, _, true) => 2,
            _ => 1,
        };
        // All channels of a vector are of one unit, so that an output may lie on its operand.
        let mut dispatch = self.elementwise(Kernel::Rotary, step, x, "x", &[if unit > 1 { 4 } else { 1 }]);
        let n = step.output.len() / 2 / unit;
        dispatch.shader = dispatch.shader.flag(Flag::Halves, halves);
        dispatch.operands.push(("angles", Operand::Slot(angles)));
        let turns = angles.shape.n * angles.shape.w;
        let params = [("n", n), ("units", pairs / unit), ("heads", heads), ("pairs", pairs), ("turns", turns)];
        dispatch.params = params.map(|(name, value)| (name, Param::U(value))).into();
        dispatch.grid = flat(self.machine.class, n);
        dispatch
    }

    pub(super) fn attention<'a>(
        &self,
        step: &Step,
        [q, k, v]: [Slot; 3],
        heads: usize,
        causal: bool,
        scale: Option<f32>,
        bias: Option<Slot>,
    ) -> Dispatch<'a> {
        let (s, d) = (q.shape, q.shape.c / heads);
        let tile = table::attention(self.machine.class, d);
        let (queries, keys) = (s.h * s.w, k.shape.h * k.shape.w);
        let operands = [("q", q), ("k", k), ("v", v), ("y", step.output)].into_iter().chain(bias.map(|b| ("bias", b)));
        let shader = self.shader(Kernel::Attention).flag(Flag::Causal, causal).flag(Flag::Bias, bias.is_some());
        Dispatch {
            shader: tile.apply(shader.flag(Flag::XVec4, d.is_multiple_of(4))),
            operands: operands.map(|(name, slot)| (name, Operand::Slot(slot))).collect(),
            params: vec![
                ("queries", Param::U(queries)),
                ("keys", Param::U(keys)),
                ("c", Param::U(s.c)),
                ("d", Param::U(d)),
                ("kv_c", Param::U(k.shape.c)),
                ("each", Param::U(s.c / k.shape.c)),
                ("scale", Param::F(scale.unwrap_or_else(|| 1.0 / libm::sqrtf(d as f32)))),
            ],
            grid: [queries.div_ceil(tile.queries as usize), heads, s.n],
        }
    }
}
