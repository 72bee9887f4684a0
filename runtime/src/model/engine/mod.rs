//! What runs a session's steps: the CPU, or a device.

mod cpu;
#[cfg(feature = "gpu")]
mod gpu;

use super::RequestError;
use super::run::{Settings, StepInfo};
use crate::Error;
use crate::cpu::Context;
use crate::cpu::exec::{ExecError, Executor, Weights};
use crate::graph::Graph;
use crate::nn::BookUnet;
use crate::plan::{MemoryLimit, Plan, PlanOptions, Slot};
use crate::sampler::{Call, steps};
use crate::sync::Arc;
use alloc::boxed::Box;
use alloc::vec::Vec;

pub(super) use cpu::CpuEngine;
#[cfg(feature = "gpu")]
pub(super) use gpu::GpuEngine;

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

/// Where a plan's inputs and output lie.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub x: Slot,
    pub t: Slot,
    pub eps: Slot,
}

/// What a session asks of its engine.
pub(super) struct Sizes {
    /// Pictures.
    pub batch: usize,
    /// Values of a picture.
    pub picture: usize,
    /// Values of black and white.
    pub range: [f32; 2],
    pub threads: usize,
    /// Bytes allowed in all.
    pub allowed: u64,
    /// Bytes of them that the session takes itself.
    pub reserved: u64,
    #[cfg(feature = "gpu")]
    pub device: crate::gpu::ExecOptions,
}

/// A call of a run: which, and for what.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub settings: &'a Settings<'a>,
    /// Of the call, from 0.
    pub index: usize,
    pub seeds: &'a [u64],
    pub ids: &'a [Option<u32>],
}

impl At<'_> {
    pub fn call(&self) -> &Call {
        &self.settings.calls[self.index]
    }

    /// The noise level, as the network knows it.
    pub fn timestep(&self) -> f32 {
        self.call().t + self.settings.first_timestep as f32
    }

    /// Whether the step is made with this call.
    pub fn ends_step(&self) -> bool {
        self.settings.calls.get(self.index + 1).is_none_or(|next| next.step != self.call().step)
    }

    /// What a caller hears of its step.
    pub fn info(&self) -> StepInfo {
        let calls = self.settings.calls;
        StepInfo { index: self.call().step - calls[0].step, total: steps(calls), timestep: self.timestep() }
    }

    /// The error of a call that made a NaN or an infinity.
    pub fn lost(&self, source: ExecError) -> Error {
        let StepInfo { index, total, .. } = self.info();
        RequestError::NotFinite { step: index + 1, total, source }.into()
    }
}

/// Which values of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Pictures,
    Estimate,
}

/// Memory and machinery of a session.
pub(super) enum Engine {
    Cpu(Box<CpuEngine>),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuEngine>),
}

impl Engine {
    /// For these batch sizes of one network; on the CPU in `lent` memory, if there is any.
    pub fn new(
        weights: &Placed,
        graphs: &[Graph],
        sizes: &Sizes,
        lent: Option<&'static mut [f32]>,
    ) -> Result<Self, Error> {
        match weights {
            Placed::Cpu(weights) => CpuEngine::new(weights, graphs, sizes, lent).map(|e| Self::Cpu(Box::new(e))),
            #[cfg(feature = "gpu")]
            Placed::Gpu(_) if lent.is_some() => Err(RequestError::DeviceMemory.into()),
            #[cfg(feature = "gpu")]
            Placed::Gpu(weights) => GpuEngine::new(weights, graphs, sizes).map(|e| Self::Gpu(Box::new(e))),
        }
    }

    pub fn into_lent(self) -> Option<&'static mut [f32]> {
        match self {
            Self::Cpu(engine) => engine.into_lent(),
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => None,
        }
    }

    pub fn plans(&self) -> &[Plan] {
        match self {
            Self::Cpu(engine) => engine.plans(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.plans(),
        }
    }

    /// Bytes of the machine's memory and the device's, weights not counted.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Cpu(engine) => engine.bytes(),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.bytes(),
        }
    }

    /// Begins a run: initial noise of this size, no estimate.
    pub fn start(&mut self, sigma: f32, seeds: &[u64], ids: &[Option<u32>]) -> Result<(), Error> {
        match self {
            Self::Cpu(engine) => engine.start(sigma, seeds),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => return engine.start(sigma, seeds, ids),
        }
        let _ = ids;
        Ok(())
    }

    /// Makes a call, or (a device) submits it, when few others are under way.
    pub async fn step(&mut self, at: At<'_>) -> Result<(), Error> {
        match self {
            Self::Cpu(engine) => engine.step(at),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => {
                engine.room().await?;
                engine.step(at)
            }
        }
    }

    /// The first `n` values; `last` is the call made last.
    pub async fn values(&mut self, which: Which, n: usize, last: Option<At<'_>>) -> Result<&[f32], Error> {
        let _ = last;
        match self {
            Self::Cpu(engine) => Ok(&engine.values(which)[..n]),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.values(which, n, last).await,
        }
    }

    /// The pictures as bytes.
    pub async fn write_u8(&mut self, out: &mut [u8], last: Option<At<'_>>) -> Result<(), Error> {
        let _ = last;
        match self {
            Self::Cpu(engine) => engine.write_u8(out),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.write_u8(out, last).await,
        }
    }

    /// One evaluation of the network, plan 0.
    pub async fn predict(&mut self, x: &[f32], timestep: f32, ids: &[Option<u32>]) -> Result<&[f32], Error> {
        match self {
            Self::Cpu(engine) => Ok(engine.predict(x, timestep, ids)),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.predict(x, timestep, ids).await,
        }
    }
}

fn ports(plans: &[(&Graph, Plan)]) -> Result<Vec<Ports>, Error> {
    let ports = |plan: &Plan| {
        let x = plan.input(BookUnet::PICTURE)?;
        Some(Ports { x, t: plan.input(BookUnet::TIME)?, eps: plan.output(BookUnet::PICTURE)? })
    };
    let all: Option<Vec<Ports>> = plans.iter().map(|(_, plan)| ports(plan)).collect();
    Ok(all.ok_or(ExecError::Weights)?)
}

/// The limit is the session's: the executor adds up what it and the buffers take.
pub(super) fn plans<'a>(graphs: &'a [Graph], options: &PlanOptions) -> Result<Vec<(&'a Graph, Plan)>, Error> {
    Ok(graphs.iter().map(|graph| Plan::new(graph, options).map(|plan| (graph, plan))).collect::<Result<_, _>>()?)
}
