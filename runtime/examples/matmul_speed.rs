//! Times the convolutions of the book's U-Net:
//! `cargo run --release -p nijimi-runtime --example matmul_speed [THREADS [FORMAT [INSTRUCTION SET]]]`, the last as the heading names it.
//!
//! Prints 10^9 operations (two for each multiply-add) a second: best of many runs by the clock, and in brackets the
//! mean by the processor time that the system charged to this process (Linux only; to some 2 %), which a busy machine
//! disturbs less; a thread that waits by spinning is charged too.

mod common;

use common::{cpu_seconds, noise};
use nijimi_runtime::quant::{DType, encode};
use nijimi_runtime::raw::cpu::{Context, Conv2dShape, Epilogue, Isa, Matrix, conv2d, conv2d_scratch};
use nijimi_runtime::raw::graph::Activation;
use std::time::{Duration, Instant};

/// (height and width, input channels, output channels) of 3x3 convolutions, pad 1.
const SHAPES: [(usize, usize, usize); 10] = [
    (28, 1, 64),
    (28, 64, 64),
    (14, 64, 128),
    (14, 128, 128),
    (7, 128, 256),
    (7, 256, 256),
    (14, 384, 128),
    (14, 256, 128),
    (14, 512, 128),
    (28, 192, 64),
];
const BATCH: usize = 20;
const FORMATS: [DType; 7] = [DType::F32, DType::F16, DType::Q8_0, DType::Q6K, DType::Q5K, DType::Q4K, DType::Q4_0];

fn measure(ctx: &Context, s: &Conv2dShape, dtype: DType) -> (f64, f64) {
    let mut stored = Vec::new();
    let weights = noise(s.c_out * s.kernel * s.kernel * s.c_in);
    encode(dtype, &weights, &mut stored).expect("whole blocks");
    let w = Matrix::pack(dtype, &stored, s.c_out, s.kernel * s.kernel, s.c_in).expect("weights");
    let (x, bias) = (noise(s.n * s.h * s.w * s.c_in), noise(s.c_out));
    let mut y = vec![0.0; s.n * s.out_h() * s.out_w() * s.c_out];
    let mut scratch = vec![0; conv2d_scratch(ctx, s, dtype)];
    let e = Epilogue { bias: &bias, residual: None, activation: Activation::Relu };
    let giga = 2e-9 * (y.len() * s.kernel * s.kernel * s.c_in) as f64;
    conv2d(ctx, s, &x, &w, &e, &mut scratch, &mut y);
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let (mut best, mut runs) = (f64::MAX, 0.0);
    while start.elapsed() < Duration::from_millis(500) {
        let t = Instant::now();
        conv2d(ctx, s, &x, &w, &e, &mut scratch, &mut y);
        best = best.min(t.elapsed().as_secs_f64());
        runs += 1.0;
    }
    let cpu = cpu_seconds().zip(cpu).map_or(f64::NAN, |(b, a)| b - a);
    (giga / best, giga * runs / cpu)
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|a| a.parse().ok());
    let only = std::env::args().nth(2);
    for threads in threads.map_or(vec![1, 2], |n| vec![n]) {
        let ctx = match std::env::args().nth(3) {
            None => Context::new(threads),
            Some(name) => {
                let isa =
                    Isa::available().find(|isa| isa.to_string() == name).expect("an instruction set of this machine");
                Context::with_isa(threads, isa).expect("it is of this machine")
            }
        };
        println!("{}, {threads} threads, batch {BATCH}: 10^9 op/s, best (per second of processor time)", ctx.isa());
        print!("{:18}", "3x3");
        FORMATS.iter().for_each(|d| print!("{:>16}", d.name()));
        println!();
        for (size, c_in, c_out) in SHAPES {
            print!("{:18}", format!("{size}x{size} {c_in} -> {c_out}"));
            for dtype in FORMATS {
                if dtype.row_bytes(c_in).is_none() || only.as_ref().is_some_and(|n| n != dtype.name()) {
                    print!("{:>16}", "-");
                    continue;
                }
                let s = Conv2dShape {
                    n: BATCH,
                    h: size,
                    w: size,
                    c_in,
                    c_out,
                    kernel: 3,
                    stride: 1,
                    upsample: false,
                    pad: 1,
                    pad_end: 1,
                };
                let (best, cpu) = measure(&ctx, &s, dtype);
                print!("{:>16}", format!("{best:.0} ({cpu:.0})"));
            }
            println!();
        }
    }
}
