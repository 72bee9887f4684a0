//! A session's calls on the CPU.

use super::{At, Beside, Context, Controls, Executor, Graphs, Inputs, Kind, MemoryLimit, OTHER, Ports, Sizes, Values};
use crate::Error;
use crate::cpu::exec::{PLAN, Weights};
use crate::guidance;
use crate::plan::{ExecError, Plan};
use crate::sampler::SamplerState;
use crate::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// Everything that runs use; nothing is allocated afterwards.
pub(in crate::model) struct CpuEngine {
    pub(super) exec: Executor,
    /// As [`Graphs::ports`].
    ports: [Option<Ports>; 3],
    /// Deep features of the last call that made them.
    features: Vec<f32>,
    /// The samples, between calls.
    x: Vec<f32>,
    /// The network's answer, guidance applied.
    answer: Vec<f32>,
    /// Fresh noise.
    noise: Vec<f32>,
    state: SamplerState,
    each: usize,
}

impl CpuEngine {
    pub fn new(
        weights: &Arc<Weights>,
        graphs: &Graphs,
        sizes: &Sizes,
        lent: Option<&'static mut [f32]>,
    ) -> Result<Self, Error> {
        let plans = graphs.plans(&PLAN)?;
        let ports = graphs.ports(&plans)?;
        let elements = sizes.batch * sizes.each;
        let state = SamplerState::for_any(elements);
        let features = ports.iter().flatten().find_map(|ports| ports.features).map_or(0, |slot| slot.len());
        let own = (3 * elements + features) as u64 * 4 + state.bytes() as u64;
        let limit = MemoryLimit { allowed: sizes.allowed, reserved: sizes.reserved + own };
        Ok(Self {
            exec: Executor::new_in(Context::new(sizes.threads), weights.clone(), plans, limit, lent)?,
            ports,
            features: vec![0.0; features],
            x: vec![0.0; elements],
            answer: vec![0.0; elements],
            noise: vec![0.0; elements],
            state,
            each: sizes.each,
        })
    }

    pub fn into_lent(self) -> Option<&'static mut [f32]> {
        self.exec.into_lent()
    }

    pub fn plans(&self) -> &[Plan] {
        self.exec.plans()
    }

    pub fn bytes(&self) -> usize {
        let buffers = self.x.len() + self.answer.len() + self.noise.len() + self.features.len();
        self.exec.bytes() + buffers * 4 + self.state.bytes()
    }

    pub fn start(&mut self, first: impl FnOnce(&mut [f32])) {
        self.x.fill(0.0);
        self.noise.fill(0.0);
        self.state.clear();
        first(&mut self.x);
    }

    pub fn noise(&mut self) -> &mut [f32] {
        &mut self.noise
    }

    pub async fn step(&mut self, at: At<'_>, beside: &mut Beside) -> Result<(), Error> {
        let ports = self.ports(at.ports())?;
        self.fill(&at, ports, &mut beside.controls).await?;
        self.exec.run(ports.plan, &at.inputs.ids);
        if let Some(made) = ports.features.filter(|_| at.ports() != OTHER) {
            self.features.copy_from_slice(self.exec.slot(made));
        }
        self.guide(&at, ports)?;
        let used = at.settings.n * self.each;
        if !finite(&self.answer[..used]) {
            return Err(at.lost(self.trace(&at, ports, &mut beside.controls).await?));
        }
        let Self { x, answer, noise, state, .. } = self;
        if let Some(guide) = beside.guide() {
            guide.lead(at.call(), &x[..used], at.settings.n, &mut answer[..used]).await?;
            if !finite(&answer[..used]) {
                return Err(at.lost(not_finite("the guidance", "classifier", &answer[..used])));
            }
        }
        state.accept(at.call(), x, answer, noise)?;
        if let Some(kept) = at.kept() {
            kept.restore(x, at.next_call());
        }
        if !finite(&x[..used]) || !finite(&state.x0()[..used]) {
            return Err(at.lost(not_finite("sampler", "step", &x[..used])));
        }
        Ok(())
    }

    pub fn values(&self, which: Values) -> &[f32] {
        match which {
            Values::Sample => &self.x,
            Values::Estimate => self.state.x0(),
        }
    }

    pub fn predict(&mut self, x: &[f32], timestep: f32, inputs: &Inputs) -> Result<&[f32], Error> {
        let ports = self.ports(Kind::Plain as usize)?;
        let input = self.exec.slot_mut(ports.x);
        input[..x.len()].copy_from_slice(x);
        input[x.len()..].fill(0.0);
        inputs.time.write(timestep, self.exec.slot_mut(ports.t));
        self.exec.run(ports.plan, &inputs.ids);
        Ok(&self.exec.slot(ports.out)[..x.len()])
    }

    fn ports(&self, of: usize) -> Result<Ports, ExecError> {
        self.ports[of].ok_or(ExecError::Weights)
    }

    /// Writes the network's inputs, which each execution overwrites.
    async fn fill(&mut self, at: &At<'_>, ports: Ports, controls: &mut Controls) -> Result<(), Error> {
        let Self { exec, x, features, .. } = self;
        at.inputs.write_sample(at.call(), x, exec.slot_mut(ports.x))?;
        at.inputs.time.write(at.timestep(), exec.slot_mut(ports.t));
        if !controls.is_empty() {
            controls.evaluate(exec.slot(ports.x), exec.slot(ports.t), at.inputs).await?;
        }
        for (name, values) in at.inputs.constants() {
            write(exec, ports.plan, name, values);
        }
        if let Some(read) = ports.features.filter(|_| at.ports() == OTHER) {
            exec.slot_mut(read).copy_from_slice(features);
        }
        for (name, values) in controls.residuals() {
            write(exec, ports.plan, name, values);
        }
        Ok(())
    }

    /// Takes the network's answer, guided if the run is.
    fn guide(&mut self, at: &At<'_>, ports: Ports) -> Result<(), Error> {
        let Self { exec, answer, each, .. } = self;
        let (conditional, others) = exec.slot(ports.out).split_at(answer.len());
        if at.settings.kind == Kind::Plain {
            answer.copy_from_slice(conditional);
            return Ok(());
        }
        let (image, unconditional) = others.split_at(others.len() - answer.len());
        answer.copy_from_slice(unconditional);
        let [scale, second] = at.scales();
        match image.is_empty() {
            true => guidance::classifier_free(scale, conditional, answer)?,
            false => {
                guidance::text_and_image(scale, second, [conditional, image], answer)?;
            }
        }
        let pictures = conditional.chunks_exact(*each).zip(answer.chunks_exact_mut(*each));
        match at.rescale() {
            0.0 => {}
            share if share > 0.0 => {
                pictures.into_iter().try_for_each(|(c, guided)| guidance::rescale(share, c, guided))?
            }
            limit => pictures.into_iter().try_for_each(|(c, guided)| guidance::normalize(-limit, c, guided))?,
        }
        Ok(())
    }

    /// Executes the call's plan again, looking at each result, to find where a number was lost.
    async fn trace(&mut self, at: &At<'_>, ports: Ports, controls: &mut Controls) -> Result<ExecError, Error> {
        self.fill(at, ports, controls).await?;
        let found = self.exec.run_checked(ports.plan, &at.inputs.ids);
        Ok(found.err().unwrap_or_else(|| not_finite("guidance", "classifier_free", &self.answer)))
    }
}

fn write(exec: &mut Executor, plan: usize, name: &str, values: &[f32]) {
    if let Some(slot) = exec.plans()[plan].input(name) {
        // Of skip-layer guidance the texts are three, but not at all calls.
        let used = values.len().min(slot.len());
        let (used, rest) = exec.slot_mut(slot).split_at_mut(used);
        used.copy_from_slice(&values[..used.len()]);
        rest.fill(0.0);
    }
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}

fn not_finite(step: &str, kind: &'static str, values: &[f32]) -> ExecError {
    let index = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
    ExecError::NotFinite { step: step.into(), kind, value: alloc::format!("{}", values[index]), index }
}
