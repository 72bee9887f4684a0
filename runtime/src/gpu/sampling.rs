//! Runs on a device: samples, guidance and the solver's arithmetic stay there; only what is asked for is read back.

use super::exec::{Executor, Ready};
use super::lower::{Dispatch, Operand, Param, flat};
use super::run_shape::{Attached, Beginning, Ports, Shape, StepInput};
use super::waiting::Submitted;
use super::{Gpu, GpuError, trusted};
use crate::Error;
use crate::plan::Slot;
use crate::sampler::{Call, Mix, SLOTS};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use nijimi_shaders::{Flag, Kernel, Shader, table};
use wgpu::BufferUsages;

/// Calls that may be under way at once: the device works on one while the next is recorded, and a run that is dropped
/// stops soon.
const IN_FLIGHT: usize = 2;
/// What [`DeviceRun::first_bad`] holds while all numbers are finite.
const NONE_BAD: u32 = u32::MAX;

/// Everything on the device that runs use beside the executor's memory.
pub(crate) struct DeviceRun {
    pub exec: Executor,
    pub(super) shape: Shape,
    ports: Vec<Ports>,
    pub(super) x: wgpu::Buffer,
    estimate: wgpu::Buffer,
    noise: wgpu::Buffer,
    first_bad: wgpu::Buffer,
    bytes: wgpu::Buffer,
    pub(super) step: wgpu::Buffer,
    call: wgpu::Buffer,
    time: wgpu::Buffer,
    constants: Vec<wgpu::Buffer>,
    beside: wgpu::Buffer,
    features: wgpu::Buffer,
    /// Picture, noise and mask of what is put back.
    kept: [wgpu::Buffer; 3],
    staging: wgpu::Buffer,
    /// By ports, as are guidance and rescaling.
    feed: Vec<Ready>,
    guidance: Vec<Ready>,
    rescale: Vec<Option<Ready>>,
    /// Without noise, with noise.
    accept: Vec<Ready>,
    restore: Option<Ready>,
    to_u8: Option<Ready>,
    pub(super) classifier: Option<Attached>,
    pub(super) eps: wgpu::Buffer,
    submitted: VecDeque<Submitted>,
    /// The first samples, for a run that must be made again.
    first: Vec<f32>,
    fresh: Vec<f32>,
    /// The values last read.
    host: Vec<f32>,
    /// The code of the noise level.
    pub time_row: Vec<f32>,
}

impl DeviceRun {
    /// For runs of that shape, on plans whose inputs and outputs are `ports`.
    pub fn new(mut exec: Executor, ports: Vec<Ports>, shape: Shape) -> Result<Self, GpuError> {
        let gpu = exec.gpu().clone();
        let elements = shape.elements();
        let memory = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        // A buffer of nothing cannot be bound.
        let values = |what, n: usize| gpu.buffer(what, n.max(1) as u64 * 4, memory);
        let (x, eps) = (values("samples", elements)?, values("the network's answer", elements)?);
        let (estimate, noise) = (values("estimate", elements)?, values("noise", elements)?);
        let history = values("a solver's history", (SLOTS + 1) * elements)?;
        let first_bad = values("the first call that went wrong", 1)?;
        let (time, beside) = (values("a noise level", shape.time)?, values("channels beside", shape.beside)?);
        let restored = if shape.restores { [elements, elements, shape.pixels()] } else { [0; 3] };
        let [known, known_noise, mask] = restored.map(|n| values("what is put back", n));
        let kept = [known?, known_noise?, mask?];
        let constants = shape.constants.iter().map(|&n| gpu.buffer("a condition", exec.bytes_of(n), memory));
        let constants = constants.collect::<Result<Vec<_>, _>>()?;
        let features = gpu.buffer("deep features", exec.bytes_of(shape.features.max(1)), memory)?;
        let bytes = gpu.buffer("bytes", shape.range.map_or(4, |_| elements as u64), memory)?;
        let numbers = |what, words| gpu.buffer(what, words * 4, BufferUsages::UNIFORM | BufferUsages::COPY_DST);
        let (step, call) = (numbers("a step's numbers", STEP)?, numbers("a call's numbers", CALL)?);
        let staging =
            gpu.buffer("staging", elements as u64 * 4 + 4, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;

        let variants = exec.variants();
        let class = variants.machine.class;
        let own = |shader, n, operands| own(&step, flat(class, n), shader, operands);
        let sees_more = shape.beside > 0;
        let feed = ports.iter().map(|ports| {
            let mut operands = vec![
                ("x", Operand::Buffer(&x)),
                ("time", Operand::Buffer(&time)),
                ("input", Operand::Slot(ports.x)),
                ("t", Operand::Slot(ports.t)),
            ];
            operands.extend(sees_more.then_some(("beside", Operand::Buffer(&beside))));
            let n = (shape.pixels() * shape.channels[1]).max(ports.t.len());
            own(variants.flat(Kernel::Feed).flag(Flag::Beside, sees_more), n, operands)
        });
        let guidance = ports.iter().map(|ports| {
            let operands = vec![("answer", Operand::Slot(ports.answer)), ("eps", Operand::Buffer(&eps))];
            let shader = variants.flat(Kernel::Guidance).flag(Flag::Guided, ports.guided);
            own(shader.flag(Flag::Edits, ports.edits), elements, operands)
        });
        let rescaled = |ports: &&Ports| ports.guided && shape.rescales;
        let rescale = ports.iter().filter(rescaled).map(|ports| {
            let operands = vec![("answer", Operand::Slot(ports.answer)), ("eps", Operand::Buffer(&eps))];
            let shader = variants.shader(Kernel::Rescale).constant("WX", table::reduction(class));
            self::own(&step, [shape.batch, 1, 1], shader, operands)
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
            own(shader.flag(Flag::Noise, noisy), elements, operands)
        });
        let restore = shape.restores.then(|| {
            let [known, noise, mask] = kept.each_ref().map(Operand::Buffer);
            let operands = vec![("x", Operand::Buffer(&x)), ("known", known), ("noise", noise), ("mask", mask)];
            let shader = Shader::new(Kernel::Restore).constant("WX", variants.flat_width());
            own(shader, elements, operands)
        });
        let to_u8 = shape.range.map(|[low, high]| Dispatch {
            shader: Shader::new(Kernel::ToU8).constant("WX", variants.flat_width()),
            operands: vec![("x", Operand::Buffer(&x)), ("y", Operand::Buffer(&bytes))],
            params: vec![("n", Param::U(elements)), ("low", Param::F(low)), ("scale", Param::F(255.0 / (high - low)))],
            grid: flat(class, elements.div_ceil(4)),
        });
        // All at once, so that their pipelines are made side by side.
        let restores = restore.is_some();
        let all: Vec<Dispatch<'_>> =
            feed.chain(guidance).chain(rescale).chain(accept).chain(restore).chain(to_u8).collect();
        let mut ready = exec.prepare(&all)?.into_iter();
        let mut take = |n: usize| ready.by_ref().take(n).collect::<Vec<_>>();
        let (feed, guidance) = (take(ports.len()), take(ports.len()));
        let rescale = ports.iter().map(|ports| take(usize::from(rescaled(&ports))).pop()).collect();
        let (accept, restore) = (take(2), take(usize::from(restores)).pop());
        let to_u8 = take(1).pop();
        let host = || vec![0.0; elements];
        let (first, fresh, host, time_row) = (host(), host(), host(), vec![0.0; shape.time]);
        let submitted = VecDeque::with_capacity(IN_FLIGHT + 1);
        let run = Self {
            exec,
            shape,
            ports,
            x,
            estimate,
            noise,
            first_bad,
            bytes,
            step,
            call,
            time,
            constants,
            beside,
            features,
            kept,
            staging,
            feed,
            guidance,
            rescale,
            accept,
            restore,
            to_u8,
            classifier: None,
            eps,
            submitted,
            first,
            fresh,
            host,
            time_row,
        };
        Ok(run)
    }

    pub(super) fn gpu(&self) -> &Gpu {
        self.exec.gpu()
    }

    /// Bytes of the device's memory and of the host's, beside the executor's.
    pub fn bytes(&self) -> u64 {
        self.shape.bytes() + self.shape.host_bytes()
    }

    /// Begins a run: `first` writes the first samples over zeros.
    pub fn start(&mut self, beginning: Beginning<'_>, first: impl FnOnce(&mut [f32])) -> Result<(), GpuError> {
        self.first.fill(0.0);
        first(&mut self.first);
        self.exec.set_ids(beginning.ids)?;
        for (buffer, (values, n)) in self.constants.iter().zip(beginning.constants.zip(&self.shape.constants)) {
            let bytes = self.exec.encode(values, *n);
            let gpu = self.exec.gpu();
            gpu.scoped("a condition", bytes.len() as u64, || gpu.queue().write_buffer(buffer, 0, &bytes))?;
        }
        let gpu = self.exec.gpu();
        let values = [(&self.beside, beginning.beside)].into_iter();
        let kept = beginning.kept.into_iter().flat_map(|kept| self.kept.iter().zip(kept));
        for (buffer, values) in values.chain(kept).filter(|(_, values)| !values.is_empty()) {
            let bytes = trusted::bytes(values);
            gpu.scoped("a picture", bytes.len() as u64, || gpu.queue().write_buffer(buffer, 0, bytes))?;
        }
        self.restart()
    }

    /// Begins the run again.
    pub fn restart(&mut self) -> Result<(), GpuError> {
        self.submitted.clear();
        let Self { x, estimate, first_bad, first, host, .. } = self;
        host.fill(0.0);
        let queue = self.exec.gpu().queue();
        self.exec.gpu().scoped("the initial noise", 0, || {
            queue.write_buffer(x, 0, trusted::bytes(first));
            queue.write_buffer(estimate, 0, trusted::bytes(host));
            queue.write_buffer(first_bad, 0, trusted::bytes(&[NONE_BAD]));
        })
    }

    /// Where the next call's noise is put.
    pub fn noise(&mut self) -> &mut [f32] {
        &mut self.fresh
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

    /// Submits one call: the conditions copied to their places, the network, guidance, the solver's part. It does not look
    /// whether there is [`Self::room`].
    pub fn step(&mut self, s: &StepInput<'_>) -> Result<(), GpuError> {
        let noisy = s.call.noise != 0.0;
        self.write_step(s, noisy)?;
        let ports = &self.ports[s.ports];
        let made = ports.features.filter(|(_, read)| !read).map(|(slot, _)| (slot, &self.features));
        let submission = self.exec.submit_between("a step", self.copies(ports), made, |pass| {
            self.feed[s.ports].record(pass);
            self.exec.record(ports.plan, pass);
            self.guidance[s.ports].record(pass);
            if ports.guided && s.guidance_rescale != 0.0 {
                self.rescale[s.ports].iter().for_each(|rescale| rescale.record(pass));
            }
            if let (Some(attached), Some(input)) = (&self.classifier, s.classifier) {
                if let (Some((feed, plan)), Some(exec)) = (&attached.feed, input.exec) {
                    feed.record(pass);
                    exec.record(*plan, pass);
                }
                attached.guide.record(pass);
            }
            self.accept[usize::from(noisy)].record(pass);
            if let (Some(restore), Some(_)) = (&self.restore, s.restore) {
                restore.record(pass);
            }
        })?;
        if self.submitted.len() >= IN_FLIGHT {
            // Nobody waited for room.
            self.submitted.pop_front();
        }
        self.submitted.push_back(Submitted::new(self.exec.gpu(), submission));
        Ok(())
    }

    fn copies<'a>(&'a self, ports: &'a Ports) -> impl Iterator<Item = (&'a wgpu::Buffer, Slot)> {
        let read = ports.features.filter(|(_, read)| *read).map(|(slot, _)| (&self.features, slot));
        self.constants.iter().zip(ports.constants.iter().copied()).chain(read)
    }

    /// The numbers of `Step` in `shaders/parts/step.wgsl` and of `Call` in `shaders/sampler_accept.wgsl`, the noise level
    /// and fresh noise.
    pub(super) fn write_step(&self, s: &StepInput<'_>, noisy: bool) -> Result<(), GpuError> {
        let (each, [channels, in_channels]) = (self.shape.each, self.shape.channels);
        let used = s.n * each;
        let (alpha, sigma) = s.restore.unwrap_or_default();
        let floats = [s.guidance_scale, s.guidance_rescale, s.call.input_scale, alpha, sigma].map(f32::to_bits);
        let mut words = [0; STEP as usize];
        let numbers = [used, each, s.index].map(|n| n as u32).into_iter().chain(floats);
        let weight = s.classifier.map_or(0.0, |classifier| classifier.weight);
        let numbers =
            numbers.chain([channels as u32, in_channels as u32, weight.to_bits(), s.image_guidance_scale.to_bits()]);
        words.iter_mut().zip(numbers).for_each(|(word, number)| *word = number);
        let queue = self.gpu().queue();
        self.gpu().scoped("a step's numbers", 0, || {
            queue.write_buffer(&self.step, 0, trusted::bytes(&words));
            queue.write_buffer(&self.call, 0, trusted::bytes(&call(s.call)));
            queue.write_buffer(&self.time, 0, trusted::bytes(&self.time_row));
            if let (Some(attached), Some(input)) = (&self.classifier, s.classifier) {
                queue.write_buffer(&attached.time, 0, trusted::bytes(&[input.timestep]));
            }
            if noisy {
                queue.write_buffer(&self.noise, 0, trusted::bytes(&self.fresh[..used]));
            }
        })
    }

    /// Reads back the first `n` values of the samples, or of the estimate, which [`Self::host`] then has; an index of a call
    /// that went wrong, if there was one.
    pub async fn read(&mut self, estimate: bool, n: usize) -> Result<Option<usize>, GpuError> {
        let buffer = self.buffers()[usize::from(estimate)];
        let parts = [(&self.first_bad, 0, 4), (buffer, 0, n as u64 * 4)];
        let words = self.gpu().download_all(&parts, &self.staging).await?;
        self.host.iter_mut().zip(&words[1..]).for_each(|(value, word)| *value = f32::from_bits(*word));
        Ok(bad(words.first().copied()))
    }

    /// The values last read.
    pub fn host(&self) -> &[f32] {
        &self.host
    }

    /// Pictures as bytes; an index of a call that went wrong, if there was one.
    pub async fn write_u8(&self, out: &mut [u8]) -> Result<Option<usize>, GpuError> {
        self.exec.submit("bytes", |pass| self.to_u8.iter().for_each(|ready| ready.record(pass)))?;
        let len = (out.len() as u64).next_multiple_of(4);
        let parts = [(&self.first_bad, 0, 4), (&self.bytes, 0, len)];
        let words = self.gpu().download_all(&parts, &self.staging).await?;
        let bytes: &[u8] = trusted::bytes(&words[1..]);
        out.copy_from_slice(&bytes[..out.len()]);
        Ok(bad(words.first().copied()))
    }

    /// One evaluation of the network for the first `x.len() / each` samples, at the time of `time_row`: the first plan.
    pub async fn predict(&mut self, x: &[f32], ids: &[Option<u32>]) -> Result<&[f32], GpuError> {
        let ports = &self.ports[0];
        self.exec.set_ids(ids)?;
        self.fresh.fill(0.0);
        self.fresh[..x.len()].copy_from_slice(x);
        self.exec.write(ports.x, &self.fresh)?;
        self.exec.write(ports.t, &self.time_row.repeat(ports.t.len() / self.time_row.len().max(1)))?;
        self.exec.run(ports.plan)?;
        let answer = self.exec.read_async(ports.answer).await?;
        self.host[..x.len()].copy_from_slice(&answer[..x.len()]);
        Ok(&self.host[..x.len()])
    }

    /// Runs the network of a call again, looking at each result.
    pub async fn trace(&mut self, s: &StepInput<'_>) -> Result<(), Error> {
        self.write_step(s, false)?;
        let ports = &self.ports[s.ports];
        self.exec
            .submit_between("a step's inputs", self.copies(ports), None, |pass| self.feed[s.ports].record(pass))?;
        self.exec.run_checked_async(ports.plan).await
    }

    /// The samples, and the estimate of the clean ones: `(n, h, w, c)`, f32, not clipped.
    pub fn buffers(&self) -> [&wgpu::Buffer; 2] {
        [&self.x, &self.estimate]
    }
}

/// Words of `Step` in `shaders/parts/step.wgsl`, padded.
const STEP: u64 = 12;
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
pub(super) fn own<'a>(
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
