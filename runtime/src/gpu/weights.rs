//! A network's weights in device memory, still quantized.

use super::pack::{Matrix, column_bytes};
use super::{Gpu, GpuError};
use crate::graph::{Graph, WeightId, WeightKind};
use crate::plan::{ExecError, KernelError};
use crate::quant::DType;
use crate::{Error, quant};
use alloc::vec;
use alloc::vec::Vec;
use nijimi_shaders::Flag;

/// Columns of a matrix that lie in one buffer: all of them, unless the device binds less at once.
#[derive(Clone)]
pub(super) struct Part {
    pub first: usize,
    pub n: usize,
    pub codes: wgpu::Buffer,
    pub scales: Option<wgpu::Buffer>,
}

#[derive(Clone)]
pub(super) enum Item {
    Matrix {
        dtype: DType,
        inp: usize,
        taps: usize,
        parts: Vec<Part>,
    },
    /// Biases and tables, f32.
    Values(wgpu::Buffer),
}

/// A network's weights on a device; immutable, shared by all executors there.
pub struct Weights {
    gpu: Gpu,
    items: Vec<(WeightKind, Item)>,
    bytes: u64,
}

impl Weights {
    /// No weights yet.
    pub fn new(gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), items: Vec::new(), bytes: 0 }
    }

    /// Uploads the next weight, in the order of [`Graph::weights`]: `data` in `dtype`, in the layout of `kind`.
    ///
    /// # Errors
    /// Data that has not the size that its kind and type ask for, or no memory on the device.
    pub fn push(&mut self, kind: WeightKind, dtype: DType, data: &[u8]) -> Result<(), Error> {
        let item = match kind {
            WeightKind::Conv { out, kernel, inp } => self.matrix(dtype, data, out, kernel * kernel, inp)?,
            WeightKind::Linear { out, inp } => self.matrix(dtype, data, out, 1, inp)?,
            WeightKind::Vector { .. } | WeightKind::Table { .. } => {
                let mut values = vec![0.0f32; kind.elements()];
                quant::decode(dtype, data, &mut values).map_err(ExecError::from)?;
                let words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
                let needed = words.len() as u64 * 4;
                let limit = "max_storage_buffer_binding_size";
                self.gpu.fits("an embedding or a bias", needed, self.gpu.max_binding(), limit)?;
                self.bytes += needed;
                Item::Values(self.gpu.upload("values", &words)?)
            }
        };
        self.items.push((kind, item));
        Ok(())
    }

    /// Adds weight `i` of others, on the same device, as the next: the same memory.
    pub(crate) fn push_held(&mut self, others: &Self, i: usize) {
        let Some((kind, item)) = others.items.get(i) else { return };
        self.bytes += match item {
            Item::Matrix { parts, .. } => {
                let scales = |part: &Part| part.scales.as_ref().map_or(0, wgpu::Buffer::size);
                parts.iter().map(|part| part.codes.size() + scales(part)).sum()
            }
            Item::Values(values) => values.size(),
        };
        self.items.push((*kind, item.clone()));
    }

    fn matrix(&mut self, dtype: DType, data: &[u8], out: usize, taps: usize, inp: usize) -> Result<Item, Error> {
        let kernel = |e: KernelError| Error::from(ExecError::from(e));
        if out == 0 || taps == 0 || inp == 0 {
            return Err(kernel(KernelError::EmptyMatrix { out, taps, inp }));
        }
        let block = dtype.block_len();
        if !inp.is_multiple_of(block) {
            return Err(kernel(KernelError::PartialBlock { dtype: dtype.name(), block, inp }));
        }
        let expected = out * taps * (inp / block) * dtype.block_bytes();
        if data.len() != expected {
            let got = data.len();
            return Err(kernel(KernelError::WeightBytes { dtype: dtype.name(), out, taps, inp, expected, got }));
        }
        let matrix = Matrix { dtype, data, taps, inp };
        // Whole tiles of columns, as many as one binding takes.
        let column = column_bytes(dtype, taps, inp);
        let most = (self.gpu.max_binding() / column) as usize;
        self.gpu.fits("one column of a weight", column, self.gpu.max_binding(), "max_storage_buffer_binding_size")?;
        let step = if most >= out {
            out
        } else if most >= 64 {
            most / 64 * 64
        } else {
            most
        };
        let mut parts = Vec::new();
        for first in (0..out).step_by(step) {
            let n = step.min(out - first);
            let packed = matrix.pack(first..first + n);
            let scales = packed.scales.as_ref();
            self.bytes += (packed.codes.len() + scales.map_or(0, Vec::len)) as u64 * 4;
            let codes = self.gpu.upload("weights", &packed.codes)?;
            let scales = scales.map(|scales| self.gpu.upload("scales", scales)).transpose()?;
            parts.push(Part { first, n, codes, scales });
        }
        Ok(Item::Matrix { dtype, inp, taps, parts })
    }

    /// Bytes of device memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether these are the weights of that network.
    pub fn fit(&self, graph: &Graph) -> bool {
        self.items.len() == graph.weights().len()
            && self.items.iter().zip(graph.weights()).all(|((kind, _), weight)| *kind == weight.kind)
    }

    /// The device that they lie on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub(super) fn check(&self, gpu: &Gpu) -> Result<(), GpuError> {
        if self.gpu.is(gpu) { Ok(()) } else { Err(GpuError::OtherDevice) }
    }

    pub(super) fn item(&self, id: WeightId) -> &Item {
        &self.items[id.index()].1
    }
}

/// The flag that makes a shader read weights of this type.
pub(super) const fn flag(dtype: DType) -> Flag {
    match dtype {
        DType::F32 => Flag::WF32,
        DType::F16 => Flag::WF16,
        DType::BF16 => Flag::WBf16,
        DType::Q8_0 => Flag::WQ8_0,
        DType::Q4_0 => Flag::WQ4_0,
        DType::Q4K => Flag::WQ4K,
        DType::Q5K => Flag::WQ5K,
        DType::Q6K => Flag::WQ6K,
    }
}
