//! A file's weights as the kernels take them, and their transposes, which gradients go back through.
use crate::error::{Error, Result};
use crate::ops::cpu::parallel::prelude::*;
use nijimi_runtime::gguf::{File, Tensor};
use nijimi_runtime::quant::{self, DType};
use nijimi_runtime::raw::cpu::{Matrix, Table};
use nijimi_runtime::raw::graph::{Weight, WeightId, WeightKind};

/// Rows and columns that are transposed together: a line of the cache.
const LANES: usize = 16;

enum Packed {
    Matrix(Matrix),
    Values(Vec<f32>),
    Table(Table),
}

/// The weights of one network, in its graph's order, which does not depend on the sizes of what is computed.
pub struct Frozen<'a> {
    file: &'a File<'a>,
    items: Vec<(WeightKind, Packed, Tensor<'a>)>,
}

fn sizes(kind: WeightKind) -> Option<[usize; 3]> {
    match kind {
        WeightKind::Conv { out, kernel, inp } => Some([out, kernel * kernel, inp]),
        WeightKind::Linear { out, inp } => Some([out, 1, inp]),
        WeightKind::Vector { .. } | WeightKind::Table { .. } => None,
    }
}

impl<'a> Frozen<'a> {
    /// Packs the tensors of `file` that `weights` name.
    ///
    /// # Errors
    /// One that is missing, or has another shape.
    pub fn load(file: &'a File<'a>, weights: &[Weight]) -> Result<Self> {
        let wrong = |name: &str, e: &dyn std::fmt::Display| Error::File(format!("the file's tensor {name}: {e}"));
        let mut items = Vec::with_capacity(weights.len());
        for weight in weights {
            let Weight { name, kind, .. } = weight;
            let tensor = file.tensor(name).map_err(|e| wrong(name, &e))?;
            let expected = weight.tensor().ne();
            if tensor.ne != expected {
                return Err(wrong(name, &format!("it is {:?}, not {:?}", tensor.ne, expected)));
            }
            let packed = match (sizes(*kind), *kind) {
                (Some([out, taps, inp]), _) => Packed::Matrix(
                    Matrix::pack(tensor.dtype, tensor.data, out, taps, inp).map_err(|e| wrong(name, &e))?,
                ),
                (None, WeightKind::Table { dim, .. }) => {
                    Packed::Table(Table::new(tensor.dtype, tensor.data, dim).map_err(|e| wrong(name, &e))?)
                }
                (None, _) => Packed::Values(tensor.to_f32()),
            };
            // The pages that were read: they are read again where a gradient goes through.
            file.release(tensor.data);
            items.push((*kind, packed, tensor));
        }
        Ok(Self { file, items })
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        let of = |packed: &Packed| match packed {
            Packed::Matrix(m) => m.bytes(),
            Packed::Values(v) => size_of_val(&v[..]),
            Packed::Table(t) => t.bytes(),
        };
        self.items.iter().map(|(_, packed, _)| of(packed)).sum()
    }

    /// A matrix.
    ///
    /// # Panics
    /// If the weight is none.
    pub fn matrix(&self, id: WeightId) -> &Matrix {
        match &self.items[id.index()].1 {
            Packed::Matrix(m) => m,
            _ => unreachable!("the graph says that it is a matrix"),
        }
    }

    /// A vector's values.
    ///
    /// # Panics
    /// If the weight is none.
    pub fn values(&self, id: WeightId) -> &[f32] {
        match &self.items[id.index()].1 {
            Packed::Values(v) => v,
            _ => unreachable!("the graph says that it is a vector"),
        }
    }

    /// A table.
    ///
    /// # Panics
    /// If the weight is none.
    pub fn table(&self, id: WeightId) -> &Table {
        match &self.items[id.index()].1 {
            Packed::Table(t) => t,
            _ => unreachable!("the graph says that it is a table"),
        }
    }

    /// What takes the gradient of a layer's output to that of its input: the matrix transposed, a kernel turned by 180 degrees
    /// too. Made of the file's numbers each time: kept, it would take as much memory as the network once more.
    ///
    /// # Errors
    /// Numbers that cannot be read.
    pub fn adjoint(&self, id: WeightId) -> Result<Matrix> {
        let (kind, _, tensor) = &self.items[id.index()];
        let Some([out, taps, inp]) = sizes(*kind) else {
            return Err(Error::Internal(format!("{} has no transpose", tensor.name)));
        };
        let wrong = |e: &dyn std::fmt::Display| Error::File(format!("the file's tensor {}: {e}", tensor.name));
        let mut values = vec![0f32; out * taps * inp];
        let rows = tensor.data.len() / out;
        let row = taps * inp;
        let decoded = values.par_chunks_mut(row).zip(tensor.data.par_chunks(rows));
        let failed = std::sync::atomic::AtomicBool::new(false);
        decoded.for_each(|(values, data)| {
            if quant::decode(tensor.dtype, data, values).is_err() {
                failed.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        });
        if failed.into_inner() {
            return Err(wrong(&"its length is not that of its shape"));
        }
        // Kept mapped, what was read of the file would be in memory beside what was packed.
        self.file.release(tensor.data);
        let mut turned = vec![0f32; values.len()];
        turned.par_chunks_mut(LANES * taps * out).enumerate().for_each(|(i, turned)| {
            let lanes = turned.len() / (taps * out);
            let mut square = [[0f32; LANES]; LANES];
            for (tap, first) in (0..taps).flat_map(|tap| (0..out).step_by(LANES).map(move |first| (tap, first))) {
                let count = LANES.min(out - first);
                for (o, row) in square.iter_mut().enumerate().take(count) {
                    row[..lanes].copy_from_slice(&values[((first + o) * taps + tap) * inp + i * LANES..][..lanes]);
                }
                for c in 0..lanes {
                    let to = &mut turned[(c * taps + taps - 1 - tap) * out + first..][..count];
                    to.iter_mut().zip(&square).for_each(|(to, row)| *to = row[c]);
                }
            }
        });
        drop(values);
        Matrix::pack(DType::F32, bytemuck::cast_slice(&turned), inp, taps, out).map_err(|e| wrong(&e))
    }

    /// The most bytes that making one of the [`Self::adjoint`]s takes.
    pub fn adjoint_bytes(weights: &[Weight]) -> usize {
        let largest = weights.iter().filter(|w| sizes(w.kind).is_some()).map(|w| w.kind.elements()).max();
        2 * size_of::<f32>() * largest.unwrap_or(0)
    }
}
