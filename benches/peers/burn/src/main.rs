//! Times one evaluation of the book's U-Net in burn on a GPU, after checking that it says what nijimi says.
//!
//! ```sh
//! cargo run --release -- MODEL.gguf [BATCH [ROUNDS]]
//! ```

mod reference;
mod unet;

use burn::tensor::{Device, DeviceKind, Int, Tensor, TensorData};
use nijimi_runtime::cpu::position_encoding;
use nijimi_runtime::gguf::{File, MappedFile};
use std::error::Error;
use std::time::{Duration, Instant};

/// Any level will do.
const TIMESTEP: u32 = 500;
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
    position_encoding(TIMESTEP as f32, TIME_DIM, &mut time);
    let x = Tensor::<4>::from_data(TensorData::new(pictures.clone(), [batch, 1, SIDE, SIDE]), &device);
    let time = Tensor::<2>::from_data(TensorData::new(time.repeat(batch), [batch, TIME_DIM]), &device);
    let ids = labels.iter().map(|&l| l as i32).collect::<Vec<_>>();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [batch]), &device);
    // `into_data` alone waits for nothing: it is the values that are fetched when they are first looked at.
    let forward = || net.forward(x.clone(), time.clone(), ids.clone()).into_data().try_into_vec::<f32>();

    let begun = Instant::now();
    let answer = forward()?;
    let first = begun.elapsed();
    let expected = reference::predict(&file, &pictures, TIMESTEP, &labels)?;
    check(&answer, &expected)?;

    // Kernels are tuned and compiled over several passes: until the time settles.
    for _ in 0..5 {
        forward()?;
    }
    let (mut times, cpu) = (Vec::with_capacity(rounds), cpu_time());
    for _ in 0..rounds.max(1) {
        let begun = Instant::now();
        forward()?;
        times.push(begun.elapsed());
    }
    let cpu = cpu_time().zip(cpu).map(|(after, before)| (after - before) / times.len() as u32);
    times.sort();

    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let adapter = device.identity().map_or("unknown".into(), |i| i.name);
    let on = |b| if b { "on" } else { "off" };
    println!("adapter: {adapter}");
    println!(
        "fusion {}, autotune {}, {}; first pass {:.0} ms, least {:.1} ms, CPU {:.1} ms",
        on(cfg!(feature = "fusion")),
        on(cfg!(feature = "autotune")),
        if cfg!(feature = "vulkan") { "SPIR-V" } else { "WGSL" },
        ms(first),
        ms(times[0]),
        cpu.map_or(f64::NAN, ms),
    );
    println!("burn wgpu: {:.1} ms a forward of batch {batch}", ms(times[times.len() / 2]));
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
fn check(answer: &[f32], expected: &[f32]) -> Result<(), Box<dyn Error>> {
    let largest =
        |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, |a: f32, v| if v.abs() <= a { a } else { v.abs() });
    let difference = largest(&mut answer.iter().zip(expected).map(|(a, e)| a - e));
    let scale = largest(&mut expected.iter().copied());
    let alike = answer.len() == expected.len() && difference < 1e-4 * scale;
    if !alike {
        return Err(format!("the answer differs from nijimi's by {difference}, of {scale}").into());
    }
    println!("differs from nijimi's f32 answer by at most {difference:.1e}, of {scale:.2}");
    Ok(())
}

/// The process's CPU time, where the system has `/proc`: with a software adapter the cost on a shared machine.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold anything but ends with the last bracket: user and system time in ticks of 10 ms.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(Duration::from_millis(10 * (fields.next()?.ok()? + fields.next()?.ok()?)))
}
