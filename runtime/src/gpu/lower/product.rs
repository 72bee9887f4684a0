//! Matrix products: linear layers and convolutions.

use super::{Dispatch, MAX_GROUPS, Operand, Param, Variants, activation, pixels, values};
use crate::gpu::Storage;
use crate::gpu::tune::Question;
use crate::gpu::weights::{Item, Part, Weights, flag};
use crate::graph::{Activation, WeightId};
use crate::plan::Slot;
use crate::quant::DType;
use alloc::vec;
use alloc::vec::Vec;
use nijimi_shaders::table::{self, Product};
use nijimi_shaders::{Flag, Kernel};

/// Whether what is multiplied with weights of this type may be rounded to halves.
pub(in crate::gpu) const fn halves(dtype: DType) -> bool {
    !matches!(dtype, DType::F32 | DType::BF16)
}

impl Variants {
    /// A matrix product, a dispatch for each part of its weight.
    pub(super) fn products<'a>(
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
            let measured = || weights.gpu().0.choices.get(&question, self.machine);
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
}
