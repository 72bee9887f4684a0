//! A session's steps on the CPU.

use super::{At, Context, Executor, MemoryLimit, Ports, Sizes, Which, plans, ports};
use crate::Error;
use crate::cpu::exec::{ExecError, PLAN, Weights};
use crate::graph::Graph;
use crate::guidance::{self, GuidanceError};
use crate::plan::Plan;
use crate::rng::normal_fill_each;
use crate::sampler::{SamplerError, SamplerState};
use crate::sync::Arc;
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
    /// Fresh noise.
    noise: Vec<f32>,
    state: SamplerState,
    picture: usize,
    range: [f32; 2],
}

impl CpuEngine {
    pub fn new(
        weights: &Arc<Weights>,
        graphs: &[Graph],
        sizes: &Sizes,
        lent: Option<&'static mut [f32]>,
    ) -> Result<Self, Error> {
        let plans = plans(graphs, &PLAN)?;
        let ports = ports(&plans)?;
        let elements = sizes.batch * sizes.picture;
        let state = SamplerState::for_any(elements);
        let own = 3 * elements as u64 * 4 + state.bytes() as u64;
        let limit = MemoryLimit { allowed: sizes.allowed, reserved: sizes.reserved + own };
        Ok(Self {
            exec: Executor::new_in(Context::new(sizes.threads), weights.clone(), plans, limit, lent)?,
            ports,
            x: vec![0.0; elements],
            eps: vec![0.0; elements],
            noise: vec![0.0; elements],
            state,
            picture: sizes.picture,
            range: sizes.range,
        })
    }

    pub fn into_lent(self) -> Option<&'static mut [f32]> {
        self.exec.into_lent()
    }

    pub fn plans(&self) -> &[Plan] {
        self.exec.plans()
    }

    pub fn bytes(&self) -> usize {
        let buffers = self.x.len() + self.eps.len() + self.noise.len();
        self.exec.bytes() + buffers * 4 + self.state.bytes()
    }

    pub fn start(&mut self, sigma: f32, seeds: &[u64]) {
        self.x.fill(0.0);
        self.noise.fill(0.0);
        self.state.clear();
        normal_fill_each(seeds, 0, self.picture, &mut self.x);
        self.x.iter_mut().for_each(|x| *x *= sigma);
    }

    pub fn step(&mut self, at: At<'_>) -> Result<(), Error> {
        self.fill(&at)?;
        self.exec.run(at.settings.plan, at.ids);
        self.guide(&at)?;
        let used = at.seeds.len() * self.picture;
        if !finite(&self.eps[..used]) {
            return Err(at.lost(self.trace(&at)?));
        }
        self.update(&at)?;
        if !finite(&self.x[..used]) || !finite(&self.state.x0()[..used]) {
            return Err(at.lost(not_finite("sampler", "step", &self.x[..used])));
        }
        Ok(())
    }

    pub fn values(&self, which: Which) -> &[f32] {
        match which {
            Which::Pictures => &self.x,
            Which::Estimate => self.state.x0(),
        }
    }

    pub fn write_u8(&self, out: &mut [u8]) -> Result<(), Error> {
        Ok(crate::cpu::to_u8(self.range, &self.x[..out.len()], out)?)
    }

    pub fn predict(&mut self, x: &[f32], timestep: f32, ids: &[Option<u32>]) -> &[f32] {
        let ports = self.ports[0];
        let input = self.exec.slot_mut(ports.x);
        input[..x.len()].copy_from_slice(x);
        input[x.len()..].fill(0.0);
        self.exec.slot_mut(ports.t).fill(timestep);
        self.exec.run(0, ids);
        &self.exec.slot(ports.eps)[..x.len()]
    }

    /// Writes the network's inputs, which each execution overwrites.
    fn fill(&mut self, at: &At<'_>) -> Result<(), SamplerError> {
        let Self { exec, ports, x, .. } = self;
        let ports = ports[at.settings.plan];
        for half in exec.slot_mut(ports.x).chunks_exact_mut(x.len()) {
            at.call().scale_input(x, half)?;
        }
        exec.slot_mut(ports.t).fill(at.timestep());
        Ok(())
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
    fn trace(&mut self, at: &At<'_>) -> Result<ExecError, SamplerError> {
        self.fill(at)?;
        let found = self.exec.run_checked(at.settings.plan, at.ids);
        Ok(found.err().unwrap_or_else(|| not_finite("guidance", "classifier_free", &self.eps)))
    }

    /// One call on, each picture with its own noise.
    fn update(&mut self, at: &At<'_>) -> Result<(), SamplerError> {
        let Self { x, eps, noise, state, .. } = self;
        let call = at.call();
        if call.noise != 0.0 {
            // Draw 0 is the initial noise.
            normal_fill_each(at.seeds, at.index as u32 + 1, self.picture, noise);
        }
        state.accept(call, x, eps, noise)
    }
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}

fn not_finite(step: &str, kind: &'static str, values: &[f32]) -> ExecError {
    let index = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
    ExecError::NotFinite { step: step.into(), kind, value: alloc::format!("{}", values[index]), index }
}
