//! Fused against composed: `cargo test --release -p nijimi-trainer --lib speed -- --ignored --nocapture`.
use super::normal;
use crate::ops::{Activation, Kit, Mask, Precision, composed};
use crate::tensor::{T1, T2, T3, T4};
use dfdx::prelude::*;
use std::time::Instant;

type Recorded = OwnedTape<f32, Cpu>;

/// Best of five, forward and backward, in milliseconds.
pub(super) fn time<S: Shape>(run: impl Fn() -> Tensor<S, f32, Cpu, Recorded>) -> f64 {
    let once = || {
        let begun = Instant::now();
        let (y, mut tape) = run().split_tape();
        let ghost = y.ghost();
        tape.add_backward_op(move |g| {
            g.get_or_alloc_mut(&ghost)?.fill(1.0);
            Ok(())
        });
        let end: Tensor<Rank0, f32, Cpu> = y.device().tensor_from_vec(vec![0.0], ());
        _ = end.put_tape(tape).backward();
        begun.elapsed().as_secs_f64() * 1e3
    };
    (0..5).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn compare<S: Shape>(
    name: &str,
    fused: impl Fn() -> Tensor<S, f32, Cpu, Recorded>,
    composed: impl Fn() -> Tensor<S, f32, Cpu, Recorded>,
) {
    let (f, c) = (time(fused), time(composed));
    println!("{name:32} fused {f:8.2} ms  composed {c:8.2} ms  {:6.1} x", c / f);
    assert!(f < c, "{name}: the fused form is slower");
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let d = Cpu::default();
    let t4 = |name: &str, shape: (usize, usize, usize, usize)| -> T4<Cpu> {
        d.tensor_from_vec(normal(name, shape.0 * shape.1 * shape.2 * shape.3), shape)
    };
    let t1 = |name: &str, n: usize| -> T1<Cpu> { d.tensor_from_vec(normal(name, n), (n,)) };
    let x = t4("x", (16, 64, 32, 32));
    let (w, b) = (t4("w", (64, 64, 3, 3)), t1("b", 64));
    let trace = || x.leaky_trace();
    compare("conv2d 16x64x32x32", || Cpu::conv2d(trace(), &w, &b), || composed::conv2d(trace(), &w, &b));
    compare(
        "conv2d_stride2 16x64x32x32",
        || Cpu::conv2d_stride2(trace(), &w, &b, 1, Precision::F32),
        || composed::conv2d_stride2(trace(), &w, &b, 1),
    );
    let (small, up) = (t4("x", (16, 64, 16, 16)), t4("w", (64, 64, 2, 2)));
    compare(
        "conv_transpose2d 16x64x16x16",
        || Cpu::conv_transpose2d(small.leaky_trace(), &up, &b, 2, 0),
        || composed::conv_transpose2d(small.leaky_trace(), &up, &b, 2, 0),
    );
    compare("avg_pool2 16x64x32x32", || Cpu::avg_pool2(trace()), || composed::avg_pool2(trace()));
    compare(
        "upsample_nearest2 16x64x32x32",
        || Cpu::upsample_nearest2(trace()),
        || composed::upsample_nearest2(trace()),
    );
    for a in [Activation::None, Activation::Silu] {
        let name = format!("group_norm {a:?} 16x64x32x32");
        compare(
            &name,
            || Cpu::group_norm(trace(), &b, &b, 8, 1e-5, a),
            || composed::group_norm(trace(), &b, &b, 8, 1e-5, a),
        );
    }
    compare("silu 16x64x32x32", || Cpu::silu(trace()), || composed::silu(trace()));
    let (rows, g): (T3<Cpu>, T1<Cpu>) = (d.tensor_from_vec(normal("x", 32 * 77 * 128), (32, 77, 128)), t1("g", 128));
    compare(
        "layer_norm 32x77x128",
        || Cpu::layer_norm(rows.leaky_trace(), &g, &g, 1e-5),
        || composed::layer_norm(rows.leaky_trace(), &g, &g, 1e-5),
    );
    let (q, k, v) = (t4("q", (8, 4, 256, 32)), t4("k", (8, 4, 256, 32)), t4("v", (8, 4, 256, 32)));
    for mask in [Mask::None, Mask::Causal] {
        let name = if matches!(mask, Mask::None) { "attention 8x4x256x32" } else { "attention causal 8x4x256x32" };
        compare(
            name,
            || Cpu::attention(q.leaky_trace(), k.retaped(), v.retaped(), mask.clone()),
            || composed::attention(q.leaky_trace(), k.retaped(), v.retaped(), mask.clone()),
        );
    }
    let table: T2<Cpu> = d.tensor_from_vec(normal("table", 4096 * 128), (4096, 128));
    let ids: Vec<usize> = (0..32 * 77).map(|i| i * 37 % 4096).collect();
    compare(
        "embedding 4096x128, 32x77",
        || Cpu::embedding(table.leaky_trace(), &ids, (32, 77)),
        || composed::embedding(table.leaky_trace(), &ids, (32, 77)),
    );
}
