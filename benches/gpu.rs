//! Every kernel of the GPU backend beside the roofline of the adapter that runs it, and the digits model's step.
//!
//! ```sh
//! cargo bench --bench gpu                    # the best adapter, in shapes that suit it
//! cargo bench --bench gpu -- --large         # the shapes of large networks, whatever the adapter
//! ```
//!
//! Two kernels measure the roofline (Williams, Waterman, Patterson 2009) first: a copy of 64 MiB, and chains of fused
//! multiply-adds in registers. A kernel's share is of min(peak, bytes/s x its operations a byte), each operand counted once.

use nijimi_runtime::gpu::lab::{Case, Row, SelfTestOptions, self_test};
use nijimi_runtime::gpu::{Choice, ExecOptions, Gpu, GpuOptions};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::{Graph, Shape};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const DIGITS: &[u8] = include_bytes!("../weights/digits-q8_0.gguf");

fn main() -> Result<()> {
    let large = std::env::args().any(|arg| arg == "--large").then_some(true);
    let gpu = Gpu::open(&GpuOptions { choice: Choice::Any, ..Default::default() })?;
    println!("{}", gpu.name());
    let (copy, peak) = (copy_rate(&gpu)?, fma_rate(&gpu)?);
    println!("copy {:.1} GB/s, multiply-adds {:.1} GFLOP/s\n", copy / 1e9, peak / 1e9);
    println!("{:<44} {:<4} {:>10} {:>9} {:>10} {:>7}", "kernel", "", "us", "GB/s", "GFLOP/s", "share");
    self_test(&gpu, &SelfTestOptions { large }, DIGITS, |row| match row {
        Row::Kernel(row) => match &row.measured {
            Ok(m) => {
                let (bytes, flop) = (m.bytes as f64, m.flop as f64);
                // The least time that the roofline allows.
                let least = f64::max(bytes / copy, flop / peak);
                println!(
                    "{:<44} {:<4} {:>10.1} {:>9.2} {:>10.1} {:>6.1}%",
                    row.name,
                    row.variant,
                    m.seconds * 1e6,
                    bytes / m.seconds / 1e9,
                    flop / m.seconds / 1e9,
                    100.0 * least / m.seconds
                );
            }
            Err(e) => println!("{:<44} {:<4} {e}", row.name, row.variant),
        },
        Row::Model(row) => match &row.measured {
            Ok((psnr, seconds)) => println!("{}: {:.2} ms a step, {psnr:.1} dB", row.name, seconds * 1e3),
            Err(e) => println!("{}: {e}", row.name),
        },
    })?;
    Ok(())
}

/// Bytes a second, read and written, of a kernel that does nothing else.
fn copy_rate(gpu: &Gpu) -> Result<f64> {
    let mut g = Graph::new();
    let shape = Shape::new(1, 4096, 4096, 1);
    let x = g.input("x", shape)?;
    let y = g.relu("copy", x)?;
    // Both are outputs, so that the one does not replace the other.
    g.output("x", x)?;
    g.output("y", y)?;
    let executor = Case::new(gpu, g, DType::F32, 1)?.executor(&ExecOptions::default())?;
    Ok(8.0 * shape.elements() as f64 / Case::time(&executor)?)
}

/// Chains of multiply-adds that depend on nothing but registers, enough of them side by side to fill a processor; unrolled,
/// so that the loop costs nothing.
fn chains() -> String {
    let names = ["a", "b", "c", "d"];
    let start: String = names.iter().enumerate().map(|(i, v)| format!("  var {v} = x + 0.{i};\n")).collect();
    let once: String = names.iter().map(|v| format!("{v} = fma({v}, x, x); ")).collect();
    let body = format!("    {once}\n").repeat(UNROLLED);
    format!(
        "@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
  let x = vec4<f32>(f32(id.x) * 1e-9 + 0.5);
{start}  for (var i = 0u; i < {ROUNDS}u; i++) {{
{body}  }}
  y[id.x] = {};
}}",
        names.join(" + ")
    )
}

const UNROLLED: usize = 32;
const ROUNDS: usize = 16;

/// Floating-point operations a second, two each multiply-add.
fn fma_rate(gpu: &Gpu) -> Result<f64> {
    let (device, queue) = (gpu.device(), gpu.queue());
    let groups: u32 = if gpu.is_software() { 256 } else { 16384 };
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(chains().into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let y = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(groups) * 64 * 16,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: y.as_entire_binding() }],
    });
    let mut least = f64::INFINITY;
    for _ in 0..8 {
        let started = Instant::now();
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(groups, 1, 1);
        drop(pass);
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely())?;
        least = least.min(started.elapsed().as_secs_f64());
    }
    Ok(f64::from(groups) * 64.0 * (UNROLLED * ROUNDS) as f64 * 4.0 * 4.0 * 2.0 / least)
}
