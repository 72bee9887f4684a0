//! A session's calls on a device.

use super::guide::{Guide, the_classifiers};
use super::{At, Beside, Controls, Graphs, Inputs, Kept, Kind, OTHER, Sizes, Values};
use crate::Error;
use crate::gpu::{Beginning, ClassifierInput, DevicePorts, DeviceRun, Executor, RunShape, StepInput, Weights};
use crate::plan::{ExecError, MemoryLimit, Plan};
use crate::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

pub(in crate::model) struct GpuEngine {
    run: DeviceRun,
    ports: Vec<DevicePorts>,
    /// Of [`Graphs::ports`], which of them.
    of_kind: [Option<usize>; 3],
    /// The network's inputs on the host, for ControlNets.
    input: Vec<f32>,
    time: Vec<f32>,
    /// Values of a sample.
    each: usize,
}

impl GpuEngine {
    pub fn new(weights: &Arc<Weights>, graphs: &Graphs, inputs: &Inputs, sizes: &Sizes) -> Result<Self, Error> {
        let (gpu, options) = (weights.gpu(), sizes.device);
        let plans = graphs.plans(&gpu.plan_options(options.storage))?;
        let found = graphs.ports(&plans)?;
        let mut constants = vec![0; inputs.constants.len()];
        let mut ports = Vec::new();
        let mut of_kind = [None; 3];
        for (kind, p) in found.iter().enumerate().filter_map(|(kind, p)| Some((kind, (*p)?))) {
            let slots = inputs.constants().map(|(name, _)| plans[p.plan].1.input(name).ok_or(ExecError::Weights));
            let slots = slots.collect::<Result<Vec<_>, _>>()?;
            constants.iter_mut().zip(&slots).for_each(|(n, slot)| *n = slot.len().max(*n));
            of_kind[kind] = Some(ports.len());
            // The other one is of the kind that there is beside it.
            let guided = kind == Kind::Guided as usize || kind == OTHER && graphs.guided.is_some();
            let edits = guided && p.out.len() > 2 * sizes.batch * sizes.each;
            let features = p.features.map(|slot| (slot, kind == OTHER));
            ports.push(DevicePorts {
                plan: p.plan,
                x: p.x,
                t: p.t,
                answer: p.out,
                constants: slots,
                features,
                guided,
                edits,
            });
        }
        let shape = RunShape {
            batch: sizes.batch,
            each: sizes.each,
            channels: inputs.channels,
            beside: inputs.beside.len(),
            time: inputs.time.width(),
            range: sizes.range,
            constants,
            features: found.iter().flatten().find_map(|p| p.features).map_or(0, |slot| slot.len()),
            restores: inputs.kept.is_some(),
            rescales: sizes.rescales,
        };
        let reserved = sizes.reserved + shape.bytes() + shape.host_bytes();
        let limit = MemoryLimit { allowed: sizes.allowed, reserved };
        let exec = Executor::new(gpu, weights.clone(), plans, limit, &options)?;
        let run = DeviceRun::new(exec, ports.clone(), shape)?;
        Ok(Self { run, ports, of_kind, input: Vec::new(), time: Vec::new(), each: sizes.each })
    }

    pub fn plans(&self) -> &[Plan] {
        self.run.exec.plans()
    }

    pub fn bytes(&self) -> usize {
        (self.run.exec.bytes() + self.run.bytes()) as usize + 4 * (self.input.len() + self.time.len())
    }

    pub fn start(&mut self, inputs: &Inputs, first: impl FnOnce(&mut [f32])) -> Result<(), Error> {
        let kept = inputs.kept.as_ref().map(|Kept { latents, noise, mask }| [&latents[..], noise, mask]);
        let mut constants = inputs.constants().map(|(_, values)| values);
        let beginning = Beginning { ids: &inputs.ids, constants: &mut constants, beside: &inputs.beside, kept };
        Ok(self.run.start(beginning, first)?)
    }

    pub fn restart(&mut self) -> Result<(), Error> {
        Ok(self.run.restart()?)
    }

    pub fn noise(&mut self) -> &mut [f32] {
        self.run.noise()
    }

    pub async fn step(&mut self, at: At<'_>, beside: &mut Beside) -> Result<(), Error> {
        self.run.room().await?;
        self.control(&at, &mut beside.controls).await?;
        self.lead(&at, beside).await?;
        let input = self.input(&at, beside)?;
        Ok(self.run.step(&input)?)
    }

    /// Prepares guidance by a classifier.
    pub fn attach(&mut self, guide: &mut Guide) -> Result<(), Error> {
        Ok(self.run.attach(guide.session.on_device(self.run.exec.gpu()))?)
    }

    /// A classifier that is elsewhere is asked by the host, which brings its gradient to the device.
    async fn lead(&mut self, at: &At<'_>, beside: &mut Beside) -> Result<(), Error> {
        let Some(guide) = beside.guide() else { return Ok(()) };
        if guide.session.on_device(self.run.exec.gpu()).is_some() {
            return Ok(());
        }
        let (n, used) = (at.settings.n, at.settings.n * self.each);
        if self.run.read(false, used).await?.is_some() {
            // The run is lost already: whoever reads it is told by which call.
            return Ok(());
        }
        let gradient = guide.gradient(at.call(), &self.run.host()[..used], n).await?;
        Ok(self.run.write_gradient(gradient)?)
    }

    /// A ControlNet is asked by the host, which puts what it says into the U-Net's inputs.
    async fn control(&mut self, at: &At<'_>, controls: &mut Controls) -> Result<(), Error> {
        if controls.is_empty() {
            return Ok(());
        }
        let ports = &self.ports[self.of_kind[at.settings.kind as usize].ok_or(ExecError::Weights)?];
        let plan = &self.run.exec.plans()[ports.plan];
        let slots: Vec<_> = controls.residuals().filter_map(|(name, _)| plan.input(name)).collect();
        let [x, t] = [ports.x, ports.t].map(|slot| slot.len());
        let n = self.run.noise().len();
        if self.run.read(false, n).await?.is_some() {
            return Ok(());
        }
        self.input.resize(x, 0.0);
        self.time.resize(t, 0.0);
        at.inputs.write_sample(at.call(), self.run.host(), &mut self.input)?;
        at.inputs.time.write(at.timestep(), &mut self.time);
        controls.evaluate(&self.input, &self.time, at.inputs).await?;
        for ((_, values), slot) in controls.residuals().zip(slots) {
            self.run.exec.write(slot, values)?;
        }
        Ok(())
    }

    /// Brings values to [`Self::host`]; the first call that went wrong, if there was one.
    pub async fn read(&mut self, which: Values, n: usize) -> Result<Option<usize>, Error> {
        Ok(self.run.read(which == Values::Estimate, n).await?)
    }

    pub fn host(&self, n: usize) -> &[f32] {
        &self.run.host()[..n]
    }

    pub async fn write_u8(&mut self, out: &mut [u8]) -> Result<Option<usize>, Error> {
        Ok(self.run.write_u8(out).await?)
    }

    pub async fn predict(&mut self, x: &[f32], timestep: f32, inputs: &Inputs) -> Result<&[f32], Error> {
        inputs.time.write(timestep, &mut self.run.time_row);
        Ok(self.run.predict(x, &inputs.ids).await?)
    }

    /// The samples, and the estimate.
    pub fn buffers(&self) -> [&wgpu::Buffer; 2] {
        self.run.buffers()
    }

    pub fn exec(&self) -> &Executor {
        &self.run.exec
    }

    /// The error of a call, before which the others were made again.
    pub async fn trace(&mut self, at: At<'_>, beside: &mut Beside) -> Error {
        match self.traced(&at, beside).await {
            Err(Error::Exec(source)) => at.lost(source),
            Err(e) => e,
            Ok(()) => at.lost(ExecError::NotFinite {
                step: "guidance or sampler".into(),
                kind: "step",
                value: "a number out of range".into(),
                index: 0,
            }),
        }
    }

    async fn traced(&mut self, at: &At<'_>, beside: &mut Beside) -> Result<(), Error> {
        self.control(at, &mut beside.controls).await?;
        self.lead(at, beside).await?;
        let input = self.input(at, beside)?;
        self.run.trace(&input).await?;
        let Some(exec) = input.classifier.and_then(|classifier| classifier.exec) else { return Ok(()) };
        match self.run.feed_classifier(exec, &input)? {
            Some(plan) => exec.run_checked_async(plan).await.map_err(the_classifiers),
            None => Ok(()),
        }
    }

    /// A call's numbers, for the device.
    fn input<'a>(&mut self, at: &At<'a>, beside: &'a mut Beside) -> Result<StepInput<'a>, Error> {
        let (settings, [guidance_scale, image_guidance_scale]) = (at.settings, at.scales());
        at.inputs.time.write(at.timestep(), &mut self.run.time_row);
        let gpu = self.run.exec.gpu();
        let classifier = beside.guide().map(|guide| {
            let (weight, timestep) = (guide.gamma * guide.sigma(at.call()), guide.timestep(at.call()));
            let exec = guide.session.on_device(gpu).map(|(exec, _)| &*exec);
            ClassifierInput { weight, timestep, exec }
        });
        Ok(StepInput {
            ports: self.of_kind[at.ports()].ok_or(ExecError::Weights)?,
            index: at.index,
            guidance_scale,
            image_guidance_scale,
            guidance_rescale: at.rescale(),
            call: &settings.calls[at.index],
            n: settings.n,
            restore: at.kept().map(|_| Kept::level(at.next_call())),
            classifier,
        })
    }
}
