//! Executes plans on a device, in one arena, allocating nothing.

use super::bind::Binder;
use super::footprint::{Memory, SPARE};
use super::lower::{self, Variants};
use super::pipeline::Pipeline;
use super::weights::Weights;
use super::{Gpu, GpuError, Storage, trusted};
use crate::Error;
use crate::graph::{Graph, Op};
use crate::plan::{ALIGN, ExecError, MemoryLimit, Plan, PlanError, PlanOptions, Slot, Step};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use half::f16;
use nijimi_shaders::Shader;
use nijimi_shaders::table::{Class, Coop, MAX_HEAD, Machine, Tile};
use wgpu::BufferUsages;

/// What an execution may use; the default is what suits the adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExecOptions {
    /// How activations are stored.
    pub storage: Storage,
    /// Tiles for another kind of adapter than this one: for tests and comparisons.
    pub class: Option<Class>,
    /// The tile of all matrix products: for tests and measurements.
    pub tile: Option<Tile>,
    /// No subgroup operations, even if the device has them.
    pub no_subgroups: bool,
    /// No cooperative matrices, even if the device has them. They round what is multiplied with f16 or quantized
    /// weights to halves (f32 and bf16 weights stay as they are).
    pub no_cooperative: bool,
}

/// Channels of an attention's head.
fn head(step: &Step) -> Option<usize> {
    if let Op::Attention { q, heads, .. } = step.op { Some(q.shape.c / heads) } else { None }
}

/// A dispatch, ready to be recorded.
pub(super) struct Ready {
    pub pipeline: Arc<Pipeline>,
    pub group: wgpu::BindGroup,
    pub grid: [u32; 3],
    /// The plan's step.
    pub step: usize,
}

/// One thread of execution: an arena and scratch memory, large enough for each of its plans.
pub struct Executor {
    gpu: Gpu,
    // The weights' buffers are held by the bind groups; this says so.
    _weights: Arc<Weights>,
    plans: Vec<Plan>,
    /// By plan.
    ready: Vec<Vec<Ready>>,
    pub(super) binder: Binder,
    variants: Variants,
    staging: wgpu::Buffer,
    bytes: u64,
}

impl Gpu {
    /// What the table is asked for.
    pub(super) fn machine(&self, options: &ExecOptions) -> Result<Machine, GpuError> {
        let class = options.class.unwrap_or(self.0.class);
        // Whoever names a tile knows what is being tried; a CPU has no use for them.
        let wanted = !options.no_cooperative && options.tile.is_none() && class == Class::Gpu;
        let coop = self.0.coop.filter(|_| wanted);
        // No browser has them, and none would wait for the proof.
        #[cfg(not(target_arch = "wasm32"))]
        let coop = coop.filter(|coop| self.proven(*coop));
        Ok(Machine { class, coop, spills: self.0.spills })
    }

    /// The cooperative matrices that the adapter says it has.
    pub fn cooperative(&self) -> Option<Coop> {
        self.0.coop
    }

    /// How to plan for this device: at its alignment, in pieces that it can bind.
    pub fn plan_options(&self, storage: Storage) -> PlanOptions {
        let limits = &self.0.limits;
        let step = u64::from(limits.min_storage_buffer_offset_alignment) / storage.bytes();
        // WebGPU's coarsest alignment at the least, so that plans are the same on most devices.
        let align = step.max(256 / storage.bytes()).next_multiple_of(ALIGN as u64);
        let piece = self.max_binding() / storage.bytes() / align * align;
        // Offsets of a device are 32 bits.
        let piece = piece.min(1 << 30) as usize;
        PlanOptions { align: align as usize, piece: Some(piece), ..PlanOptions::default() }
    }
}

impl Executor {
    /// Sets up the execution of several plans of one network (batch sizes), one at a time in the same memory: all
    /// buffers, all pipelines that they need, all bindings. The plans are those of [`Gpu::plan_options`].
    ///
    /// # Errors
    /// [`ExecError::Weights`] if a graph has other weights; [`PlanError::Memory`] if the limit is too low, before
    /// anything is allocated; a device error.
    pub fn new(
        gpu: &Gpu,
        weights: Arc<Weights>,
        plans: Vec<(&Graph, Plan)>,
        limit: MemoryLimit,
        options: &ExecOptions,
    ) -> Result<Self, Error> {
        weights.check(gpu)?;
        if !plans.iter().all(|(graph, _)| weights.fit(graph)) {
            return Err(ExecError::Weights.into());
        }
        if options.storage == Storage::F16 && !gpu.has_f16() {
            let what = "half-precision storage (shader-f16)".to_owned();
            return Err(GpuError::Lacks { adapter: gpu.0.info.name.clone(), what }.into());
        }
        let plans: Vec<Plan> = plans.into_iter().map(|(_, plan)| plan).collect();
        if let Some(d) = plans.iter().flat_map(Plan::steps).filter_map(head).find(|d| *d > MAX_HEAD) {
            // Of a longer one the shader would leave the rest out.
            let what = format!("attention with heads of {d} channels ({MAX_HEAD} at the most)");
            return Err(GpuError::Lacks { adapter: gpu.0.info.name.clone(), what }.into());
        }
        let machine = gpu.machine(options)?;
        let variants = Variants {
            machine,
            f16: options.storage == Storage::F16,
            subgroups: gpu.0.features.contains(wgpu::Features::SUBGROUP) && !options.no_subgroups,
            tile: options.tile,
        };
        #[cfg(not(target_arch = "wasm32"))]
        if gpu.0.choices.wanted && options.tile.is_none() {
            gpu.tune(&plans, &weights, machine, options)?;
        }
        let lowered: Vec<Vec<(usize, lower::Dispatch<'_>)>> = plans
            .iter()
            .map(|plan| {
                let steps = plan.steps().iter().enumerate();
                steps
                    .flat_map(|(i, step)| variants.lower(plan, step, &weights).into_iter().map(move |d| (i, d)))
                    .collect()
            })
            .collect();

        let dispatches = lowered.iter().map(Vec::len).sum::<usize>() + SPARE;
        let memory = Memory::of(&plans, dispatches);
        let own = memory.bytes(options.storage);
        let needed = own.saturating_add(limit.reserved);
        if needed > limit.allowed {
            return Err(PlanError::Memory { needed, allowed: limit.allowed }.into());
        }

        let mut binder = memory.binder(gpu, options.storage)?;
        let staging = gpu.buffer("staging", memory.port * 4, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        let shaders: Vec<Shader> = lowered.iter().flatten().map(|(_, dispatch)| dispatch.shader.clone()).collect();
        let mut pipelines = gpu.pipelines(&shaders)?.into_iter();
        let mut ready = Vec::new();
        for (plan, dispatches) in plans.iter().zip(&lowered) {
            let mut own = Vec::new();
            for ((step, dispatch), pipeline) in dispatches.iter().zip(&mut pipelines) {
                own.push(Ready::new(&mut binder, &plan.steps()[*step].name, pipeline, dispatch, *step)?);
            }
            ready.push(own);
        }
        binder.flush()?;
        drop(lowered);
        Ok(Self { gpu: gpu.clone(), _weights: weights, plans, ready, binder, variants, staging, bytes: own })
    }

    /// The plans, in the order in which they were given.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// Bytes of device memory, weights not counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// How activations are stored.
    pub fn storage(&self) -> Storage {
        self.binder.storage
    }

    /// Makes dispatches of another's on this executor's memory, at most [`SPARE`].
    pub(super) fn prepare(&mut self, dispatches: &[lower::Dispatch<'_>]) -> Result<Vec<Ready>, GpuError> {
        let shaders: Vec<Shader> = dispatches.iter().map(|dispatch| dispatch.shader.clone()).collect();
        let pipelines = self.gpu.pipelines(&shaders)?;
        let ready = dispatches.iter().zip(pipelines).map(|(dispatch, pipeline)| {
            let label = pipeline.shader.label();
            Ready::new(&mut self.binder, &label, pipeline, dispatch, 0)
        });
        let ready = ready.collect::<Result<_, GpuError>>()?;
        self.binder.flush()?;
        Ok(ready)
    }

    /// What decides between variants here.
    pub(super) const fn variants(&self) -> Variants {
        self.variants
    }

    /// Records a plan's dispatches.
    pub(super) fn record(&self, plan: usize, pass: &mut wgpu::ComputePass<'_>) {
        self.ready[plan].iter().for_each(|ready| ready.record(pass));
    }

    /// Sets the ids of the inputs of ids, one after the other; each must be a row of its table.
    ///
    /// # Errors
    /// Those of the device.
    pub fn set_ids(&self, ids: &[Option<u32>]) -> Result<(), GpuError> {
        let words: Vec<u32> = ids.iter().map(|id| id.unwrap_or(u32::MAX)).collect();
        let len = (words.len() * 4).min(self.binder.ids.size() as usize);
        let write = || self.gpu.queue().write_buffer(&self.binder.ids, 0, &trusted::bytes(&words)[..len]);
        self.gpu.scoped("ids", len as u64, write)
    }

    /// Fills an input, to be done before each execution.
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// Where `values` has another length than the slot.
    pub fn write(&self, slot: Slot, values: &[f32]) -> Result<(), GpuError> {
        assert_eq!(values.len(), slot.len(), "write: length");
        let (buffer, offset) = self.binder.place(slot);
        let bytes = self.encode(values, values.len());
        self.gpu.scoped("an input", bytes.len() as u64, || self.gpu.queue().write_buffer(buffer, offset, &bytes))
    }

    /// Bytes of an activation of `n` elements; copies are of whole words, and slots end on one.
    pub(super) fn bytes_of(&self, n: usize) -> u64 {
        (n as u64 * self.binder.storage.bytes()).next_multiple_of(4)
    }

    /// `values`, and zeros up to `n`, as activations are stored.
    pub(super) fn encode(&self, values: &[f32], n: usize) -> Vec<u8> {
        let mut bytes = match self.binder.storage {
            Storage::F32 => trusted::bytes(values).to_vec(),
            Storage::F16 => {
                let halves: Vec<u16> = values.iter().map(|v| f16::from_f32(*v).to_bits()).collect();
                trusted::bytes(&halves).to_vec()
            }
        };
        bytes.resize(self.bytes_of(n) as usize, 0);
        bytes
    }

    /// Executes a plan.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&self, plan: usize) -> Result<(), GpuError> {
        self.submit("execution", |pass| self.record(plan, pass)).map(drop)
    }

    /// Executes a plan and looks at each result, waiting for each.
    ///
    /// # Errors
    /// [`ExecError::NotFinite`] names the first operation that made a NaN or an infinity.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_checked(&self, plan: usize) -> Result<(), Error> {
        pollster::block_on(self.run_checked_async(plan))
    }

    /// [`Self::run_checked`], awaited.
    ///
    /// # Errors
    /// As [`Self::run_checked`] has.
    pub async fn run_checked_async(&self, plan: usize) -> Result<(), Error> {
        self.run_looking(plan, ExecError::not_finite).await
    }

    /// Executes a plan up to the first operation of whose output `look` says what is wrong.
    pub(crate) async fn run_looking(
        &self,
        plan: usize,
        look: fn(&Step, &[f32]) -> Result<(), ExecError>,
    ) -> Result<(), Error> {
        let (plan, ready) = (&self.plans[plan], &self.ready[plan]);
        for (i, step) in plan.steps().iter().enumerate() {
            let own = || ready.iter().filter(|ready| ready.step == i);
            self.submit(&step.name, |pass| own().for_each(|ready| ready.record(pass)))?;
            look(step, &self.read_any(step.output).await?)?;
        }
        Ok(())
    }

    /// Submits one compute pass.
    pub(super) fn submit(
        &self,
        what: &str,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
    ) -> Result<wgpu::SubmissionIndex, GpuError> {
        self.submit_between(what, core::iter::empty(), None, record)
    }

    /// Submits copies of whole buffers to activations, one compute pass, then the copy of an activation that it `made`.
    pub(super) fn submit_between<'a>(
        &self,
        what: &str,
        copies: impl Iterator<Item = (&'a wgpu::Buffer, Slot)>,
        made: Option<(Slot, &wgpu::Buffer)>,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
    ) -> Result<wgpu::SubmissionIndex, GpuError> {
        self.gpu.scoped(what, 0, || {
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            for (from, slot) in copies {
                let (to, offset) = self.binder.place(slot);
                encoder.copy_buffer_to_buffer(from, 0, to, offset, self.bytes_of(slot.len()));
            }
            record(&mut encoder.begin_compute_pass(&Default::default()));
            if let Some((slot, to)) = made {
                let (from, offset) = self.binder.place(slot);
                encoder.copy_buffer_to_buffer(from, offset, to, 0, self.bytes_of(slot.len()));
            }
            self.gpu.queue().submit([encoder.finish()])
        })
    }

    /// The elements of an output, or of an input, after an execution that is waited for.
    ///
    /// # Errors
    /// Those of the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, slot: Slot) -> Result<Vec<f32>, GpuError> {
        pollster::block_on(self.read_async(slot))
    }

    /// [`Self::read`], awaited.
    ///
    /// # Errors
    /// Those of the device.
    pub async fn read_async(&self, slot: Slot) -> Result<Vec<f32>, GpuError> {
        self.read_through(slot, &self.staging).await
    }

    /// Elements of any activation; what is no output needs memory of its own to be read.
    async fn read_any(&self, slot: Slot) -> Result<Vec<f32>, GpuError> {
        let bytes = slot.len() as u64 * 4;
        let staging = self.gpu.buffer("staging", bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        self.read_through(slot, &staging).await
    }

    async fn read_through(&self, slot: Slot, staging: &wgpu::Buffer) -> Result<Vec<f32>, GpuError> {
        let (buffer, offset) = self.binder.place(slot);
        let bytes = self.bytes_of(slot.len());
        let words = self.gpu.download(buffer, offset, staging, bytes).await?;
        Ok(self.decode(&words, slot.len()))
    }

    pub(super) fn decode(&self, words: &[u32], len: usize) -> Vec<f32> {
        let mut values: Vec<f32> = match self.binder.storage {
            Storage::F32 => words.iter().map(|w| f32::from_bits(*w)).collect(),
            Storage::F16 => {
                let halves = words.iter().flat_map(|w| [*w as u16, (*w >> 16) as u16]);
                halves.map(|h| f16::from_bits(h).to_f32()).collect()
            }
        };
        values.truncate(len);
        values
    }

    /// Each dispatch's shader, in order: what a plan needs.
    pub fn shaders(&self, plan: usize) -> impl Iterator<Item = (&str, &Shader)> {
        let (plan, ready) = (&self.plans[plan], &self.ready[plan]);
        ready.iter().map(|ready| (plan.steps()[ready.step].name.as_str(), &ready.pipeline.shader))
    }
}

impl Ready {
    fn new(
        binder: &mut Binder,
        label: &str,
        pipeline: Arc<Pipeline>,
        dispatch: &lower::Dispatch<'_>,
        step: usize,
    ) -> Result<Self, GpuError> {
        let group = binder.bind(label, &pipeline, &dispatch.operands, &dispatch.params)?;
        Ok(Self { pipeline, group, grid: dispatch.grid.map(|n| n as u32), step })
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline.compute);
        pass.set_bind_group(0, &self.group, &[]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}
