//! Pictures in textures of the host's, and latents decoded on the way.

use super::exec::{Executor, Ready};
use super::lower::{Dispatch, Operand, Param, flat};
use super::{Gpu, GpuError, trusted};
use crate::plan::Slot;
use alloc::vec;
use alloc::vec::Vec;
use nijimi_shaders::{Kernel, Shader, table};
use wgpu::BufferUsages;

/// A picture in a buffer of f32: its first value, its shape `(h, w, c)`, and the values of black and white.
pub(crate) struct Shown<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub first: usize,
    pub shape: [usize; 3],
    pub range: [f32; 2],
}

/// Draws a picture into a texture of the executor's device.
pub(crate) fn draw_into(exec: &Executor, shown: &Shown<'_>, view: &wgpu::TextureView) -> Result<(), GpuError> {
    let (gpu, size) = (exec.gpu(), view.texture().size());
    let (across, down) = table::texture(exec.variants().machine.class);
    let shader = Shader::new(Kernel::ToTexture).constant("WX", across).constant("WY", down);
    let pipeline = gpu.pipelines(&[shader])?.remove(0);
    let ([low, high], [h, w, c]) = (shown.range, shown.shape);
    let params = [
        ("first", Param::U(shown.first)),
        ("h", Param::U(h)),
        ("w", Param::U(w)),
        ("c", Param::U(c)),
        ("low", Param::F(low)),
        ("scale", Param::F(1.0 / (high - low))),
    ];
    let mut words = super::bind::words(&pipeline, &params)?;
    words.resize(words.len().next_multiple_of(4), 0);
    let numbers = numbers(gpu, "a picture's numbers", words.len())?;
    let group = gpu.scoped("drawing into a texture", 0, || {
        gpu.queue().write_buffer(&numbers, 0, trusted::bytes(&words));
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let entries = [
            entry(0, numbers.as_entire_binding()),
            entry(1, shown.buffer.as_entire_binding()),
            entry(2, wgpu::BindingResource::TextureView(view)),
        ];
        let layout = &pipeline.layout;
        gpu.device().create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    })?;
    let grid = [size.width.div_ceil(across), size.height.div_ceil(down), 1];
    let ready = Ready { pipeline, group, grid, step: 0 };
    exec.submit("drawing into a texture", |pass| ready.record(pass)).map(drop)
}

/// Decodes the latents of a run on the same device, a picture at a time.
pub(crate) struct DeviceDecoder {
    /// From the samples, and from the estimate.
    feed: [Ready; 2],
    take: Ready,
    numbers: wgpu::Buffer,
    /// Values of a picture's latents.
    each: usize,
    /// What the U-Net's latents are multiplied by for the decoder, and what is then added.
    scale: [f32; 2],
    /// The decoder's output, and the picture taken from it last, f32.
    made: Slot,
    picture: wgpu::Buffer,
}

impl DeviceDecoder {
    /// For an executor whose first plan decodes `latents` to `picture`; `sources` are the run's samples and its estimate.
    pub fn new(
        exec: &mut Executor,
        latents: Slot,
        picture: Slot,
        sources: [&wgpu::Buffer; 2],
        scale: [f32; 2],
    ) -> Result<Self, GpuError> {
        let gpu = exec.gpu().clone();
        let numbers = numbers(&gpu, "a picture's numbers", 12)?;
        let memory = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let taken = gpu.buffer("a picture", picture.len() as u64 * 4, memory)?;
        let variants = exec.variants();
        let class = variants.machine.class;
        let dispatch = |shader, n: usize, operands| Dispatch { shader, operands, params: vec![], grid: flat(class, n) };
        let p = ("p", Operand::Buffer(&numbers));
        let feed = sources.map(|source| {
            let operands = vec![p, ("x", Operand::Buffer(source)), ("y", Operand::Slot(latents))];
            dispatch(variants.flat(Kernel::Latents), latents.len(), operands)
        });
        let operands = vec![p, ("answer", Operand::Slot(picture)), ("eps", Operand::Buffer(&taken))];
        let take = dispatch(variants.flat(Kernel::Guidance), picture.len(), operands);
        let [sample, estimate] = feed;
        let mut ready = exec.prepare(&[sample, estimate, take])?.into_iter();
        let mut next = || ready.next().ok_or(GpuError::Lost { reason: "a pipeline is missing".into() });
        let (feed, take) = ([next()?, next()?], next()?);
        Ok(Self { feed, take, numbers, each: latents.len(), scale, made: picture, picture: taken })
    }

    /// Submits the decoding of a picture of a source.
    pub fn decode(&self, exec: &Executor, source: usize, picture: usize) -> Result<(), GpuError> {
        self.write_numbers(exec, picture)?;
        let record = |pass: &mut wgpu::ComputePass<'_>| {
            self.feed[source].record(pass);
            exec.record(0, pass);
        };
        exec.submit("decoding", record).map(drop)
    }

    /// Submits the decoder's input alone.
    pub fn feed(&self, exec: &Executor, source: usize, picture: usize) -> Result<(), GpuError> {
        self.write_numbers(exec, picture)?;
        exec.submit("latents", |pass| self.feed[source].record(pass)).map(drop)
    }

    fn write_numbers(&self, exec: &Executor, picture: usize) -> Result<(), GpuError> {
        let (first, [scale, shift]) = ((picture * self.each) as u32, self.scale);
        let words = [first, self.each as u32, scale.to_bits(), shift.to_bits()];
        let gpu = exec.gpu();
        gpu.scoped("a picture's numbers", 0, || gpu.queue().write_buffer(&self.numbers, 0, trusted::bytes(&words)))
    }

    /// Reads the picture decoded last, as the decoder made it: -1 is black, 1 is white.
    pub async fn read(&self, exec: &Executor) -> Result<Vec<f32>, GpuError> {
        exec.read_async(self.made).await
    }

    /// The picture decoded last, f32, as the decoder made it: -1 is black, 1 is white.
    pub fn picture(&self, exec: &Executor) -> Result<&wgpu::Buffer, GpuError> {
        let n = (self.picture.size() / 4) as u32;
        let gpu = exec.gpu();
        gpu.scoped("a picture's numbers", 0, || gpu.queue().write_buffer(&self.numbers, 0, trusted::bytes(&[n])))?;
        exec.submit("a picture", |pass| self.take.record(pass))?;
        Ok(&self.picture)
    }

    /// Bytes of the device's memory beside the executor's.
    pub fn bytes(&self) -> u64 {
        self.picture.size() + self.numbers.size()
    }
}

fn numbers(gpu: &Gpu, what: &str, words: usize) -> Result<wgpu::Buffer, GpuError> {
    gpu.buffer(what, words as u64 * 4, BufferUsages::UNIFORM | BufferUsages::COPY_DST)
}
