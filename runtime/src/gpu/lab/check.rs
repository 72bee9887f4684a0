//! A graph on a device and on the CPU, compared: what the tests and `nijimi self-test` do.

use super::{ExecOptions, Executor, Gpu, GpuError, Storage, Weights};
use crate::Error;
use crate::cpu::Context;
use crate::cpu::exec as cpu;
use crate::gpu::trusted;
use crate::graph::{Graph, Op, WeightKind};
use crate::plan::{MemoryLimit, Plan, PlanOptions};
use crate::quant::{self, DType};
use crate::rng::Stream;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use wgpu::BufferUsages;

/// Stands in all memory that no step may write: a NaN that no computation makes.
const POISON: u32 = 0x7fc0_dead;
/// The same for halves.
const POISON_F16: u32 = 0x7edd_7edd;

/// A graph with random weights and inputs, and what the CPU makes of it.
pub struct Case {
    graph: Graph,
    weights: Arc<Weights>,
    inputs: Vec<Vec<f32>>,
    ids: Vec<Option<u32>>,
    /// By output.
    expected: Vec<Vec<f32>>,
}

/// How far a device was from the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The largest difference, as a share of the largest value of that output.
    pub error: f32,
}

/// Why a device was not near enough.
#[derive(Debug)]
pub enum Mismatch {
    /// It could not run.
    Failed(Error),
    /// It wrote where it must not.
    Outside(String),
    /// It left an element unwritten, or made a NaN.
    Unwritten(String),
}

impl From<Error> for Mismatch {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

impl From<GpuError> for Mismatch {
    fn from(e: GpuError) -> Self {
        Self::Failed(e.into())
    }
}

impl core::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Failed(e) => e.fmt(f),
            Self::Outside(what) | Self::Unwritten(what) => f.write_str(what),
        }
    }
}

/// `dtype` where a matrix allows it, or else what takes its place.
fn stored(kind: WeightKind, dtype: DType) -> DType {
    match kind {
        WeightKind::Conv { inp, .. } | WeightKind::Linear { inp, .. } => dtype.of_rows(inp),
        WeightKind::Vector { .. } | WeightKind::Table { .. } => DType::F32,
    }
}

impl Case {
    /// Draws weights and inputs, stores the matrices as `dtype` on the device, and computes on the CPU, in f32, with
    /// the values that the stored ones decode to.
    ///
    /// # Errors
    /// A graph that cannot be planned, or a device that refuses.
    pub fn new(gpu: &Gpu, graph: Graph, dtype: DType, seed: u64) -> Result<Self, Error> {
        let mut random = Stream::new(seed, "gpu-check", 0);
        let mut on_cpu = cpu::Weights::new();
        let mut on_gpu = Weights::new(gpu);
        for weight in graph.weights() {
            let (fan_in, centre) = match weight.kind {
                WeightKind::Conv { kernel, inp, .. } => (kernel * kernel * inp, 0.0),
                WeightKind::Linear { inp, .. } => (inp, 0.0),
                WeightKind::Vector { .. } => (4, 0.5),
                WeightKind::Table { .. } => (1, 0.0),
            };
            let scale = 1.0 / libm::sqrtf(fan_in as f32);
            let mut values: Vec<f32> = (0..weight.kind.elements()).map(|_| centre + random.normal() * scale).collect();
            let dtype = stored(weight.kind, dtype);
            let mut data = Vec::new();
            quant::encode(dtype, &values, &mut data)?;
            quant::decode(dtype, &data, &mut values)?;
            on_cpu.push(weight.kind, DType::F32, trusted::bytes(&values))?;
            on_gpu.push(weight.kind, dtype, &data)?;
        }
        // A mean that is not zero, so that what subtracts it can be seen to.
        let inputs: Vec<Vec<f32>> = graph
            .inputs()
            .iter()
            .map(|port| {
                let shape = graph.shape(port.value);
                let time = shape.elements() == shape.n;
                (0..shape.elements())
                    .map(|_| if time { random.below(1000) as f32 } else { random.normal() + 0.25 })
                    .collect()
            })
            .collect();
        let tables = graph.weights().iter().filter_map(|w| match w.kind {
            WeightKind::Table { rows, .. } => Some(rows as u64),
            _ => None,
        });
        // A label is one of as many as there are logits, a place of as many as tokens; a length may be that of all keys.
        let labels = graph.nodes().iter().filter_map(|node| match node.op {
            Op::LogSoftmaxBackward { x, .. } => Some(graph.shape(x).c as u64),
            Op::SelectToken { x, .. } => Some((graph.shape(x).h * graph.shape(x).w) as u64),
            Op::Attention { k, lengths: Some(_), .. } => Some((graph.shape(k).h * graph.shape(k).w + 1) as u64),
            _ => None,
        });
        let rows = tables.chain(labels).min().unwrap_or(1);
        let count: usize = graph.ids().iter().map(|(_, n)| n).sum();
        let ids: Vec<_> = (0..count).map(|i| (i % 3 != 1).then(|| random.below(rows) as u32)).collect();

        let plan = Plan::new(&graph, &PlanOptions::default())?;
        let mut executor =
            cpu::Executor::new(Context::new(0), Arc::new(on_cpu), vec![(&graph, plan)], MemoryLimit::NONE)?;
        let slots: Vec<_> = executor.plans()[0].inputs().iter().map(|b| b.slot).collect();
        for (slot, input) in slots.into_iter().zip(&inputs) {
            executor.slot_mut(slot).copy_from_slice(input);
        }
        executor.run(0, &ids);
        let outputs = executor.plans()[0].outputs();
        let expected = outputs.iter().map(|output| executor.slot(output.slot).to_vec()).collect();
        Ok(Self { graph, weights: Arc::new(on_gpu), inputs, ids, expected })
    }

    /// Bytes of the weights, as they lie on the device.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.bytes()
    }

    /// An executor of the graph on the device.
    ///
    /// # Errors
    /// Those of the device.
    pub fn executor(&self, options: &ExecOptions) -> Result<Executor, Error> {
        let gpu = self.weights.gpu();
        let plan = Plan::new(&self.graph, &gpu.plan_options(options.storage))?;
        let executor = Executor::new(gpu, self.weights.clone(), vec![(&self.graph, plan)], MemoryLimit::NONE, options)?;
        executor.set_ids(&self.ids)?;
        self.fill(&executor)?;
        Ok(executor)
    }

    fn fill(&self, executor: &Executor) -> Result<(), GpuError> {
        let inputs = executor.plans()[0].inputs().iter().zip(&self.inputs);
        inputs.into_iter().try_for_each(|(binding, input)| executor.write(binding.slot, input))
    }

    /// Executes on the device, in memory full of NaN, and compares.
    ///
    /// # Errors
    /// A device that refuses, writes outside of its outputs, or leaves some of them unwritten.
    pub fn compare(&self, options: &ExecOptions) -> Result<Outcome, Mismatch> {
        self.compare_on(&self.executor(options)?)
    }

    /// [`Self::compare`] with an executor of [`Self::executor`].
    ///
    /// # Errors
    /// As [`Self::compare`].
    pub fn compare_on(&self, executor: &Executor) -> Result<Outcome, Mismatch> {
        let poison = if executor.storage() == Storage::F32 { POISON } else { POISON_F16 };
        executor.poison(poison)?;
        self.fill(executor)?;
        executor.run(0)?;
        self.untouched(executor, poison)?;
        let mut error = 0.0f32;
        for (output, expected) in executor.plans()[0].outputs().iter().zip(&self.expected) {
            let found = executor.read(output.slot)?;
            let largest = expected.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
            for (i, (y, e)) in found.iter().zip(expected).enumerate() {
                if !y.is_finite() {
                    return Err(Mismatch::Unwritten(format!("{}[{i}] is {y}, not {e}", output.name)));
                }
                error = error.max((y - e).abs() / largest);
            }
        }
        Ok(Outcome { error })
    }

    /// Seconds of one execution: the least of several measurements, each long enough for a clock; fewer where one takes
    /// very long.
    ///
    /// # Errors
    /// Those of the device.
    pub fn time(executor: &Executor) -> Result<f64, GpuError> {
        let measure = |times: usize| {
            let started = std::time::Instant::now();
            executor.submit("timing", |pass| (0..times).for_each(|_| executor.record(0, pass)))?;
            executor.gpu().wait(None)?;
            Ok(started.elapsed().as_secs_f64())
        };
        // Once for what is done lazily.
        let mut seconds = measure(1)?;
        if seconds > 1.0 {
            return Ok(seconds);
        }
        let mut times = 1;
        seconds = measure(times)?;
        while seconds < 0.02 && times < 4096 {
            times *= 2;
            seconds = measure(times)?;
        }
        for _ in 0..3 {
            seconds = f64::min(seconds, measure(times)?);
        }
        Ok(seconds / times as f64)
    }

    /// Looks at all of the arena that belongs to no activation.
    fn untouched(&self, executor: &Executor, poison: u32) -> Result<(), Mismatch> {
        let plan = &executor.plans()[0];
        let mut words = executor.arena_words()?;
        let per_word = 4 / executor.binder.storage.bytes() as usize;
        let slots = plan.steps().iter().map(|s| s.output).chain(plan.inputs().iter().map(|b| b.slot));
        for slot in slots {
            words[slot.offset / per_word..(slot.offset + slot.len()).div_ceil(per_word)].fill(poison);
        }
        match words.iter().position(|w| *w != poison) {
            None => Ok(()),
            Some(i) => Err(Mismatch::Outside(format!("word {i} of the arena was overwritten with {:#x}", words[i]))),
        }
    }
}

impl Executor {
    /// Fills the arena with a pattern.
    fn poison(&self, pattern: u32) -> Result<(), GpuError> {
        self.binder.arena.iter().try_for_each(|buffer| {
            let words = vec![pattern; buffer.size() as usize / 4];
            let write = || self.gpu().queue().write_buffer(buffer, 0, trusted::bytes(&words));
            self.gpu().scoped("poison", buffer.size(), write)
        })
    }

    /// The whole arena.
    fn arena_words(&self) -> Result<Vec<u32>, GpuError> {
        let mut words = Vec::new();
        for buffer in &self.binder.arena {
            let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
            let staging = self.gpu().buffer("staging", buffer.size(), usage)?;
            words.extend(pollster::block_on(self.gpu().download(buffer, 0, &staging, buffer.size()))?);
        }
        Ok(words)
    }
}
