//! How much of a device's memory weights and executions take, told without a device.

use super::bind::Binder;
use super::pack::column_bytes;
use super::{Gpu, GpuError, Storage, lower};
use crate::graph::WeightKind;
use crate::plan::Plan;
use crate::quant::DType;

/// Dispatches that others than the plans may bind: those of a sampler.
pub(super) const SPARE: usize = 12;

/// Bytes of a weight as [`super::Weights`] hold it.
pub fn weight(kind: WeightKind, dtype: DType) -> u64 {
    match kind {
        WeightKind::Conv { out, kernel, inp } => column_bytes(dtype, kernel * kernel, inp) * out as u64,
        WeightKind::Linear { out, inp } => column_bytes(dtype, 1, inp) * out as u64,
        WeightKind::Vector { .. } | WeightKind::Table { .. } => kind.elements() as u64 * 4,
    }
}

/// About how many bytes an [`super::Executor`] of this plan takes.
pub fn executor(plan: &Plan, storage: Storage) -> u64 {
    // Nearly every step is one dispatch, and its parameters are small.
    Memory::of(core::slice::from_ref(plan), plan.steps().len() + SPARE).bytes(storage)
}

/// What an execution of some plans takes.
pub(super) struct Memory {
    /// Elements.
    arena: u64,
    /// Bytes.
    scratch: u64,
    /// How many.
    ids: usize,
    /// Elements of the largest input or output.
    pub port: u64,
    /// Bytes.
    uniforms: u64,
}

impl Memory {
    pub fn of(plans: &[Plan], dispatches: usize) -> Self {
        let ports = plans.iter().flat_map(|plan| plan.inputs().iter().chain(plan.outputs()));
        Self {
            arena: plans.iter().map(Plan::arena_len).max().unwrap_or(0) as u64,
            scratch: plans.iter().flat_map(Plan::steps).map(lower::scratch_bytes).max().unwrap_or(0),
            ids: plans.iter().map(|plan| plan.ids().iter().map(|(_, n)| n).sum()).max().unwrap_or(0),
            port: ports.map(|binding| binding.slot.len()).max().unwrap_or(0) as u64,
            uniforms: dispatches as u64 * Binder::UNIFORM,
        }
    }

    pub const fn bytes(&self, storage: Storage) -> u64 {
        self.arena * storage.bytes() + self.scratch + self.ids as u64 * 4 + self.port * 4 + self.uniforms
    }

    /// All of it but what is read through.
    pub fn binder(&self, gpu: &Gpu, storage: Storage) -> Result<Binder, GpuError> {
        Binder::new(gpu, storage, self.arena, self.scratch, self.ids, self.uniforms)
    }
}
