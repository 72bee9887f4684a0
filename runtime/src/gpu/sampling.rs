//! Runs on a device: pictures, guidance and the sampler's arithmetic stay there; only what is asked for is read back.

use super::exec::{Executor, Ready};
use super::lower::{Dispatch, Operand, Param, flat};
use super::waiting::Submitted;
use super::{Gpu, GpuError, trusted};
use crate::Error;
use crate::plan::Slot;
use crate::rng::normal_fill_each;
use crate::sampler::{Call, Mix, SLOTS};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use nijimi_shaders::{Flag, Kernel, Shader, table};
use wgpu::BufferUsages;

/// Calls that may be under way at once: the device works on one while the next is recorded, and a run that is dropped
/// stops soon.
const IN_FLIGHT: usize = 2;
/// What [`DeviceRun::first_bad`] holds while all numbers are some.
const NONE_BAD: u32 = u32::MAX;

/// Where a plan's inputs and output lie.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub x: Slot,
    pub t: Slot,
    pub answer: Slot,
}

/// One call's own numbers.
#[derive(Clone, Copy)]
pub(crate) struct StepInput<'a> {
    pub plan: usize,
    pub index: usize,
    pub timestep: f32,
    pub guidance_scale: f32,
    pub call: &'a Call,
    /// One a picture.
    pub seeds: &'a [u64],
}

/// Which values of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Values {
    /// The pictures as they are, noisy until the last step.
    Pictures,
    /// The network's latest guess at the clean pictures.
    Estimate,
}

/// Everything on the device that runs use beside the executor's memory.
pub(crate) struct DeviceRun {
    pub exec: Executor,
    picture: usize,
    range: [f32; 2],
    x: wgpu::Buffer,
    estimate: wgpu::Buffer,
    noise: wgpu::Buffer,
    first_bad: wgpu::Buffer,
    bytes: wgpu::Buffer,
    step: wgpu::Buffer,
    call: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// By plan.
    feed: Vec<Ready>,
    guidance: Vec<Ready>,
    /// Without noise, with noise.
    accept: Vec<Ready>,
    to_u8: Ready,
    submitted: VecDeque<Submitted>,
    fresh: Vec<f32>,
    /// The values last read.
    host: Vec<f32>,
}

impl DeviceRun {
    /// Bytes of device memory for a batch, beside the executor's.
    pub fn bytes_for(elements: usize) -> u64 {
        // Sample, answer, estimate, noise, what solvers keep, and what is read back; bytes of pictures.
        elements as u64 * ((5 + SLOTS as u64 + 1) * 4 + 1) + 1024
    }

    /// For batches of `batch` pictures of `picture` values in `range`.
    pub fn new(
        mut exec: Executor,
        ports: &[Ports],
        batch: usize,
        picture: usize,
        range: [f32; 2],
    ) -> Result<Self, GpuError> {
        let gpu = exec.gpu().clone();
        let elements = batch * picture;
        let memory = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let values = |what| gpu.buffer(what, elements as u64 * 4, memory);
        let (x, eps, estimate, noise) =
            (values("pictures")?, values("epsilon")?, values("estimate")?, values("noise")?);
        let history = gpu.buffer("a solver's history", (SLOTS as u64 + 1) * elements as u64 * 4, memory)?;
        let first_bad = gpu.buffer("the first call that went wrong", 4, memory)?;
        let bytes = gpu.buffer("bytes", elements as u64, memory)?;
        let numbers = |what, words| gpu.buffer(what, words * 4, BufferUsages::UNIFORM | BufferUsages::COPY_DST);
        let (step, call) = (numbers("a step's numbers", STEP)?, numbers("a call's numbers", CALL)?);
        let staging =
            gpu.buffer("staging", elements as u64 * 4 + 4, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;

        let variants = exec.variants();
        let grid = flat(variants.machine.class, elements);
        let own = |shader, operands| own(&step, grid, shader, operands);
        let feed = ports.iter().map(|ports| {
            let operands =
                vec![("x", Operand::Buffer(&x)), ("input", Operand::Slot(ports.x)), ("t", Operand::Slot(ports.t))];
            own(variants.flat(Kernel::Feed), operands)
        });
        let guidance = ports.iter().enumerate().map(|(i, ports)| {
            let operands = vec![("answer", Operand::Slot(ports.answer)), ("eps", Operand::Buffer(&eps))];
            own(variants.flat(Kernel::Guidance).flag(Flag::Guided, i == 1), operands)
        });
        let accept = [false, true].into_iter().map(|noisy| {
            let mut operands = vec![
                ("x", Operand::Buffer(&x)),
                ("eps", Operand::Buffer(&eps)),
                ("estimate", Operand::Buffer(&estimate)),
                ("history", Operand::Buffer(&history)),
                ("first_bad", Operand::Buffer(&first_bad)),
                ("c", Operand::Buffer(&call)),
            ];
            operands.extend(noisy.then_some(("noise", Operand::Buffer(&noise))));
            let shader = Shader::new(Kernel::SamplerAccept).constant("WX", variants.flat_width());
            own(shader.flag(Flag::Noise, noisy), operands)
        });
        let [low, high] = range;
        let to_u8 = Dispatch {
            shader: Shader::new(Kernel::ToU8).constant("WX", variants.flat_width()),
            operands: vec![("x", Operand::Buffer(&x)), ("y", Operand::Buffer(&bytes))],
            params: vec![("n", Param::U(elements)), ("low", Param::F(low)), ("scale", Param::F(255.0 / (high - low)))],
            grid: flat(variants.machine.class, elements.div_ceil(4)),
        };
        // All at once, so that their pipelines are made side by side.
        let all: Vec<Dispatch<'_>> = feed.chain(guidance).chain(accept).chain([to_u8]).collect();
        let mut feed = exec.prepare(&all)?;
        let mut guidance = feed.split_off(ports.len());
        let mut accept = guidance.split_off(ports.len());
        let to_u8 = accept.remove(2);
        let (fresh, host) = (vec![0.0; elements], vec![0.0; elements]);
        let submitted = VecDeque::with_capacity(IN_FLIGHT + 1);
        let run = Self {
            exec,
            picture,
            range,
            x,
            estimate,
            noise,
            first_bad,
            bytes,
            step,
            call,
            staging,
            feed,
            guidance,
            accept,
            to_u8,
            submitted,
            fresh,
            host,
        };
        Ok(run)
    }

    fn gpu(&self) -> &Gpu {
        self.exec.gpu()
    }

    /// Bytes of host memory.
    pub fn host_bytes(&self) -> usize {
        (self.fresh.len() + self.host.len()) * 4
    }

    /// Draws the initial noise of this size, one seed a picture, and sets the ids.
    pub fn start(&mut self, sigma: f32, seeds: &[u64], ids: &[Option<u32>]) -> Result<(), GpuError> {
        self.submitted.clear();
        self.exec.set_ids(ids)?;
        self.fresh.fill(0.0);
        normal_fill_each(seeds, 0, self.picture, &mut self.fresh);
        self.fresh.iter_mut().for_each(|x| *x *= sigma);
        let Self { x, estimate, first_bad, fresh, host, .. } = self;
        host.fill(0.0);
        let queue = self.exec.gpu().queue();
        self.exec.gpu().scoped("the initial noise", 0, || {
            queue.write_buffer(x, 0, trusted::bytes(fresh));
            queue.write_buffer(estimate, 0, trusted::bytes(host));
            queue.write_buffer(first_bad, 0, trusted::bytes(&[NONE_BAD]));
        })
    }

    /// Waits until less than [`IN_FLIGHT`] steps are under way.
    pub async fn room(&mut self) -> Result<(), GpuError> {
        while self.submitted.len() >= IN_FLIGHT
            && let Some(oldest) = self.submitted.pop_front()
        {
            oldest.done(self.gpu()).await?;
        }
        Ok(())
    }

    /// Submits one call: the network, guidance, the solver's part. It does not look whether there is [`Self::room`].
    pub fn step(&mut self, s: &StepInput<'_>) -> Result<(), GpuError> {
        let noisy = s.call.noise != 0.0;
        if noisy {
            // Draw 0 is the initial noise.
            normal_fill_each(s.seeds, s.index as u32 + 1, self.picture, &mut self.fresh);
        }
        self.write_step(s, noisy)?;
        let submission = self.exec.submit("a step", |pass| {
            self.feed[s.plan].record(pass);
            self.exec.record(s.plan, pass);
            self.guidance[s.plan].record(pass);
            self.accept[usize::from(noisy)].record(pass);
        })?;
        if self.submitted.len() >= IN_FLIGHT {
            // Nobody waited for room.
            self.submitted.pop_front();
        }
        self.submitted.push_back(Submitted::new(self.exec.gpu(), submission));
        Ok(())
    }

    /// The numbers of `Step` in `shaders/parts/step.wgsl` and of `Call` in `shaders/sampler_accept.wgsl`, and fresh noise.
    fn write_step(&self, s: &StepInput<'_>, noisy: bool) -> Result<(), GpuError> {
        let used = s.seeds.len() * self.picture;
        let [timestep, guidance_scale, input_scale] =
            [s.timestep, s.guidance_scale, s.call.input_scale].map(f32::to_bits);
        let words = [used as u32, s.index as u32, timestep, guidance_scale, input_scale, 0, 0, 0];
        let queue = self.gpu().queue();
        self.gpu().scoped("a step's numbers", 0, || {
            queue.write_buffer(&self.step, 0, trusted::bytes(&words));
            queue.write_buffer(&self.call, 0, trusted::bytes(&call(s.call)));
            if noisy {
                queue.write_buffer(&self.noise, 0, trusted::bytes(&self.fresh[..used]));
            }
        })
    }

    /// Reads back the first `n` values, which [`Self::host`] then has; an index of a call that went wrong, if there was
    /// one.
    pub async fn read(&mut self, which: Values, n: usize) -> Result<Option<usize>, GpuError> {
        let parts = [(&self.first_bad, 0, 4), (self.buffer(which), 0, n as u64 * 4)];
        let words = self.gpu().download_all(&parts, &self.staging).await?;
        self.host.iter_mut().zip(&words[1..]).for_each(|(value, word)| *value = f32::from_bits(*word));
        Ok(bad(words.first().copied()))
    }

    /// The values last read.
    pub fn host(&self) -> &[f32] {
        &self.host
    }

    /// The pictures as bytes; an index of a call that went wrong, if there was one.
    pub async fn write_u8(&self, out: &mut [u8]) -> Result<Option<usize>, GpuError> {
        self.exec.submit("bytes", |pass| self.to_u8.record(pass))?;
        let len = (out.len() as u64).next_multiple_of(4);
        let parts = [(&self.first_bad, 0, 4), (&self.bytes, 0, len)];
        let words = self.gpu().download_all(&parts, &self.staging).await?;
        let bytes: &[u8] = trusted::bytes(&words[1..]);
        out.copy_from_slice(&bytes[..out.len()]);
        Ok(bad(words.first().copied()))
    }

    /// One evaluation of the network for the first `x.len() / picture` pictures: plan 0.
    pub async fn predict(
        &mut self,
        ports: &Ports,
        x: &[f32],
        timestep: f32,
        ids: &[Option<u32>],
    ) -> Result<&[f32], GpuError> {
        self.exec.set_ids(ids)?;
        self.fresh.fill(0.0);
        self.fresh[..x.len()].copy_from_slice(x);
        self.exec.write(ports.x, &self.fresh)?;
        self.exec.write(ports.t, &vec![timestep; ports.t.len()])?;
        self.exec.run(0)?;
        let answer = self.exec.read_async(ports.answer).await?;
        self.host[..x.len()].copy_from_slice(&answer[..x.len()]);
        Ok(&self.host[..x.len()])
    }

    /// Runs the network of a call again, looking at each result.
    pub async fn trace(&mut self, s: &StepInput<'_>) -> Result<(), Error> {
        self.write_step(s, false)?;
        self.exec.submit("a step's inputs", |pass| self.feed[s.plan].record(pass))?;
        self.exec.run_checked_async(s.plan).await
    }

    /// Draws a picture (its number, height, width, channels) into a texture.
    pub fn draw_into(
        &self,
        which: Values,
        [picture, h, w, c]: [usize; 4],
        view: &wgpu::TextureView,
    ) -> Result<(), GpuError> {
        let size = view.texture().size();
        let (across, down) = table::texture(self.exec.variants().machine.class);
        let shader = Shader::new(Kernel::ToTexture).constant("WX", across).constant("WY", down);
        let pipeline = self.gpu().pipelines(&[shader])?.remove(0);
        let [low, high] = self.range;
        let params = [
            ("first", Param::U(picture * self.picture)),
            ("h", Param::U(h)),
            ("w", Param::U(w)),
            ("c", Param::U(c)),
            ("low", Param::F(low)),
            ("scale", Param::F(1.0 / (high - low))),
        ];
        let mut words = super::bind::words(&pipeline, &params)?;
        words.resize(words.len().next_multiple_of(4), 0);
        let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let numbers = self.gpu().buffer("a picture's numbers", words.len() as u64 * 4, uniform)?;
        let group = self.gpu().scoped("drawing into a texture", 0, || {
            self.gpu().queue().write_buffer(&numbers, 0, trusted::bytes(&words));
            let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
            let entries = [
                entry(0, numbers.as_entire_binding()),
                entry(1, self.buffer(which).as_entire_binding()),
                entry(2, wgpu::BindingResource::TextureView(view)),
            ];
            let layout = &pipeline.layout;
            self.gpu().device().create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
        })?;
        let grid = [size.width.div_ceil(across), size.height.div_ceil(down), 1];
        let ready = Ready { pipeline, group, grid, step: 0 };
        self.exec.submit("drawing into a texture", |pass| ready.record(pass)).map(drop)
    }

    /// The values, where they lie: `(n, h, w, c)`, f32, in the model's range, not clipped.
    pub fn buffer(&self, which: Values) -> &wgpu::Buffer {
        match which {
            Values::Pictures => &self.x,
            Values::Estimate => &self.estimate,
        }
    }
}

/// Words of `Step` in `shaders/parts/step.wgsl`, padded.
const STEP: u64 = 8;
/// Words of `Call` in `shaders/sampler_accept.wgsl`.
const CALL: u64 = 36;

fn call(c: &Call) -> [u32; CALL as usize] {
    let (slot, store) = c.store.map_or((0, [0.0; 3]), |(slot, store)| (slot as u32 + 1, store));
    // WGSL knows no infinities; beyond these nothing is finite anyway.
    let estimate = [c.x0_from_x, c.x0_from_out, c.low.max(f32::MIN), c.high.min(f32::MAX)];
    let floats = estimate.into_iter().chain(store).chain([c.noise]).map(f32::to_bits);
    let flags = [slot, c.correct.is_some().into(), c.keep.into(), 0];
    let mix = |m: Mix| [m.x, m.base, m.x0, m.out].into_iter().chain(m.slots).chain([0.0; 8 - SLOTS]).map(f32::to_bits);
    let mixes = [c.correct.unwrap_or_default(), c.next].into_iter().flat_map(mix);
    let mut words = [0; CALL as usize];
    words.iter_mut().zip(floats.chain(flags).chain(mixes)).for_each(|(word, value)| *word = value);
    words
}

/// A dispatch whose parameters are the step's.
fn own<'a>(
    step: &'a wgpu::Buffer,
    grid: [usize; 3],
    shader: Shader,
    mut operands: Vec<(&'static str, Operand<'a>)>,
) -> Dispatch<'a> {
    operands.push(("p", Operand::Buffer(step)));
    Dispatch { shader, operands, params: vec![], grid }
}

fn bad(word: Option<u32>) -> Option<usize> {
    // The shader stores the call's number, from 1.
    word.filter(|word| *word != NONE_BAD).map(|word| word as usize - 1)
}
