//! How long 20 pictures take, and how much memory: the book's network at its full size, with weights of each type.
//!
//! ```sh
//! cargo bench --bench sampling                         # all of it, some minutes; with a filter, a part: -- q8_0
//! NIJIMI_BENCH_FULL=1 cargo bench --bench sampling     # and 20 pictures by 1000 steps of DDPM, once for each type
//! ```
//!
//! All cores are used. `benches/peers/compare.py` compares with PyTorch.

mod common;

use criterion::{Criterion, SamplingMode};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, Session, SessionOptions, batch_seeds};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::Isa;
use nijimi_runtime::sampler::{Calls, Solver};
use std::time::{Duration, Instant};

const PICTURES: usize = 20;

/// Each label twice.
const LABELS: [Option<u32>; PICTURES] = {
    let mut labels = [None; PICTURES];
    let mut i = 0;
    while i < PICTURES {
        labels[i] = Some(i as u32 / 2);
        i += 1;
    }
    labels
};

/// Makes the first `steps` steps of a run; how long they took, the initial noise not counted.
fn first_steps(session: &mut Session, calls: &Calls, guidance_scale: f32, steps: u64) -> Duration {
    let seeds = batch_seeds(1, PICTURES);
    let mut run = session.run(&Request { labels: &LABELS, seeds: &seeds, calls, guidance_scale }).unwrap();
    let start = Instant::now();
    for _ in 0..steps {
        run.step().unwrap().unwrap();
    }
    start.elapsed()
}

/// A whole run, as bytes.
fn sample(session: &mut Session, calls: &Calls) -> Vec<u8> {
    let seeds = batch_seeds(1, PICTURES);
    let mut run = session.run(&Request { labels: &LABELS, seeds: &seeds, calls, guidance_scale: 1.0 }).unwrap();
    while run.step().unwrap().is_some() {}
    run.to_u8().unwrap()
}

fn bench(criterion: &mut Criterion, dtype: DType, full: bool) {
    let bytes = common::book_model(dtype);
    let pipeline = Diffusion::load(&File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
    let session =
        |guidance| pipeline.session(&SessionOptions { batch: PICTURES, guidance, ..Default::default() }).unwrap();
    let (mut plain, mut guided) = (session(false), session(true));
    println!(
        "{}: file {} bytes, packed weights {}, session of {PICTURES} pictures {}, with guidance {}",
        dtype.name(),
        bytes.len(),
        pipeline.weight_bytes(),
        plain.bytes(),
        guided.bytes(),
    );

    let levels = pipeline.info().schedule.steps();
    let all = pipeline.calls(Solver::default(), levels).unwrap();
    let mut group = criterion.benchmark_group(dtype.name());
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, session, scale) in [("step", &mut plain, 1.0), ("step with guidance", &mut guided, 3.0)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|n| {
                let runs = (0..n).step_by(levels).map(|done| (n - done).min(levels as u64));
                runs.map(|steps| first_steps(session, &all, scale, steps)).sum()
            });
        });
    }
    let ddim = pipeline.calls(Solver::default(), 50).unwrap();
    group.bench_function("50 steps of DDIM", |bencher| bencher.iter(|| sample(&mut plain, &ddim)));
    group.finish();

    if full {
        let ddpm = pipeline.calls(Solver::ddpm(), levels).unwrap();
        let start = Instant::now();
        sample(&mut plain, &ddpm);
        println!("{}/{levels} steps of DDPM, once: {:.2} s", dtype.name(), start.elapsed().as_secs_f64());
    }
}

fn main() {
    let full = std::env::var_os("NIJIMI_BENCH_FULL").is_some();
    let mut criterion = Criterion::default().configure_from_args();
    println!("CPU: {}, {PICTURES} pictures", Isa::detect());
    for dtype in common::TYPES {
        bench(&mut criterion, dtype, full);
    }
    criterion.final_summary();
}
