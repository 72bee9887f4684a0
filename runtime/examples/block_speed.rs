//! Times the parts of a transformer block of Stable Diffusion 1.5:
//! `cargo run --release -p nijimi-runtime --example block_speed [THREADS [ISA]]`, ISA such as
//! `avx2` or `scalar`.
//!
//! Best of many runs by the clock, and in brackets the mean by the processor time that the system charged to this
//! process (Linux only), which a busy machine disturbs less.

mod common;

use common::{cpu_seconds, noise};
use nijimi_runtime::quant::{DType, encode};
use nijimi_runtime::raw::cpu::{
    AttentionShape, Context, Epilogue, ImageShape, Isa, Matrix, activate, attention, attention_scratch, group_norm,
    group_norm_scratch, layer_norm, linear, linear_scratch,
};
use nijimi_runtime::raw::graph::Activation;
use std::time::{Duration, Instant};

/// Prints a line: seconds, and `amount` by seconds.
fn measure(what: &str, amount: f64, unit: &str, mut f: impl FnMut()) {
    f();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let (mut best, mut runs) = (f64::MAX, 0.0);
    while start.elapsed() < Duration::from_millis(700) {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
        runs += 1.0;
    }
    let cpu = cpu_seconds().zip(cpu).map_or(f64::NAN, |(b, a)| b - a);
    println!("{what:44} {:9.3} ms {:8.1} ({:.1}) {unit}", best * 1e3, amount / best, amount * runs / cpu);
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|a| a.parse().ok());
    let isa = std::env::args().nth(2);
    for threads in threads.map_or(vec![1, 2], |n| vec![n]) {
        let isa = isa.as_ref().map_or(Some(Isa::detect()), |name| {
            Isa::available().find(|isa| isa.to_string().eq_ignore_ascii_case(name))
        });
        let ctx = Context::with_isa(threads, isa.expect("an instruction set of this machine")).expect("available");
        println!("{}, {threads} threads: best (per second of processor time)", ctx.isa());
        for (tokens, keys, c, heads, causal) in [
            (4096, 4096, 320, 8, false),
            (4096, 77, 320, 8, false),
            (1024, 1024, 640, 8, false),
            (256, 256, 1280, 8, false),
            (64, 64, 1280, 8, false),
            (4096, 4096, 512, 1, false),
            (77, 77, 768, 12, true),
        ] {
            let s = AttentionShape { n: 1, queries: tokens, keys, c, heads, kv_heads: heads, causal, scale: None };
            let (q, k, v) = (noise(tokens * c), noise(keys * c), noise(keys * c));
            let (mut y, mut scratch) = (vec![0.0; tokens * c], vec![0; attention_scratch(&ctx, &s)]);
            let what = format!("attention {tokens} x {keys}, {heads} heads, c {c}");
            measure(&what, 4e-9 * (tokens * keys * c) as f64, "GFLOP/s", || {
                attention(&ctx, &s, [&q, &k, &v], None, None, &mut scratch, &mut y);
            });
        }
        let (rows, c) = (4096, 320);
        let (x, scale, bias) = (noise(rows * c), noise(c), noise(c));
        let mut y = vec![0.0; rows * c];
        let s = ImageShape { n: 1, h: 64, w: 64, c };
        let mut scratch = vec![0; group_norm_scratch(s, 32)];
        let moved = 8e-9 * (rows * c) as f64;
        for activation in [Activation::None, Activation::Silu] {
            measure(&format!("group_norm 64x64x320, 32 groups, {activation:?}"), moved, "GB/s", || {
                group_norm(&ctx, s, 32, 1e-5, [&scale, &bias], activation, Some(&x), &mut scratch, &mut y);
            });
        }
        measure("layer_norm 4096 x 320", moved, "GB/s", || {
            layer_norm(&ctx, c, 1e-5, [&scale, &bias], Some(&x), &mut y);
        });
        measure("gelu 4096 x 320", moved, "GB/s", || {
            y.copy_from_slice(&x);
            activate(&ctx, Activation::Gelu, &mut y);
        });
        for (dtype, activation) in [
            (DType::F16, Activation::None),
            (DType::F16, Activation::Geglu),
            (DType::Q8_0, Activation::None),
            (DType::Q8_0, Activation::Geglu),
        ] {
            let out = 8 * c;
            let (mut stored, bias) = (Vec::new(), noise(out));
            encode(dtype, &noise(out * c), &mut stored).expect("whole blocks");
            let w = Matrix::pack(dtype, &stored, out, 1, c).expect("weights");
            let mut y = vec![0.0; rows * if activation == Activation::Geglu { out / 2 } else { out }];
            let mut scratch = vec![0; linear_scratch(&ctx, rows, c, dtype)];
            let e = Epilogue { bias: &bias, residual: None, activation };
            let what = format!("linear 4096 x 320 -> 2560, {}, {activation:?}", dtype.name());
            measure(&what, 2e-9 * (rows * c * out) as f64, "GFLOP/s", || {
                linear(&ctx, rows, &x, &w, &e, &mut scratch, &mut y);
            });
        }
    }
}
