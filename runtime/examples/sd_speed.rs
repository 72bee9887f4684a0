//! How long the networks of published models take on the CPU: one call of Stable Diffusion 1.5's U-Net, its decoder, and one call of the
//! transformers of 3 medium, Z-Image and FLUX.2-klein-4B, with random weights.
//!
//! ```text
//! cargo run --release -p nijimi-runtime --example sd_speed -- [unet|reused|decoder|sd3|z_image|flux2] [f32|f16|q8_0] [LATENT SIDE] [THREADS] [ROUNDS] [PROFILE]
//! ```
//!
//! The transformers are at 1024x1024 with 128 for LATENT SIDE, FLUX.2's with 64, since its latents are packed.
//! `reused` is the U-Net's call that takes the deep features over (`--cache` of the program).
//!
//! With `-` for ROUNDS, one call for each line of standard input, and everything said as JSON, a line each: so that another
//! program can take turns with others (`benches/peers/stable_diffusion.py`).

use nijimi_runtime::quant::{self, DType};
use nijimi_runtime::raw::cpu::Context;
use nijimi_runtime::raw::cpu::exec::{Executor, PLAN, Weights};
use nijimi_runtime::raw::graph::{Graph, WeightKind};
use nijimi_runtime::raw::nn::{
    AutoencoderKl, Denoiser, Flux2, Mmdit, SdCache, SdLevel, SdMiddle, SdRequest, SdUnet, TimeCode, ZImage,
};
use nijimi_runtime::raw::plan::{MemoryLimit, Plan};
use nijimi_runtime::raw::rng::normal_fill;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Instant;

fn unet(side: usize, cache: SdCache) -> Graph {
    let level = |channels, attends| SdLevel::new(channels, 8, 2, usize::from(attends));
    let network = SdUnet {
        in_channels: 4,
        out_channels: 4,
        levels: vec![level(320, true), level(640, true), level(1280, true), level(1280, false)],
        middle: SdMiddle::Transformer(1),
        text_width: 768,
        norm_groups: 32,
        norm_eps: 1e-5,
        linear_projection: false,
        pads_below: false,
        time_code: TimeCode::default(),
        added: None,
        guidance_code: 0,
    };
    let request = SdRequest { cache, ..SdRequest::new(1, [side, side], 77) };
    network.graph("", &request).expect("SD 1.5's U-Net")
}

fn decoder(side: usize) -> Graph {
    let network = AutoencoderKl {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 4,
        channels: vec![128, 256, 512, 512],
        layers_per_block: 2,
        norm_groups: 32,
        mid_attention: true,
        quant_conv: true,
        post_quant_conv: true,
        packed: false,
    };
    network.decoder("", 1, [side, side]).expect("SD 1.5's decoder")
}

/// Both CLIP's tokens and T5's.
const TOKENS: usize = 77 + Mmdit::THIRD_STATES;

fn sd3() -> Denoiser {
    let network = Mmdit {
        channels: 16,
        layers: 24,
        heads: 24,
        head_channels: 64,
        text_width: 4096,
        pooled_width: 2048,
        positions: 192,
        dual: Vec::new(),
        qk_norm: false,
    };
    network.into()
}

fn z_image() -> Denoiser {
    let network = ZImage {
        channels: 16,
        layers: 30,
        refiner_layers: 2,
        heads: 30,
        text_width: 2560,
        axes: [32, 48, 48],
        places: [1536, 512, 512],
        theta: 256.0,
        eps: 1e-5,
        time_scale: 1000.0,
    };
    network.into()
}

fn flux2() -> Denoiser {
    let network = Flux2 {
        channels: 128,
        layers: 5,
        single_layers: 20,
        heads: 24,
        text_width: 7680,
        axes: [32; 4],
        mlp_ratio: 3.0,
        theta: 2000.0,
        distilled: true,
    };
    network.into()
}

/// N(0, 1 / inputs); what is no matrix, near 1 or 0.
fn weights(graph: &Graph, dtype: DType) -> Weights {
    let mut weights = Weights::new();
    // Drawing a thousand million normal numbers takes a minute: some, again and again.
    let mut normals = vec![0.0; 1_000_003];
    normal_fill(7, 0, &mut normals);
    let mut normals = normals.into_iter().cycle();
    for weight in graph.weights() {
        let mut values: Vec<f32> = normals.by_ref().take(weight.kind.elements()).collect();
        let (inputs, row, scaled) = match weight.kind {
            WeightKind::Conv { kernel, inp, .. } => (kernel * kernel * inp, inp, true),
            WeightKind::Linear { inp, .. } => (inp, inp, true),
            _ => (2500, 1, false),
        };
        let shift = if !scaled && weight.name.ends_with("weight") { 1.0 } else { 0.0 };
        let factor = (inputs as f32).sqrt().recip();
        values.iter_mut().for_each(|v| *v = *v * factor + shift);
        let dtype = match scaled {
            false => DType::F32,
            true => dtype.of_rows(row),
        };
        let mut bytes = Vec::new();
        quant::encode(dtype, &values, &mut bytes).expect("finite values");
        weights.push(weight.kind, dtype, &bytes).expect("the kind's size");
    }
    weights
}

fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Seconds of all threads, user and system, in hundredths (Linux).
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |i: usize, default: &str| args.get(i).cloned().unwrap_or_else(|| default.into());
    let number = |i: usize, default: &str| arg(i, default).parse::<usize>().expect("a number");
    let side = number(2, "64");
    let (graph, ids) = match arg(0, "unet").as_str() {
        "decoder" => (decoder(side), Vec::new()),
        "reused" => (unet(side, SdCache::Read), Vec::new()),
        part @ ("sd3" | "z_image" | "flux2") => {
            let (network, tokens) = match part {
                "sd3" => (sd3(), TOKENS),
                "z_image" => (z_image(), 64),
                _ => (flux2(), 512),
            };
            let request = SdRequest { height: side, width: side, tokens, ..network.smallest() };
            let ids = network.ids(&request, &[tokens]).expect("latents that it knows");
            (network.graph("", &request).expect("a published transformer"), ids)
        }
        _ => (unet(side, SdCache::Off), Vec::new()),
    };
    let name = arg(1, "f32");
    let dtype = DType::from_name(&name).expect("f32, f16, bf16, q8_0, q6_k, q5_k, q4_k or q4_0");
    let start = Instant::now();
    let weights = weights(&graph, dtype);
    let plan = Plan::new(&graph, &PLAN).expect("a plan");
    let (steps, gmacs) = (plan.steps().len(), plan.macs() as f64 / 1e9);
    let (held, arena) = (weights.bytes() >> 20, (plan.arena_len() * 4) >> 20);
    let made = start.elapsed().as_secs_f64();
    let context = Context::new(number(3, "2"));
    let mut exec = Executor::new(context, weights.into(), vec![(&graph, plan)], MemoryLimit::NONE).expect("memory");
    let scratch = (exec.bytes() >> 20) - arena;
    if arg(4, "3") == "-" {
        println!(
            "{{\"operations\": {steps}, \"gmacs\": {gmacs:.1}, \"weights_mb\": {held}, \"arena_mb\": {arena}, \"scratch_mb\": {scratch}}}"
        );
        for line in std::io::stdin().lock().lines() {
            line.expect("a line");
            let (wall, processor) = call(&mut exec, &ids);
            println!("{{\"wall\": {wall:.4}, \"processor\": {processor:.2}, \"peak_mb\": {}}}", resident("VmHWM"));
        }
        return;
    }
    println!(
        "{} {name}, {side}x{side} latents: {steps} operations, {gmacs:.1} G multiply-accumulates; weights {held} MB, \
         arena {arena} MB, scratch {scratch} MB (made in {made:.1} s)",
        arg(0, "unet")
    );
    for round in 0..number(4, "3") {
        let (wall, processor) = call(&mut exec, &ids);
        println!("round {round}: {wall:.3} s, {processor:.2} s of the processor");
    }
    println!("resident {} MB, at most {} MB", resident("VmRSS"), resident("VmHWM"));
    if args.get(5).is_some() {
        fill(&mut exec);
        profile(&mut exec, &ids);
    }
}

fn fill(exec: &mut Executor) {
    for input in exec.plans()[0].inputs().to_vec() {
        normal_fill(3, 1, exec.slot_mut(input.slot));
    }
}

/// One execution: seconds, and the processor's.
fn call(exec: &mut Executor, ids: &[Option<u32>]) -> (f64, f64) {
    fill(exec);
    let (start, before) = (Instant::now(), processor());
    exec.run(0, ids);
    (start.elapsed().as_secs_f64(), processor() - before)
}

/// Seconds by kind of operation, the slowest first.
fn profile(exec: &mut Executor, ids: &[Option<u32>]) {
    let mut kinds: BTreeMap<String, (f64, u64, usize)> = BTreeMap::new();
    for i in 0..exec.plans()[0].steps().len() {
        let start = Instant::now();
        exec.run_step(0, i, ids);
        let seconds = start.elapsed().as_secs_f64();
        let step = &exec.plans()[0].steps()[i];
        let s = step.output.shape;
        for key in [step.op.kind().to_owned(), format!("{:20} {}x{}x{}", step.op.kind(), s.h, s.w, s.c)] {
            let entry = kinds.entry(key).or_default();
            *entry = (entry.0 + seconds, entry.1 + step.macs, entry.2 + 1);
        }
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    for (kind, (seconds, macs, count)) in kinds.iter().take(48) {
        println!("{kind:36} {count:4} {seconds:8.3} s {:8.1} GFLOP/s", 2.0 * *macs as f64 / seconds / 1e9);
    }
}
