//! A session's steps on a device.

use super::{At, Sizes, Which, plans, ports};
use crate::Error;
use crate::cpu::exec::ExecError;
use crate::gpu::{DevicePorts, DeviceRun, Executor, GpuError, StepInput, Values, Weights};
use crate::graph::Graph;
use crate::plan::{MemoryLimit, Plan};
use crate::sync::Arc;
use alloc::vec::Vec;

pub(in crate::model) struct GpuEngine {
    run: DeviceRun,
    ports: Vec<DevicePorts>,
}

impl GpuEngine {
    pub fn new(weights: &Arc<Weights>, graphs: &[Graph], sizes: &Sizes) -> Result<Self, Error> {
        let (gpu, options) = (weights.gpu(), sizes.device);
        let plans = plans(graphs, &gpu.plan_options(options.storage))?;
        let ports: Vec<DevicePorts> =
            ports(&plans)?.into_iter().map(|p| DevicePorts { x: p.x, t: p.t, answer: p.eps }).collect();
        let elements = sizes.batch * sizes.picture;
        let own = DeviceRun::bytes_for(elements) + 8 * elements as u64;
        let limit = MemoryLimit { allowed: sizes.allowed, reserved: sizes.reserved + own };
        let exec = Executor::new(gpu, weights.clone(), plans, limit, &options)?;
        let run = DeviceRun::new(exec, &ports, sizes.batch, sizes.picture, sizes.range)?;
        Ok(Self { run, ports })
    }

    pub fn plans(&self) -> &[Plan] {
        self.run.exec.plans()
    }

    pub fn bytes(&self) -> usize {
        let elements = self.run.host_bytes() / 8;
        (self.run.exec.bytes() + DeviceRun::bytes_for(elements)) as usize + self.run.host_bytes()
    }

    pub fn start(&mut self, sigma: f32, seeds: &[u64], ids: &[Option<u32>]) -> Result<(), Error> {
        Ok(self.run.start(sigma, seeds, ids)?)
    }

    /// Waits until another step may be submitted.
    pub async fn room(&mut self) -> Result<(), Error> {
        Ok(self.run.room().await?)
    }

    pub fn step(&mut self, at: At<'_>) -> Result<(), Error> {
        Ok(self.run.step(&input(&at))?)
    }

    pub async fn values(&mut self, which: Which, n: usize, last: Option<At<'_>>) -> Result<&[f32], Error> {
        let which = match which {
            Which::Pictures => Values::Pictures,
            Which::Estimate => Values::Estimate,
        };
        let bad = self.run.read(which, n).await?;
        self.report(bad, last).await?;
        Ok(&self.run.host()[..n])
    }

    pub async fn write_u8(&mut self, out: &mut [u8], last: Option<At<'_>>) -> Result<(), Error> {
        let bad = self.run.write_u8(out).await?;
        self.report(bad, last).await
    }

    pub async fn predict(&mut self, x: &[f32], timestep: f32, ids: &[Option<u32>]) -> Result<&[f32], Error> {
        Ok(self.run.predict(&self.ports[0], x, timestep, ids).await?)
    }

    pub fn buffer(&self, which: Values) -> &wgpu::Buffer {
        self.run.buffer(which)
    }

    pub fn draw_into(&self, which: Values, picture: [usize; 4], view: &wgpu::TextureView) -> Result<(), GpuError> {
        self.run.draw_into(which, picture, view)
    }

    /// Makes the run again up to the call that went wrong, to name the operation.
    async fn report(&mut self, bad: Option<usize>, last: Option<At<'_>>) -> Result<(), Error> {
        let (Some(bad), Some(last)) = (bad, last) else { return Ok(()) };
        let at = |index: usize| At { index, ..last };
        self.run.start(last.settings.init_noise_sigma, last.seeds, last.ids)?;
        for index in 0..bad {
            self.run.room().await?;
            self.run.step(&input(&at(index)))?;
        }
        match self.run.trace(&input(&at(bad))).await {
            Err(Error::Exec(source)) => Err(at(bad).lost(source)),
            Err(e) => Err(e),
            Ok(()) => Err(at(bad).lost(ExecError::NotFinite {
                step: "guidance or sampler".into(),
                kind: "step",
                value: "a number out of range".into(),
                index: 0,
            })),
        }
    }
}

fn input<'a>(at: &'a At<'_>) -> StepInput<'a> {
    StepInput {
        plan: at.settings.plan,
        index: at.index,
        timestep: at.timestep(),
        guidance_scale: at.settings.guidance_scale,
        call: at.call(),
        seeds: at.seeds,
    }
}
