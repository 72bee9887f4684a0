//! The product of a module's factors, added to a layer.

use super::module::Module;
use crate::error::ImportError;
use crate::safetensors::Safetensors;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::{Context, Epilogue, Matrix, linear, linear_scratch};
use nijimi_runtime::raw::layout::channels_last;
use nijimi_runtime::raw::plan::KernelError;

/// Rows of the layer that are worked out at a time.
const ROWS: usize = 64;

/// A module's numbers.
pub(super) struct Factors {
    /// `[out][rank]`.
    up: Vec<f32>,
    /// `[rank][columns]`, the columns as in our file.
    down: Vec<f32>,
}

impl Factors {
    /// Reads them.
    pub fn read(file: &Safetensors, module: &Module) -> Result<Self, ImportError> {
        let read = |name: &String| {
            let (mut values, entry) = (Vec::new(), &file.tensors()[name]);
            file.read(name, 0..entry.shape.iter().product(), &mut values).map(|()| values)
        };
        let (up, down, rank) = (read(&module.up)?, read(&module.down)?, module.rank);
        let inp = module.shape[module.shape.len() - 1];
        let taps = module.columns() / inp;
        let down = match &module.mid {
            None => channels_last(&down, inp, taps),
            Some(mid) => core(&read(mid)?, &down, rank, taps, inp),
        };
        Ok(Self { up, down })
    }

    /// `values[o][i] += scale * sum over r of up[o][r] * down[r][i]`, of the module's layer.
    pub fn add(self, module: &Module, values: &mut [f32]) -> Result<(), KernelError> {
        let Self { mut up, down } = self;
        let (rank, columns) = (module.rank, module.columns());
        up.iter_mut().for_each(|v| *v *= module.scale);
        let turned = (0..columns).flat_map(|c| (0..rank).map(move |r| r * columns + c));
        let bytes: Vec<u8> = turned.flat_map(|i| down[i].to_le_bytes()).collect();
        let matrix = Matrix::pack(DType::F32, &bytes, columns, 1, rank)?;
        let ctx = Context::new(1);
        let mut scratch = vec![0; linear_scratch(&ctx, ROWS, rank, DType::F32)];
        let mut product = vec![0.0; ROWS * columns];
        for (values, up) in values.chunks_mut(ROWS * columns).zip(up.chunks(ROWS * rank)) {
            let product = &mut product[..values.len()];
            linear(&ctx, up.len() / rank, up, &matrix, &Epilogue::NONE, &mut scratch, product);
            values.iter_mut().zip(product).for_each(|(value, change)| *value += *change);
        }
        Ok(())
    }
}

/// The factor next to the input with LoCon's core in it, `[rank][taps][in]`: of a `mid` of `[rank][rank][taps]` and a `down`
/// of `[rank][in]`.
fn core(mid: &[f32], down: &[f32], rank: usize, taps: usize, inp: usize) -> Vec<f32> {
    let mut out = vec![0.0; rank * taps * inp];
    for (i, out) in out.chunks_exact_mut(inp).enumerate() {
        let (row, tap) = (i / taps, i % taps);
        for (between, down) in down.chunks_exact(inp).enumerate() {
            let factor = mid[(row * rank + between) * taps + tap];
            out.iter_mut().zip(down).for_each(|(out, down)| *out += factor * down);
        }
    }
    out
}
