//! Rates at the sizes of a small latent diffusion model, batch 32, forward and backward:
//! `cargo test --release -p nijimi-trainer --lib rates -- --ignored --nocapture`.
use super::{normal, speed::time as wall};
use crate::ops::{Activation, Function, Kit, Mask, Precision};
use crate::tensor::{T1, T2, T3, T4};
use dfdx::prelude::*;

const N: usize = 32;

fn t<S: Shape>(shape: S) -> Tensor<S, f32, Cpu> {
    named("x", shape)
}

fn named<S: Shape>(name: &str, shape: S) -> Tensor<S, f32, Cpu> {
    Cpu::default().tensor_from_vec(normal(name, shape.num_elements()), shape)
}

/// Milliseconds that this process has computed, all threads together: what other processes do does not count.
fn computed() -> f64 {
    std::thread::sleep(std::time::Duration::from_millis(2));
    let of = |task: std::path::PathBuf| -> Option<f64> {
        std::fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter_map(|t| of(t.path())).sum::<f64>() / 1e6
}

/// Milliseconds of one core, forward and backward, where the system tells; else of wall time.
fn time<S: Shape>(run: impl Fn() -> Tensor<S, f32, Cpu, OwnedTape<f32, Cpu>>) -> f64 {
    let best = wall(&run);
    let begun = computed();
    wall(&run);
    let spent = (computed() - begun) / 5.0;
    if spent > 0.0 { spent } else { best }
}

/// `flops` of the forward pass; the backward pass has twice as many.
fn rate(name: &str, flops: usize, ms: f64) {
    println!("{name:44} {ms:8.2} ms {:8.0} GFLOP/s", 3.0 * flops as f64 / ms / 1e6);
}

#[test]
#[ignore = "a measurement"]
fn rates() {
    let mut precisions = vec![Precision::F32];
    precisions.extend(Cpu::precision("bf16").ok());
    let levels = [(64, 16), (128, 8), (256, 4)];
    for p in precisions {
        let label = if p == Precision::F32 { "f32" } else { "bf16" };
        for (c, side) in levels {
            let x: T4<Cpu> = t((N, c, side, side));
            let b: T1<Cpu> = t((c,));
            for k in [3, 1] {
                let w: T4<Cpu> = t((c, c, k, k));
                let ms = time(|| Cpu::conv2d_in(x.leaky_trace(), &w, &b, p));
                rate(&format!("{label} conv {k}x{k} {c}x{side}x{side}"), 2 * N * side * side * c * c * k * k, ms);
            }
        }
        let sizes = [(256, 64, 64), (256, 64, 512), (64, 128, 128), (64, 512, 128), (16, 256, 256), (16, 256, 2048)];
        for (s, i, o) in sizes.into_iter().chain([(32, 192, 192), (32, 192, 768), (32, 192, 64), (1, 256, 256)]) {
            let (x, w, b): (T3<Cpu>, T2<Cpu>, T1<Cpu>) = (t((N, s, i)), t((o, i)), t((o,)));
            let ms = time(|| Cpu::linear(x.leaky_trace(), &w, Some(&b), p));
            rate(&format!("{label} linear {s} x {i} to {o}"), 2 * N * s * i * o, ms);
        }
    }
    for (c, side) in levels {
        let (s, heads) = (side * side, c / 32);
        let (x, picture, g): (T3<Cpu>, T4<Cpu>, T1<Cpu>) = (t((N, s, c)), t((N, c, side, side)), t((c,)));
        let (q, k, v, text): (T3<Cpu>, T3<Cpu>, T3<Cpu>, T3<Cpu>) =
            (t((N, s, c)), named("k", (N, s, c)), named("v", (N, s, c)), named("k", (N, 32, c)));
        let text_v: T3<Cpu> = named("v", (N, 32, c));
        let show = |name: &str, ms: f64| println!("{name:20} {c:4} channels {side:2}x{side:2} {ms:8.2} ms");
        let attend = |k: &T3<Cpu>, v: &T3<Cpu>| {
            time(|| Cpu::multi_head_attention(q.leaky_trace(), k.retaped(), v.retaped(), heads, Mask::None))
        };
        show("self-attention", attend(&k, &v));
        show("cross-attention", attend(&text, &text_v));
        let norm = |a| time(|| Cpu::group_norm(picture.leaky_trace(), &g, &g, 16, 1e-5, a));
        show("group norm", norm(Activation::None));
        show("group norm, SiLU", norm(Activation::Silu));
        show("layer norm", time(|| Cpu::layer_norm(x.leaky_trace(), &g, &g, 1e-5)));
        show("tokens", time(|| Cpu::tokens(picture.leaky_trace())));
        show("pictures", time(|| Cpu::pictures(x.leaky_trace(), (side, side))));
        show("add", time(|| Cpu::add(x.leaky_trace(), q.retaped())));
        show("silu", time(|| Cpu::silu(x.leaky_trace())));
        show("gelu", time(|| Cpu::activate(x.leaky_trace(), Function::Gelu)));
        let wide: T3<Cpu> = t((N, s, 8 * c));
        show("geglu of 8 c", time(|| Cpu::geglu(wide.leaky_trace())));
    }
}
