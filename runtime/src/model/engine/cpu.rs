//! A session's steps on the CPU.

use super::{At, Context, Executor, MemoryLimit, Ports, Sizes, Which, plans, ports};
use crate::Error;
use crate::cpu::exec::{ExecError, PLAN, Weights};
use crate::graph::Graph;
use crate::guidance::{self, GuidanceError};
use crate::plan::Plan;
use crate::rng::normal_fill;
use crate::sampler::{self, SamplerError};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// Everything that runs use; nothing is allocated afterwards.
pub(in crate::model) struct CpuEngine {
    exec: Executor,
    /// Of the plan for the batch, and of the one for twice the batch, if guidance was asked for.
    ports: Vec<Ports>,
    /// The pictures, between steps.
    x: Vec<f32>,
    /// The network's answer, guidance applied.
    eps: Vec<f32>,
    estimate: Vec<f32>,
    /// One picture's fresh noise.
    noise: Vec<f32>,
    range: [f32; 2],
}

impl CpuEngine {
    pub fn new(weights: &Arc<Weights>, graphs: &[Graph], sizes: &Sizes) -> Result<Self, Error> {
        let plans = plans(graphs, &PLAN)?;
        let ports = ports(&plans)?;
        let elements = sizes.batch * sizes.picture;
        let own = (3 * elements as u64 + sizes.picture as u64) * 4;
        let limit = MemoryLimit { allowed: sizes.allowed, reserved: sizes.reserved + own };
        Ok(Self {
            exec: Executor::new(Context::new(sizes.threads), weights.clone(), plans, limit)?,
            ports,
            x: vec![0.0; elements],
            eps: vec![0.0; elements],
            estimate: vec![0.0; elements],
            noise: vec![0.0; sizes.picture],
            range: sizes.range,
        })
    }

    pub fn plans(&self) -> &[Plan] {
        self.exec.plans()
    }

    pub fn bytes(&self) -> usize {
        let buffers = self.x.len() + self.eps.len() + self.estimate.len() + self.noise.len();
        self.exec.bytes() + buffers * 4
    }

    pub fn start(&mut self, seeds: &[u64]) {
        self.x.fill(0.0);
        self.estimate.fill(0.0);
        for (x, &seed) in self.x.chunks_exact_mut(self.noise.len()).zip(seeds) {
            normal_fill(seed, 0, x);
        }
    }

    pub fn step(&mut self, at: At<'_>) -> Result<(), Error> {
        self.fill(&at);
        self.exec.run(at.settings.plan, at.ids);
        self.guide(&at)?;
        let used = at.seeds.len() * self.noise.len();
        if !finite(&self.eps[..used]) {
            return Err(at.lost(self.trace(&at)));
        }
        self.update(&at)?;
        if !finite(&self.x[..used]) || !finite(&self.estimate[..used]) {
            return Err(at.lost(not_finite("sampler", "step", &self.x[..used])));
        }
        Ok(())
    }

    pub fn values(&self, which: Which) -> &[f32] {
        match which {
            Which::Pictures => &self.x,
            Which::Estimate => &self.estimate,
        }
    }

    pub fn write_u8(&self, out: &mut [u8]) -> Result<(), Error> {
        Ok(crate::cpu::to_u8(self.range, &self.x[..out.len()], out)?)
    }

    pub fn predict(&mut self, x: &[f32], timestep: u32, ids: &[Option<u32>]) -> &[f32] {
        let ports = self.ports[0];
        let input = self.exec.slot_mut(ports.x);
        input[..x.len()].copy_from_slice(x);
        input[x.len()..].fill(0.0);
        self.exec.slot_mut(ports.t).fill(timestep as f32);
        self.exec.run(0, ids);
        &self.exec.slot(ports.eps)[..x.len()]
    }

    /// Writes the network's inputs, which each execution overwrites.
    fn fill(&mut self, at: &At<'_>) {
        let Self { exec, ports, x, .. } = self;
        let ports = ports[at.settings.plan];
        exec.slot_mut(ports.x).chunks_exact_mut(x.len()).for_each(|half| half.copy_from_slice(x));
        exec.slot_mut(ports.t).fill(at.timestep as f32);
    }

    /// Takes the network's answer, guided if the run is.
    fn guide(&mut self, at: &At<'_>) -> Result<(), GuidanceError> {
        let Self { exec, ports, eps, .. } = self;
        let (answer, unconditional) = exec.slot(ports[at.settings.plan].eps).split_at(eps.len());
        if at.settings.plan == 0 {
            eps.copy_from_slice(answer);
            return Ok(());
        }
        eps.copy_from_slice(unconditional);
        guidance::classifier_free(at.settings.guidance_scale, answer, eps)
    }

    /// Executes the step's plan again, looking at each result, to find where a number was lost.
    fn trace(&mut self, at: &At<'_>) -> ExecError {
        self.fill(at);
        let found = self.exec.run_checked(at.settings.plan, at.ids);
        found.err().unwrap_or_else(|| not_finite("guidance", "classifier_free", &self.eps))
    }

    /// One level on, each picture with its own noise.
    fn update(&mut self, at: &At<'_>) -> Result<(), SamplerError> {
        let Self { x, eps, estimate, noise, .. } = self;
        let (c, picture) = (at.coefficients(), noise.len());
        let pictures =
            x.chunks_exact_mut(picture).zip(eps.chunks_exact(picture)).zip(estimate.chunks_exact_mut(picture));
        for (((x, eps), x0), &seed) in pictures.zip(at.seeds) {
            let mut fresh: &[f32] = &[];
            if c.sigma != 0.0 {
                // Draw 0 is the initial noise.
                normal_fill(seed, at.index as u32 + 1, noise);
                fresh = noise;
            }
            sampler::step(c, x, eps, fresh, x0)?;
        }
        Ok(())
    }
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}

fn not_finite(step: &str, kind: &'static str, values: &[f32]) -> ExecError {
    let index = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
    ExecError::NotFinite { step: step.into(), kind, value: alloc::format!("{}", values[index]), index }
}
