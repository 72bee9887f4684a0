//! What makes the calls of a run, on the CPU or on a device: the network, guidance, the solver's part.

mod controls;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
mod guide;
mod inputs;

use super::RequestError;
use super::network::{Placed, plans};
use crate::Error;
use crate::cpu::Context;
use crate::cpu::exec::{Executor, Memory};
use crate::graph::Graph;
use crate::nn::SdUnet;
use crate::plan::{ExecError, MemoryLimit, Plan, PlanOptions, Slot};
use crate::sampler::{Call, steps};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

pub(super) use controls::{Controlled, Controls};
pub(super) use cpu::CpuEngine;
#[cfg(feature = "gpu")]
pub(super) use gpu::GpuEngine;
pub(super) use guide::Guide;
pub(super) use inputs::{Inputs, Kept, Time};

/// Whether the network is evaluated once or twice for each sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Plain,
    /// Once more without the condition, in the second half of its batch; of models that change a picture twice more: without
    /// the text, then without text and picture.
    Guided,
}

/// A network's graphs: at least one.
pub(super) struct Graphs {
    pub plain: Option<Graph>,
    pub guided: Option<Graph>,
    /// Evaluated at some calls in place of the one that there is then ([`At::ports`]): given the deep features of an earlier call
    /// ([`SdUnet::FEATURES`]), or of three texts for skip-layer guidance.
    pub other: Option<Graph>,
    /// Its inputs of samples and noise levels, and its output.
    pub x: &'static str,
    pub t: &'static str,
    pub out: &'static str,
}

impl Graphs {
    fn plans(&self, options: &PlanOptions) -> Result<Vec<(&Graph, Plan)>, Error> {
        plans(self.plain.iter().chain(&self.guided).chain(&self.other), options)
    }

    /// By [`Kind`], and the other one.
    fn ports(&self, plans: &[(&Graph, Plan)]) -> Result<[Option<Ports>; 3], Error> {
        let mut next = 0;
        let mut port = |graph: &Option<Graph>| {
            if graph.is_none() {
                return Ok(None);
            }
            let (plan, (_, made)) = (next, &plans[next]);
            next += 1;
            let slots = made.input(self.x).zip(made.input(self.t)).zip(made.output(self.out));
            let ((x, t), out) = slots.ok_or(ExecError::Weights)?;
            let features = made.output(SdUnet::FEATURES).or(made.input(SdUnet::FEATURES));
            Ok::<_, Error>(Some(Ports { plan, x, t, out, features }))
        };
        Ok([port(&self.plain)?, port(&self.guided)?, port(&self.other)?])
    }
}

/// Where a plan's inputs and output lie.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub plan: usize,
    pub x: Slot,
    pub t: Slot,
    pub out: Slot,
    /// Deep features that are made, or read.
    pub features: Option<Slot>,
}

/// Of [`Graphs::ports`], those of [`Graphs::other`].
const OTHER: usize = 2;

/// What a session asks of its engine.
pub(super) struct Sizes {
    /// Samples.
    pub batch: usize,
    /// Values of a sample.
    pub each: usize,
    /// Values of black and white, where samples are pictures: for a device, which makes bytes of them.
    #[cfg(feature = "gpu")]
    pub range: Option<[f32; 2]>,
    /// Whether runs rescale a guided answer.
    #[cfg(feature = "gpu")]
    pub rescales: bool,
    pub threads: usize,
    /// Bytes allowed in all.
    pub allowed: u64,
    /// Bytes of them that the session takes itself.
    pub reserved: u64,
    #[cfg(feature = "gpu")]
    pub device: crate::gpu::ExecOptions,
}

/// A request, checked.
#[derive(Clone)]
pub(super) struct RunSettings<'a> {
    /// Samples.
    pub n: usize,
    pub kind: Kind,
    pub guidance_scale: f32,
    /// Of models that change a picture.
    pub image_guidance_scale: f32,
    /// What is done to a guided answer: more than 0 as of [`crate::guidance::rescale`], less than 0 as of
    /// [`crate::guidance::normalize`].
    pub guidance_rescale: f32,
    /// Calls at which the picture's share is more than this are not guided.
    pub guidance_truncation: f32,
    /// Calls of which the first alone evaluates the whole network.
    pub cache_interval: usize,
    /// Skip-layer guidance, if there is any.
    pub skip: Option<Skip>,
    /// Copied by a run that is to outlive its request.
    pub calls: Cow<'a, [Call]>,
    pub first_timestep: u32,
    /// Calls of the run that this one goes on with, whose noise is drawn.
    pub first_draw: usize,
}

/// Skip-layer guidance: away from what the network answers without some of its blocks (Stable Diffusion 3.5).
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Skip {
    pub scale: f32,
    /// The steps at which there is any.
    pub steps: Range<usize>,
}

/// A step that was made.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StepInfo {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub total: usize,
    /// The noise level at which the network was asked (first, if it was more than once), as the network knows it; it may
    /// lie between two trained levels.
    pub timestep: f32,
}

/// A call of a run: which, and for what.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub settings: &'a RunSettings<'a>,
    /// Of the call, from 0.
    pub index: usize,
    pub inputs: &'a Inputs,
}

impl At<'_> {
    pub fn call(&self) -> &Call {
        &self.settings.calls[self.index]
    }

    pub fn next_call(&self) -> Option<&Call> {
        self.settings.calls.get(self.index + 1)
    }

    /// Which of [`Graphs::ports`] make it.
    pub fn ports(&self) -> usize {
        let reuses = !self.index.is_multiple_of(self.settings.cache_interval);
        if reuses || self.skip().is_some() { OTHER } else { self.settings.kind as usize }
    }

    /// Skip-layer guidance of this call.
    fn skip(&self) -> Option<&Skip> {
        self.settings.skip.as_ref().filter(|skip| skip.steps.contains(&self.info().index))
    }

    /// Strengths of guidance by the text, and where there are three answers of the second: `c`, `u` and the answer `k` of fewer
    /// blocks make `u + g (c - u) + s (c - k)`, which is [`crate::guidance::text_and_image`]'s of these scales.
    pub fn scales(&self) -> [f32; 2] {
        let RunSettings { guidance_scale, image_guidance_scale, .. } = *self.settings;
        if self.is_truncated() {
            return [1.0; 2];
        }
        match self.skip() {
            Some(Skip { scale, .. }) => [guidance_scale + scale, 1.0 + scale],
            None => [guidance_scale, image_guidance_scale],
        }
    }

    /// What is done to the guided answer ([`RunSettings::guidance_rescale`]).
    pub fn rescale(&self) -> f32 {
        if self.is_truncated() { 0.0 } else { self.settings.guidance_rescale }
    }

    /// Whether the answer is the conditional one.
    fn is_truncated(&self) -> bool {
        self.call().alpha > self.settings.guidance_truncation
    }

    /// The noise level, as the network knows it.
    pub fn timestep(&self) -> f32 {
        self.call().t + self.settings.first_timestep as f32
    }

    /// Whether the step is made with this call.
    pub fn ends_step(&self) -> bool {
        self.next_call().is_none_or(|next| next.step != self.call().step)
    }

    /// What is put back when this call is made.
    pub fn kept(&self) -> Option<&Kept> {
        self.inputs.kept.as_ref().filter(|_| self.ends_step())
    }

    /// What a caller hears of its step.
    pub fn info(&self) -> StepInfo {
        let calls = &self.settings.calls;
        let first = calls.iter().find(|call| call.step == self.call().step).unwrap_or(self.call());
        let timestep = first.t + self.settings.first_timestep as f32;
        StepInfo { index: self.call().step - calls[0].step, total: steps(calls), timestep }
    }

    /// An error, with the call's step where it is a NaN or an infinity.
    pub fn named(&self, e: Error) -> Error {
        if let Error::Exec(source @ ExecError::NotFinite { .. }) = e { self.lost(source) } else { e }
    }

    /// The error of a call that made a NaN or an infinity.
    pub fn lost(&self, source: ExecError) -> Error {
        let StepInfo { index, total, .. } = self.info();
        RequestError::NotFinite { step: index + 1, total, source }.into()
    }
}

/// Networks that work beside the one that draws.
#[derive(Default)]
pub(super) struct Beside {
    pub controls: Controls,
    pub guide: Option<Guide>,
}

impl Beside {
    /// Bytes of memory, weights not counted.
    pub fn bytes(&self) -> usize {
        self.controls.bytes() + self.guide.as_ref().map_or(0, Guide::bytes)
    }

    /// The classifier, if it is asked.
    fn guide(&mut self) -> Option<&mut Guide> {
        self.guide.as_mut().filter(|guide| guide.gamma != 0.0)
    }
}

/// Which values of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Values {
    /// The samples as they are (pictures, or latents), noisy until the last step.
    Sample,
    /// What the clean samples will be, as the network guessed at the last step.
    Estimate,
}

/// Memory and machinery of a session.
pub(super) enum Engine {
    Cpu(Box<CpuEngine>),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuEngine>),
    /// What a run without a session leaves: its samples, and the estimate.
    Done([Vec<f32>; 2]),
}

impl Engine {
    /// For these graphs of one network, on the CPU in `lent` memory, if there is any; `inputs` are as long as those of every
    /// run will be.
    pub fn new(
        weights: &Placed,
        graphs: &Graphs,
        inputs: &Inputs,
        sizes: &Sizes,
        lent: Option<&'static mut [f32]>,
    ) -> Result<Self, Error> {
        let _ = inputs;
        match weights {
            Placed::Cpu(weights) => CpuEngine::new(weights, graphs, sizes, lent).map(|e| Self::Cpu(Box::new(e))),
            #[cfg(feature = "gpu")]
            Placed::Gpu(_) if lent.is_some() => Err(RequestError::DeviceMemory.into()),
            #[cfg(feature = "gpu")]
            Placed::Gpu(weights) => GpuEngine::new(weights, graphs, inputs, sizes).map(|e| Self::Gpu(Box::new(e))),
        }
    }

    pub fn into_lent(self) -> Option<&'static mut [f32]> {
        match self {
            Self::Cpu(engine) => engine.into_lent(),
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => None,
            Self::Done(_) => None,
        }
    }

    pub fn plans(&self) -> &[Plan] {
        match self {
            Self::Cpu(engine) => engine.plans(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.plans(),
            Self::Done(_) => &[],
        }
    }

    /// Bytes of the machine's memory and the device's, weights not counted.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Cpu(engine) => engine.bytes(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.bytes(),
            Self::Done(values) => values.iter().map(|values| 4 * values.len()).sum(),
        }
    }

    /// Begins a run, without an estimate: `first` writes the first samples over zeros.
    pub fn start(&mut self, inputs: &Inputs, first: impl FnOnce(&mut [f32])) -> Result<(), Error> {
        // On the CPU inputs are read where they are.
        let _ = inputs;
        match self {
            Self::Cpu(engine) => engine.start(first),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.start(inputs, first)?,
            Self::Done(_) => {}
        }
        Ok(())
    }

    /// Where the next call's noise is put.
    pub fn noise(&mut self) -> &mut [f32] {
        match self {
            Self::Cpu(engine) => engine.noise(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.noise(),
            Self::Done(_) => &mut [],
        }
    }

    /// Makes a call, or (a device) submits it, when few others are under way.
    pub async fn step(&mut self, at: At<'_>, beside: &mut Beside) -> Result<(), Error> {
        match self {
            Self::Cpu(engine) => engine.step(at, beside).await,
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.step(at, beside).await,
            Self::Done(_) => Err(ExecError::Weights.into()),
        }
    }

    /// Brings `n` values to [`Self::values`]; the first call that went wrong on a device, if there was one.
    pub async fn read(&mut self, which: Values, n: usize) -> Result<Option<usize>, Error> {
        let _ = (which, n);
        match self {
            Self::Cpu(_) | Self::Done(_) => Ok(None),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.read(which, n).await,
        }
    }

    /// What was read.
    pub fn values(&self, which: Values, n: usize) -> &[f32] {
        match self {
            Self::Cpu(engine) => &engine.values(which)[..n],
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.host(n),
            Self::Done(values) => &values[which as usize][..n],
        }
    }

    /// Samples of pictures as bytes; the first call that went wrong on a device, if there was one.
    pub async fn write_u8(&mut self, range: [f32; 2], out: &mut [u8]) -> Result<Option<usize>, Error> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(engine) = self {
            return engine.write_u8(out).await;
        }
        crate::cpu::to_u8(range, self.values(Values::Sample, out.len()), out)?;
        Ok(None)
    }

    /// One evaluation of the network, unguided.
    pub async fn predict(&mut self, x: &[f32], timestep: f32, inputs: &Inputs) -> Result<&[f32], Error> {
        match self {
            Self::Cpu(engine) => engine.predict(x, timestep, inputs),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.predict(x, timestep, inputs).await,
            Self::Done(_) => Err(ExecError::Weights.into()),
        }
    }

    /// The memory of the CPU's executor, for another to use; it is to be given back before the next call.
    pub fn take_memory(&mut self) -> Memory {
        if let Self::Cpu(engine) = self { engine.exec.take_memory() } else { Memory::default() }
    }

    /// Memory of another executor, to be used from now on if it is larger.
    pub fn give_memory(&mut self, memory: Memory) {
        if let Self::Cpu(engine) = self {
            engine.exec.give_memory(memory);
        }
    }
}

#[cfg(feature = "gpu")]
impl Engine {
    /// Prepares guidance by a classifier.
    pub fn attach(&mut self, guide: &mut Guide) -> Result<(), Error> {
        if let Self::Gpu(engine) = self { engine.attach(guide) } else { Ok(()) }
    }

    /// The samples and the estimate on a device.
    pub fn buffers(&self) -> Option<[&wgpu::Buffer; 2]> {
        if let Self::Gpu(engine) = self { Some(engine.buffers()) } else { None }
    }

    /// What executes on a device.
    pub fn on_device(&self) -> Option<&crate::gpu::Executor> {
        if let Self::Gpu(engine) = self { Some(engine.exec()) } else { None }
    }

    /// Begins the run again, as [`Self::start`] did: for a device, on which what went wrong is found afterwards.
    pub fn restart(&mut self) -> Result<(), Error> {
        if let Self::Gpu(engine) = self { engine.restart() } else { Ok(()) }
    }

    /// The error of a call that went wrong, before which all others were made again.
    pub async fn trace(&mut self, at: At<'_>, beside: &mut Beside) -> Error {
        if let Self::Gpu(engine) = self { engine.trace(at, beside).await } else { at.lost(ExecError::Weights) }
    }
}
