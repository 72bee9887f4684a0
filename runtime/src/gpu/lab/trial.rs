//! A model's pictures on a device against those of the CPU: the second half of the self-test.

use super::{Gpu, ModelRow};
use crate::Error;
use crate::gguf::File;
use crate::model::Values;
use crate::model::{Device, Diffusion, Request, Run, SessionOptions, batch_seeds};
use crate::sampler::Solver;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use std::time::Instant;
use wgpu::BufferUsages;

/// The least ratio of a picture's values to their differences, in dB, of quantized weights: the CPU rounds activations to 8 bits for them, a device does not.
pub const LEAST: f64 = 40.0;
/// Steps that are not timed: what is done lazily is done in them.
const WARM: usize = 2;

/// Draws on both, and compares: as the file recommends; with fresh noise in each step and no guidance; into a texture.
pub(super) fn rows<'a>(
    gpu: &'a Gpu,
    file: &[u8],
    many: bool,
) -> Result<impl Iterator<Item = ModelRow> + use<'a>, Error> {
    let file = File::new_checked(file)?;
    let [cpu, device] = [Diffusion::load(&file, &Device::Cpu)?, Diffusion::load(&file, &Device::Gpu(gpu.clone()))?];
    let best = cpu.info().defaults;
    let guided = cpu.info().network.label_count() > 0;
    let scale = if guided { best.guidance_scale } else { 1.0 };
    let name = format!("{} steps of {}, guidance {scale}", best.steps, best.solver);
    let noisy = Solver::ddim(1.0);
    let plans = [
        (name, Drawing { solver: best.solver, steps: best.steps, scale, texture: false }),
        ("20 steps with fresh noise".to_string(), Drawing { solver: noisy, steps: 20, scale: 1.0, texture: false }),
        ("into a texture".to_string(), Drawing { solver: best.solver, steps: 4, scale: 1.0, texture: true }),
    ];
    let pictures = if many { 16 } else { 1 };
    Ok(plans.into_iter().map(move |(name, drawing)| {
        let name = format!("{}: {name}, {pictures} at a time", cpu.info().name);
        let measured = drawing.compare(gpu, [&cpu, &device], pictures).map_err(|e| e.to_string());
        ModelRow { name, least: LEAST, measured }
    }))
}

/// How to draw.
struct Drawing {
    solver: Solver,
    steps: usize,
    scale: f32,
    /// Draws the first picture into a texture, and compares that.
    texture: bool,
}

impl Drawing {
    /// The ratio, and seconds of a step on the device.
    fn compare(&self, gpu: &Gpu, [cpu, device]: [&Diffusion; 2], pictures: usize) -> Result<(f64, f64), Error> {
        let count = cpu.info().network.label_count();
        // One label after the other.
        let labels: Vec<_> = (0..pictures).map(|i| (count > 0).then(|| ((i + 7) % count.max(1)) as u32)).collect();
        let seeds = batch_seeds(1, pictures);
        let calls = cpu.calls(self.solver, self.steps.min(cpu.info().schedule.steps()))?;
        let request = Request { labels: &labels, seeds: &seeds, calls: &calls, guidance_scale: self.scale };
        let options = SessionOptions { batch: pictures, guidance: self.scale != 1.0, ..Default::default() };

        let mut session = cpu.session(&options)?;
        let mut run = session.run(&request)?;
        timed(&mut run)?;
        let expected = run.to_u8()?;
        let mut session = device.session(&options)?;
        let mut run = session.run(&request)?;
        let seconds = timed(&mut run)?;
        let found = if self.texture { texture(gpu, &mut run, device)? } else { run.to_u8()? };
        Ok((psnr(&expected[..found.len()], &found), seconds))
    }
}

/// Makes all steps; seconds of one.
fn timed(run: &mut Run<'_>) -> Result<f64, Error> {
    let (mut started, mut steps) = (Instant::now(), 0);
    while let Some(step) = run.step()? {
        steps += 1;
        if step.index + 1 == WARM {
            run.pictures()?;
            (started, steps) = (Instant::now(), 0);
        }
    }
    // Steps are submitted, and not waited for.
    run.pictures()?;
    Ok(started.elapsed().as_secs_f64() / f64::from(steps.max(1)))
}

/// The first picture, drawn into a texture of its size, as bytes.
fn texture(gpu: &Gpu, run: &mut Run<'_>, pipeline: &Diffusion) -> Result<Vec<u8>, Error> {
    let network = &pipeline.info().network;
    let ([rows, columns], channels) = (network.size(), network.channels());
    let (width, height) = (columns as u32, rows as u32);
    // Rows of a copy are multiples of 256 bytes.
    let row = (width * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
    let bytes = u64::from(row) * u64::from(height);
    let texture = gpu.scoped("a texture", bytes, || {
        gpu.device().create_texture(&wgpu::TextureDescriptor {
            label: Some("self-test"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        })
    })?;
    run.draw_into(Values::Sample, 0, &texture.create_view(&Default::default()))?;
    let buffer = gpu.buffer("a texture's bytes", bytes, BufferUsages::COPY_DST | BufferUsages::COPY_SRC)?;
    let staging = gpu.buffer("staging", bytes, BufferUsages::COPY_DST | BufferUsages::MAP_READ)?;
    gpu.scoped("copying a texture", bytes, || {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
        let to = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
        encoder.copy_texture_to_buffer(texture.as_image_copy(), to, texture.size());
        gpu.queue().submit([encoder.finish()]);
    })?;
    let words = pollster::block_on(gpu.download(&buffer, 0, &staging, bytes))?;
    let lines = words.chunks_exact(row as usize / 4).flat_map(|line| &line[..columns]);
    Ok(lines.flat_map(|pixel| pixel.to_le_bytes().into_iter().take(channels)).collect())
}

/// Peak signal to noise ratio of bytes, dB; 100 where there is no difference.
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    let mean = squares / a.len().max(1) as f64;
    (10.0 * libm::log10(255.0 * 255.0 / mean.max(1e-9))).min(100.0)
}
