//! Times one evaluation of the book's U-Net in burn and in nijimi on the same GPU, after checking that both say what
//! nijimi's CPU backend says.
//!
//! ```sh
//! cargo run --release -- MODEL.gguf [BATCH [ROUNDS]]
//! ```

mod reference;
mod unet;

use burn::tensor::{Device, DeviceKind, Int, Tensor, TensorData};
use nijimi_runtime::raw::cpu::position_encoding;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::gpu::{Choice, Gpu, GpuOptions};
use nijimi_runtime::model::{Device as Processor, Diffusion};
use std::error::Error;
use std::time::{Duration, Instant};

/// Any level will do.
const TIMESTEP: f32 = 500.0;
const TIME_DIM: usize = 100;
const SIDE: usize = 28;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let model = args.next().ok_or("usage: peer-burn MODEL.gguf [BATCH [ROUNDS]]")?;
    let batch: usize = args.next().map_or(Ok(20), |a| a.parse())?;
    let rounds: usize = args.next().map_or(Ok(20), |a| a.parse())?;

    let mapped = MappedFile::open(&model)?;
    let file = File::new_checked(mapped.bytes())?;
    // The best GPU, or what CUBECL_WGPU_DEFAULT_DEVICE names; a software adapter if there is nothing else.
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let net = unet::Unet::load(&file, &device);

    let pictures = noise(batch * SIDE * SIDE);
    let labels: Vec<u32> = (0..batch as u32).map(|i| i % 10).collect();
    let mut time = [0.0; TIME_DIM];
    position_encoding(TIMESTEP, TIME_DIM, &mut time);
    let x = Tensor::<4>::from_data(TensorData::new(pictures.clone(), [batch, 1, SIDE, SIDE]), &device);
    let time = Tensor::<2>::from_data(TensorData::new(time.repeat(batch), [batch, TIME_DIM]), &device);
    let ids = labels.iter().map(|&l| l as i32).collect::<Vec<_>>();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [batch]), &device);
    // `into_data` alone waits for nothing: it is the values that are fetched when they are first looked at.
    let forward = || net.forward(x.clone(), time.clone(), ids.clone()).into_data().try_into_vec::<f32>();

    let begun = Instant::now();
    let answer = forward()?;
    let first = begun.elapsed();
    let bytes = reference::in_f32(&file)?;
    let same = File::new_checked(&bytes)?;
    let labels: Vec<_> = labels.iter().copied().map(Some).collect();
    let mut cpu = reference::session(&Diffusion::load(&same, &Processor::Cpu)?, batch)?;
    let expected = cpu.predict(&pictures, TIMESTEP, &labels)?;
    check("burn", &answer, expected)?;
    // The same kind of adapter as burn's: here, too, a GPU if there is one.
    let gpu = Gpu::open(&GpuOptions { choice: Choice::Any, ..Default::default() })?;
    let mut ours = reference::session(&Diffusion::load(&same, &Processor::Gpu(gpu))?, batch)?;
    check("nijimi on the GPU", ours.predict(&pictures, TIMESTEP, &labels)?, expected)?;

    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    // Kernels are tuned and compiled over several passes: until the time settles.
    for _ in 0..5 {
        forward()?;
    }
    let (mut times, mut our_times) = (Vec::new(), Vec::new());
    let (mut cpu, mut our_cpu) = (Duration::ZERO, Duration::ZERO);
    // In turn, so that both see the same machine.
    for _ in 0..rounds.max(1) {
        let (begun, used) = (Instant::now(), cpu_time());
        forward()?;
        times.push(begun.elapsed());
        cpu += cpu_time().zip(used).map_or(Duration::ZERO, |(after, before)| after - before);
        let (begun, used) = (Instant::now(), cpu_time());
        ours.predict(&pictures, TIMESTEP, &labels)?;
        our_times.push(begun.elapsed());
        our_cpu += cpu_time().zip(used).map_or(Duration::ZERO, |(after, before)| after - before);
    }
    let passes = times.len() as u32;
    times.sort();
    our_times.sort();
    let adapter = device.identity().map_or("unknown".into(), |i| i.name);
    let on = |b| if b { "on" } else { "off" };
    println!("adapter: {adapter}");
    println!(
        "burn: fusion {}, autotune {}, {}; first pass {:.0} ms",
        on(cfg!(feature = "fusion")),
        on(cfg!(feature = "autotune")),
        if cfg!(feature = "vulkan") { "SPIR-V" } else { "WGSL" },
        ms(first),
    );
    let line = |name: &str, times: &[Duration], cpu: Duration| {
        let (median, least, cpu) = (ms(times[times.len() / 2]), ms(times[0]), ms(cpu / passes));
        println!("{name}: {median:.1} ms a forward of batch {batch}, least {least:.1} ms, CPU time {cpu:.1} ms");
    };
    line("burn wgpu", &times, cpu);
    line("nijimi wgpu", &our_times, our_cpu);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    let medians = ratio(times[times.len() / 2], our_times[our_times.len() / 2]);
    println!("nijimi is {medians:.2} times as fast, {:.2} times by CPU time", ratio(cpu, our_cpu));
    Ok(())
}

/// Values like a sampler's first, from -1.7 to 1.7 with variance 1, the same each time.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 3f32.sqrt()
    };
    (0..n).map(|_| next()).collect()
}

/// Sums are taken in other orders, so answers are alike and not equal.
fn check(who: &str, answer: &[f32], expected: &[f32]) -> Result<(), Box<dyn Error>> {
    let largest =
        |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, |a: f32, v| if v.abs() <= a { a } else { v.abs() });
    let difference = largest(&mut answer.iter().zip(expected).map(|(a, e)| a - e));
    let scale = largest(&mut expected.iter().copied());
    let alike = answer.len() == expected.len() && difference < 1e-4 * scale;
    if !alike {
        return Err(format!("{who}: the answer differs from the CPU's by {difference}, of {scale}").into());
    }
    println!("{who} differs from nijimi's CPU in f32 by at most {difference:.1e}, of {scale:.2}");
    Ok(())
}

/// The process's CPU time, where the system has `/proc`: with a software adapter the cost on a shared machine.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold anything but ends with the last bracket: user and system time in ticks of 10 ms.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(Duration::from_millis(10 * (fields.next()?.ok()? + fields.next()?.ok()?)))
}
