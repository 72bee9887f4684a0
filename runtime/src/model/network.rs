//! Networks of any kind, of one graph or several over the tensors of one file: weights placed on the CPU or on a
//! device, and evaluators that run graphs by the names of their inputs and outputs.

use super::device::Device;
use super::load::{self, Change};
use super::options::{SessionOptions, in_range};
use super::patch::Patch;
use super::stored::{Stored, Streaming};
use super::wait::wait;
use super::{ModelError, RequestError};
use crate::Error;
use crate::cpu::exec::{Executor, Memory, Weights};
use crate::cpu::footprint::Holding;
use crate::cpu::{Context, footprint};
use crate::gguf::File;
use crate::graph::{Graph, Op, Weight, share_weights};
use crate::plan::{Binding, ExecError, MemoryLimit, Plan, PlanOptions, Step};
use crate::rng::normal_fill;
use crate::sync::Arc;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

#[cfg(test)]
mod tests;

/// A model's weights, where they are used.
pub(super) enum Placed {
    /// Packed for the CPU's kernels.
    Cpu(Arc<Weights>),
    /// In a device's memory.
    #[cfg(feature = "gpu")]
    Gpu(Arc<crate::gpu::Weights>),
}

impl Placed {
    pub fn bytes(&self) -> usize {
        match self {
            Self::Cpu(weights) => weights.bytes(),
            #[cfg(feature = "gpu")]
            Self::Gpu(weights) => weights.bytes() as usize,
        }
    }
}

/// What of a network is not read from its file now.
enum Other<'a> {
    Nothing,
    /// What was loaded with these patches.
    Held(&'a Placed, &'a [Arc<dyn Patch>]),
    /// Matrices beyond so many bytes of weights, which this file keeps.
    Streamed(&'a Arc<dyn Stored>, u64),
}

/// A network's weights, where they are used; immutable.
pub struct Network {
    pub(super) placed: Placed,
    weights: Vec<Weight>,
}

impl Network {
    /// Loads the tensors of `graphs` (of any batch size).
    ///
    /// # Errors
    /// Graphs that use one tensor with different shapes; tensors that are missing, too many, or of another shape than
    /// the graphs'; a device error.
    pub fn load(file: &File<'_>, graphs: Vec<Graph>, device: &Device) -> Result<Self, Error> {
        Self::place(device, file, &[""], graphs, &[], Other::Nothing)
    }

    /// As [`Self::load`], of one graph, for a file that holds other networks too: those of its tensors whose names begin
    /// with one of `prefixes` are this one's. `patches` change tensors on the way, in their order.
    ///
    /// # Errors
    /// As [`Self::load`], and what a patch says.
    pub fn load_part(
        file: &File<'_>,
        prefixes: &[&str],
        graph: Graph,
        patches: &[Arc<dyn Patch>],
        device: &Device,
    ) -> Result<Self, Error> {
        Self::place(device, file, prefixes, vec![graph], patches, Other::Nothing)
    }

    /// As [`Self::load_part`] of `stored` on the CPU, with `held` bytes of its weights in memory: matrices beyond them are packed from
    /// the file each time that they are used. What a patch changes is held.
    ///
    /// # Errors
    /// As [`Self::load_part`].
    pub(super) fn streamed(
        stored: &Arc<dyn Stored>,
        prefixes: &[&str],
        graph: Graph,
        patches: &[Arc<dyn Patch>],
        held: u64,
    ) -> Result<Self, Error> {
        let other = Other::Streamed(stored, held);
        Self::place(&Device::Cpu, &stored.file()?, prefixes, vec![graph], patches, other)
    }

    /// This network, which was loaded for the same device with the patches `held`, with `patches` in their place: the
    /// tensors that are changed by the same are shared.
    ///
    /// # Errors
    /// As [`Self::load_part`].
    pub(super) fn repatched(
        &self,
        file: &File<'_>,
        prefixes: &[&str],
        graph: Graph,
        [held, patches]: [&[Arc<dyn Patch>]; 2],
        device: &Device,
    ) -> Result<Self, Error> {
        Self::place(device, file, prefixes, vec![graph], patches, Other::Held(&self.placed, held))
    }

    /// As [`Self::load_part`], without loading anything: whether all tensors are there, and have the graph's shapes.
    pub(super) fn check_part(file: &File<'_>, prefixes: &[&str], graph: Graph) -> Result<(), Error> {
        load::part(file, prefixes, &shared(vec![graph])?, &Change::default(), |_, _, _| Ok(()))
    }

    fn place(
        device: &Device,
        file: &File<'_>,
        prefixes: &[&str],
        graphs: Vec<Graph>,
        patches: &[Arc<dyn Patch>],
        other: Other<'_>,
    ) -> Result<Self, Error> {
        let weights = shared(graphs)?;
        let (from, held, mut streamed) = match other {
            Other::Nothing => (None, None, None),
            Other::Held(placed, patches) => (Some(placed), Some(patches), None),
            Other::Streamed(stored, held) => (None, None, Some((stored, Streaming::of(stored), Holding::new(held)))),
        };
        let change = Change { patches, held };
        let placed = match device {
            Device::Cpu => {
                let mut packed = Weights::new();
                load::part(file, prefixes, &weights, &change, |i, kind, data| match (data, from) {
                    (None, Some(Placed::Cpu(held))) => {
                        packed.push_held(held, i);
                        Ok(())
                    }
                    (data, _) => data.map_or(Ok(()), |(dtype, data)| {
                        if let Some((stored, source, holding)) = &mut streamed {
                            let size = footprint::weight(kind, dtype);
                            if !holding.holds(size, footprint::is_matrix(kind)) {
                                match within(stored.bytes(), data) {
                                    Some(range) => {
                                        return Ok(packed.push_streamed(kind, dtype, source.clone(), range)?);
                                    }
                                    // What a patch has changed lies in no file.
                                    None => holding.taken += size,
                                }
                            }
                        }
                        Ok(packed.push(kind, dtype, data)?)
                    }),
                })?;
                Placed::Cpu(packed.into())
            }
            Device::CpuInPlace => {
                if !file.is_static() {
                    return Err(ModelError::NotStatic.into());
                }
                let mut stored = Weights::new();
                load::part(file, prefixes, &weights, &change, |i, kind, data| match (data, from) {
                    (None, Some(Placed::Cpu(held))) => {
                        stored.push_held(held, i);
                        Ok(())
                    }
                    (data, _) => data.map_or(Ok(()), |(dtype, data)| {
                        // What a patch or the graph has changed lies in no file.
                        let data = file.lasting(data).map_or_else(|| Cow::Owned(data.to_vec()), Cow::Borrowed);
                        Ok(stored.push_stored(kind, dtype, data)?)
                    }),
                })?;
                Placed::Cpu(stored.into())
            }
            #[cfg(feature = "gpu")]
            Device::Gpu(gpu) => {
                let mut packed = crate::gpu::Weights::new(gpu);
                load::part(file, prefixes, &weights, &change, |i, kind, data| match (data, from) {
                    (None, Some(Placed::Gpu(held))) => {
                        packed.push_held(held, i);
                        Ok(())
                    }
                    (data, _) => data.map_or(Ok(()), |(dtype, data)| packed.push(kind, dtype, data)),
                })?;
                Placed::Gpu(packed.into())
            }
        };
        Ok(Self { placed, weights })
    }

    /// Bytes of the weights in memory: packed, or, of [`Device::CpuInPlace`], what could not be left in the file.
    pub fn weight_bytes(&self) -> usize {
        self.placed.bytes()
    }

    /// What evaluates `graphs`: those that the network was loaded with, in the same order, for a batch size of the
    /// caller's. Plans, then allocates all memory that it uses (on a device, what is written and read is copied at each
    /// evaluation). [`SessionOptions::batch`] and [`SessionOptions::guidance`] say nothing here.
    ///
    /// # Errors
    /// Graphs of another network, or more memory than the options allow; the error has both figures.
    pub fn evaluator(&self, mut graphs: Vec<Graph>, options: &SessionOptions) -> Result<Evaluator, Error> {
        share(&mut graphs)?;
        if graphs.iter().any(|graph| graph.weights() != self.weights) {
            return Err(ExecError::Weights.into());
        }
        let limit = MemoryLimit { allowed: options.memory_limit.unwrap_or(u64::MAX), reserved: 0 };
        let engine = match &self.placed {
            Placed::Cpu(weights) => {
                let plans = plans(&graphs, &crate::cpu::exec::PLAN)?;
                let exec = Executor::new(Context::new(options.threads), weights.clone(), plans, limit)?;
                Engine::Cpu(Box::new(exec))
            }
            #[cfg(feature = "gpu")]
            Placed::Gpu(weights) => {
                let plans = plans(&graphs, &weights.gpu().plan_options(options.device.storage))?;
                let exec = crate::gpu::Executor::new(weights.gpu(), weights.clone(), plans, limit, &options.device)?;
                Engine::Gpu(Box::new(OnDevice { exec, read: Vec::new() }))
            }
        };
        Ok(Evaluator { engine, last: 0 })
    }
}

/// Where `part` is in `bytes`, if it is.
fn within(bytes: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= bytes.len()).then_some(start..end)
}

fn share(graphs: &mut [Graph]) -> Result<(), Error> {
    share_weights(graphs).map_err(crate::nn::NetworkError::from)?;
    Ok(())
}

/// The weights of all the graphs.
fn shared(mut graphs: Vec<Graph>) -> Result<Vec<Weight>, Error> {
    share(&mut graphs)?;
    Ok(graphs.first().map(|graph| graph.weights().to_vec()).unwrap_or_default())
}

/// The limit is the session's: the executor adds up what it and the buffers take.
pub(super) fn plans<'a>(
    graphs: impl IntoIterator<Item = &'a Graph>,
    options: &PlanOptions,
) -> Result<Vec<(&'a Graph, Plan)>, Error> {
    let plans = graphs.into_iter().map(|graph| Plan::new(graph, options).map(|plan| (graph, plan)));
    Ok(plans.collect::<Result<_, _>>()?)
}

enum Engine {
    Cpu(Box<Executor>),
    #[cfg(feature = "gpu")]
    Gpu(Box<OnDevice>),
}

/// One thread of evaluation: memory for any of a network's graphs, one at a time.
pub struct Evaluator {
    engine: Engine,
    /// The graph evaluated last.
    last: usize,
}

impl Evaluator {
    /// The plans, in the order of the graphs.
    pub fn plans(&self) -> &[Plan] {
        match &self.engine {
            Engine::Cpu(exec) => exec.plans(),
            #[cfg(feature = "gpu")]
            Engine::Gpu(device) => device.exec.plans(),
        }
    }

    /// Bytes of memory, weights not counted.
    pub fn bytes(&self) -> usize {
        match &self.engine {
            Engine::Cpu(exec) => exec.bytes(),
            #[cfg(feature = "gpu")]
            Engine::Gpu(device) => device.exec.bytes() as usize,
        }
    }

    /// The memory of the CPU's executor, for another to use; it is to be given back before anything is evaluated.
    pub(super) fn take_memory(&mut self) -> Memory {
        match &mut self.engine {
            Engine::Cpu(exec) => exec.take_memory(),
            #[cfg(feature = "gpu")]
            Engine::Gpu(_) => Memory::default(),
        }
    }

    /// Memory of another executor, to be used from now on if it is larger.
    pub(super) fn give_memory(&mut self, memory: Memory) {
        match &mut self.engine {
            Engine::Cpu(exec) => exec.give_memory(memory),
            #[cfg(feature = "gpu")]
            Engine::Gpu(_) => {}
        }
    }

    /// What executes the graphs, if it is a device.
    #[cfg(feature = "gpu")]
    pub(super) fn on_device(&mut self) -> Option<&mut crate::gpu::Executor> {
        match &mut self.engine {
            Engine::Cpu(_) => None,
            Engine::Gpu(device) => Some(&mut device.exec),
        }
    }

    /// Evaluates a graph. `inputs` are all of its inputs, by name; one that is shorter than the graph's is followed by
    /// zeros. `ids` are those of its inputs of ids, one after the other, each a row of its table (which is not
    /// checked).
    ///
    /// # Errors
    /// An input that is missing, unknown or too long; too few or too many ids; [`ExecError::NotFinite`] with the first
    /// operation that made a NaN or an infinity; a device error.
    pub fn evaluate(&mut self, graph: usize, inputs: &[(&str, &[f32])], ids: &[Option<u32>]) -> Result<(), Error> {
        wait(self.evaluate_async(graph, inputs, ids))
    }

    /// [`Self::evaluate`], awaited.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub async fn evaluate_async(
        &mut self,
        graph: usize,
        inputs: &[(&str, &[f32])],
        ids: &[Option<u32>],
    ) -> Result<(), Error> {
        self.check(graph, inputs, ids)?;
        self.last = graph;
        match &mut self.engine {
            Engine::Cpu(exec) => cpu(exec, graph, inputs, ids),
            #[cfg(feature = "gpu")]
            Engine::Gpu(device) => device.evaluate(graph, inputs, ids).await,
        }
    }

    /// An output of the graph evaluated last, of that graph's whole batch.
    ///
    /// # Errors
    /// No output of that name, or nothing evaluated yet.
    pub fn output(&self, name: &str) -> Result<&[f32], Error> {
        let outputs = self.plans().get(self.last).map(Plan::outputs).unwrap_or_default();
        let missing = || port("output", name, outputs);
        let found = outputs.iter().position(|binding| binding.name == name);
        match (&self.engine, found) {
            (Engine::Cpu(exec), Some(i)) => Ok(exec.slot(outputs[i].slot)),
            #[cfg(feature = "gpu")]
            (Engine::Gpu(device), Some(i)) => Ok(device.read.get(i).ok_or_else(missing)?),
            (_, None) => Err(missing()),
        }
    }

    /// That no operation of a graph makes the same number everywhere: asked when a picture is of one color, with noise for all
    /// inputs, so that only weights can be at fault.
    ///
    /// # Errors
    /// [`ExecError::Constant`] with the first operation that does; a device error.
    pub(super) async fn check_constant_async(&mut self, graph: usize) -> Result<(), Error> {
        let plan = &self.plans()[graph];
        let noise = |(i, binding): (usize, &Binding)| {
            let mut values = vec![0.0; binding.slot.len()];
            normal_fill(i as u64, 0, &mut values);
            (binding.name.clone(), values)
        };
        let inputs: Vec<_> = plan.inputs().iter().enumerate().map(noise).collect();
        let inputs: Vec<_> = inputs.iter().map(|(name, values)| (&**name, &values[..])).collect();
        // No id is all keys: a length of 0 would leave zeros.
        let is_length = |i| {
            let reads = |step: &Step| matches!(step.op, Op::Attention { lengths: Some(ids), .. } if ids.index() == i);
            plan.steps().iter().any(reads)
        };
        let of_input = |(i, (_, n)): (usize, &(_, usize))| core::iter::repeat_n((!is_length(i)).then_some(0), *n);
        let ids: Vec<Option<u32>> = plan.ids().iter().enumerate().flat_map(of_input).collect();
        match &mut self.engine {
            Engine::Cpu(exec) => {
                fill(exec, graph, &inputs);
                Ok(exec.run_looking(graph, &ids, ExecError::constant)?)
            }
            #[cfg(feature = "gpu")]
            Engine::Gpu(device) => {
                device.exec.set_ids(&ids)?;
                device.fill(graph, &inputs)?;
                device.exec.run_looking(graph, ExecError::constant).await
            }
        }
    }

    fn check(&self, graph: usize, inputs: &[(&str, &[f32])], ids: &[Option<u32>]) -> Result<(), Error> {
        let plans = self.plans();
        let Some(plan) = plans.get(graph) else {
            let (found, expected) = (graph.to_string(), format!("less than {}", plans.len()));
            return Err(RequestError::Range { what: "graph", found, expected }.into());
        };
        for (name, values) in inputs {
            let slot = plan.input(name).ok_or_else(|| port("input", name, plan.inputs()))?;
            if values.len() > slot.len() {
                let (found, expected) = (format!("{} values", values.len()), format!("at most {}", slot.len()));
                return Err(RequestError::Range { what: "an input", found, expected }.into());
            }
        }
        let needed: usize = plan.ids().iter().map(|(_, n)| n).sum();
        in_range("number of ids", ids.len(), needed, needed)?;
        match plan.inputs().iter().find(|binding| !inputs.iter().any(|(name, _)| *name == binding.name)) {
            Some(missing) => Err(port("input", &missing.name, &[])),
            None => Ok(()),
        }
    }
}

fn port(what: &'static str, name: &str, known: &[Binding]) -> Error {
    let known = known.iter().map(|binding| binding.name.clone()).collect();
    ModelError::Port { what, name: name.into(), known }.into()
}

fn cpu(exec: &mut Executor, graph: usize, inputs: &[(&str, &[f32])], ids: &[Option<u32>]) -> Result<(), Error> {
    fill(exec, graph, inputs);
    exec.run(graph, ids);
    let outputs = exec.plans()[graph].outputs();
    if outputs.iter().all(|output| exec.slot(output.slot).iter().all(|v| v.is_finite())) {
        return Ok(());
    }
    // Again, looking at each result, to find where a number was lost.
    fill(exec, graph, inputs);
    Ok(exec.run_checked(graph, ids)?)
}

fn fill(exec: &mut Executor, graph: usize, inputs: &[(&str, &[f32])]) {
    for (name, values) in inputs {
        if let Some(slot) = exec.plans()[graph].input(name) {
            let (used, rest) = exec.slot_mut(slot).split_at_mut(values.len());
            used.copy_from_slice(values);
            rest.fill(0.0);
        }
    }
}

#[cfg(feature = "gpu")]
struct OnDevice {
    exec: crate::gpu::Executor,
    /// What the outputs of the graph evaluated last held.
    read: Vec<Vec<f32>>,
}

#[cfg(feature = "gpu")]
impl OnDevice {
    async fn evaluate(&mut self, graph: usize, inputs: &[(&str, &[f32])], ids: &[Option<u32>]) -> Result<(), Error> {
        self.exec.set_ids(ids)?;
        self.fill(graph, inputs)?;
        self.exec.run(graph)?;
        self.read.clear();
        for output in self.exec.plans()[graph].outputs() {
            self.read.push(self.exec.read_async(output.slot).await?);
        }
        if self.read.iter().flatten().all(|v| v.is_finite()) {
            return Ok(());
        }
        self.fill(graph, inputs)?;
        self.exec.run_checked_async(graph).await
    }

    fn fill(&self, graph: usize, inputs: &[(&str, &[f32])]) -> Result<(), Error> {
        for (name, values) in inputs {
            if let Some(slot) = self.exec.plans()[graph].input(name) {
                let mut whole = values.to_vec();
                whole.resize(slot.len(), 0.0);
                self.exec.write(slot, &whole)?;
            }
        }
        Ok(())
    }
}
