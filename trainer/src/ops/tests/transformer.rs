use super::{Form, Traced, check, finish, normal};
use crate::ops::{Function, Kit, Mask, Precision, composed};
use crate::tensor::{T1, T2, T3, T4};
use dfdx::prelude::*;

fn sequences(v: &[f32], shape: (usize, usize, usize)) -> T3<Cpu> {
    Cpu::default().tensor_from_vec(v.to_vec(), shape)
}

/// Seen red with the weights' gradient of all output features taken from the first ones (`go[0..]`).
#[test]
fn linear() {
    for (n, s, i, o) in [(1, 1, 1, 1), (3, 7, 5, 4), (2, 41, 19, 33), (1, 300, 6, 9)] {
        for bias in [true, false] {
            let mut inputs = vec![normal("x", n * s * i), normal("w", o * i)];
            inputs.extend(bias.then(|| normal("b", o)));
            check(&inputs, 1e-2, |v, form| {
                let d = Cpu::default();
                let (x, w): (_, T2<Cpu>) = (sequences(&v[0], (n, s, i)), d.tensor_from_vec(v[1].clone(), (o, i)));
                let b: Option<T1<Cpu>> = v.get(2).map(|b| d.tensor_from_vec(b.clone(), (o,)));
                let y = match form {
                    Form::Fused => Cpu::linear(x.leaky_trace(), &w, b.as_ref(), Precision::F32),
                    Form::Composed => composed::linear(x.leaky_trace(), &w, b.as_ref()),
                };
                match &b {
                    Some(b) => finish(y, &[&x, &w, b]),
                    None => finish(y, &[&x, &w]),
                }
            });
        }
    }
}

pub(super) fn round(v: &[f32]) -> Vec<f32> {
    v.iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect()
}

/// In bf16: the values and gradients of the composed form with rounded operands, and the same on any number of threads.
/// Seen red with one pass only over what is summed (`panels`), and with no more than nine rows of a panel packed.
#[test]
fn linear_in_bf16() {
    let Ok(precision) = Cpu::precision("bf16") else {
        eprintln!("skipped: this CPU has no AVX-512 BF16");
        return;
    };
    // Odd sizes, whole tiles, several passes over what is summed, fewer rows than parts.
    for (n, s, i, o) in [(1, 1, 16, 16), (3, 7, 17, 21), (2, 600, 48, 64), (5, 9, 1030, 40), (1, 33, 64, 130)] {
        let (x, w, b) = (normal("x", n * s * i), normal("w", o * i), normal("b", o));
        let run = |form: Form, x: &[f32], w: &[f32]| {
            let d = Cpu::default();
            let (x, w): (_, T2<Cpu>) = (sequences(x, (n, s, i)), d.tensor_from_vec(w.to_vec(), (o, i)));
            let b: T1<Cpu> = d.tensor_from_vec(b.clone(), (o,));
            let y = match form {
                Form::Fused => Cpu::linear(x.leaky_trace(), &w, Some(&b), precision),
                Form::Composed => composed::linear(x.leaky_trace(), &w, Some(&b)),
            };
            super::finish_with(y, &[&x, &w, &b], round)
        };
        let (fused, expected) = (run(Form::Fused, &x, &w), run(Form::Composed, &round(&x), &round(&w)));
        super::assert_close(&fused.y, &expected.y, 1e-5, "output");
        for (i, (f, e)) in fused.gradients.iter().zip(&expected.gradients).enumerate() {
            super::assert_close(&super::wide(f), &super::wide(e), 1e-5, &format!("gradient {i}"));
        }
        for threads in [1, 2] {
            let other = crate::ops::cpu::parallel::with_threads(threads, || run(Form::Fused, &x, &w));
            assert!(other.y == fused.y && other.gradients == fused.gradients, "other values with {threads} threads");
        }
    }
}

/// Seen red with the density's term left out of GELU's derivative.
#[test]
fn activations() {
    for f in [Function::Gelu, Function::QuickGelu] {
        for shape in [(1, 1, 1), (3, 7, 5), (3, 101, 67)] {
            let x: Vec<f32> = normal("x", shape.0 * shape.1 * shape.2).iter().map(|x| 3.0 * x).collect();
            check(&[x], 5e-3, |v, form| {
                let x = sequences(&v[0], shape);
                let t = x.leaky_trace();
                finish(if form == Form::Fused { Cpu::activate(t, f) } else { composed::activate(t, f) }, &[&x])
            });
        }
    }
}

/// Against the definitions in f64, so that the two forms cannot be wrong together.
#[test]
fn activations_equal_the_definitions() {
    let n = 4001;
    let x: Vec<f32> = (0..n).map(|i| (i as f32 - 2000.0) * 5e-3).collect();
    let t = sequences(&x, (1, 1, n));
    for (f, definition) in [
        (Function::Gelu, (|x| x * 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)) as fn(f64) -> f64),
        (Function::QuickGelu, |x| x / (1.0 + (-1.702 * x).exp())),
    ] {
        for y in [Cpu::activate(t.clone(), f).as_vec(), composed::activate(t.clone(), f).as_vec()] {
            for (x, y) in x.iter().zip(y) {
                let x = f64::from(*x);
                let error = (f64::from(y) - definition(x)).abs();
                assert!(error <= 3e-7 * x.abs().max(1.0), "{f:?}({x}): {y}, not {}", definition(x));
            }
        }
    }
}

/// Seen red with the value left out of the gate's gradient.
#[test]
fn geglu() {
    for (n, s, c) in [(1, 1, 1), (3, 7, 5), (2, 33, 37)] {
        check(&[normal("x", n * s * 2 * c)], 5e-3, |v, form| {
            let x = sequences(&v[0], (n, s, 2 * c));
            let t = x.leaky_trace();
            finish(if form == Form::Fused { Cpu::geglu(t) } else { composed::geglu(t) }, &[&x])
        });
    }
}

/// The value comes first and the gate second, as diffusers' `GEGLU` and the runtime's linear layer have it.
#[test]
fn geglu_gates_with_the_second_half() {
    let y = Cpu::geglu(sequences(&[2.0, 3.0, -10.0, 10.0], (1, 1, 4))).as_vec();
    assert!(y[0].abs() < 1e-5 && (y[1] - 30.0).abs() < 1e-5, "{y:?}");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    None,
    Causal,
    Add,
}

/// Sequences, queries, keys, heads, features of a head.
fn attend((n, sq, sk, heads, d): (usize, usize, usize, usize, usize), which: Which) {
    let c = heads * d;
    let added = normal("mask", sq * sk);
    let inputs = [normal("q", n * sq * c), normal("k", n * sk * c), normal("v", n * sk * c)];
    check(&inputs, 5e-3, |v, form| {
        let (q, k, v) = (sequences(&v[0], (n, sq, c)), sequences(&v[1], (n, sk, c)), sequences(&v[2], (n, sk, c)));
        let added: T2<Cpu> = Cpu::default().tensor_from_vec(added.clone(), (sq, sk));
        let mask = match which {
            Which::None => Mask::None,
            Which::Causal => Mask::Causal,
            Which::Add => Mask::Add(&added),
        };
        let (tq, tk, tv) = (q.leaky_trace(), k.retaped(), v.retaped());
        let y = match form {
            Form::Fused => Cpu::multi_head_attention(tq, tk, tv, heads, mask),
            Form::Composed => composed::multi_head_attention(tq, tk, tv, heads, mask),
        };
        finish(y, &[&q, &k, &v])
    });
}

/// Seen red with every head's log-sum-exp that of the first in the backward pass.
#[test]
fn multi_head_attention() {
    attend((1, 3, 2, 1, 5), Which::None);
    attend((2, 7, 9, 3, 5), Which::None);
    attend((1, 70, 33, 2, 6), Which::None);
}

/// Seen red as [`multi_head_attention`].
#[test]
fn multi_head_attention_masked() {
    attend((2, 7, 7, 3, 5), Which::Causal);
    attend((1, 131, 131, 2, 4), Which::Causal);
    attend((2, 7, 5, 2, 4), Which::Add);
    attend((1, 67, 9, 1, 4), Which::Add);
}

const SHAPES: [(usize, usize, usize, usize); 3] = [(1, 2, 1, 3), (3, 5, 7, 4), (11, 34, 3, 18)];

/// Seen red with rows and columns exchanged in the backward pass.
#[test]
fn tokens() {
    for shape in SHAPES {
        check(&[normal("x", shape.0 * shape.1 * shape.2 * shape.3)], 1e-2, |v, form| {
            let x: T4<Cpu> = Cpu::default().tensor_from_vec(v[0].clone(), shape);
            let t = x.leaky_trace();
            finish(if form == Form::Fused { Cpu::tokens(t) } else { composed::tokens(t) }, &[&x])
        });
    }
}

/// Seen red with rows and columns exchanged in the backward pass.
#[test]
fn pictures() {
    for (n, c, h, w) in SHAPES {
        check(&[normal("x", n * c * h * w)], 1e-2, |v, form| {
            let x = sequences(&v[0], (n, h * w, c));
            let t = x.leaky_trace();
            finish(if form == Form::Fused { Cpu::pictures(t, (h, w)) } else { composed::pictures(t, (h, w)) }, &[&x])
        });
    }
}

/// Known values: channel 0 is 0 to 5 row by row, channel 1 ten more.
#[test]
fn tokens_are_pixels_row_by_row() {
    let v: Vec<f32> = (0..6).chain(10..16).map(|v| v as f32).collect();
    let x: T4<Cpu> = Cpu::default().tensor_from_vec(v.clone(), (1, 2, 2, 3));
    for t in [Cpu::tokens(x.clone()), composed::tokens(x.clone())] {
        assert_eq!(t.as_vec(), [0.0, 10.0, 1.0, 11.0, 2.0, 12.0, 3.0, 13.0, 4.0, 14.0, 5.0, 15.0]);
        assert_eq!(Cpu::pictures(t, (2, 3)).as_vec(), v);
    }
}

/// Seen red without the gradient of `b`.
#[test]
fn add() {
    for shape in [(1, 1, 1), (3, 7, 5), (3, 101, 67)] {
        let n = shape.0 * shape.1 * shape.2;
        check(&[normal("a", n), normal("b", n)], 1e-2, |v, form| {
            let (a, b) = (sequences(&v[0], shape), sequences(&v[1], shape));
            let (ta, tb): (Traced<_>, Traced<_>) = (a.leaky_trace(), b.retaped());
            finish(if form == Form::Fused { Cpu::add(ta, tb) } else { composed::add(ta, tb) }, &[&a, &b])
        });
    }
}

/// One tensor's two uses: each adds its gradient. Seen red with the gradient of one use.
#[test]
fn add_to_itself() {
    check(&[normal("a", 105)], 1e-2, |v, form| {
        let a = sequences(&v[0], (3, 7, 5));
        let (t, again): (Traced<_>, Traced<_>) = (a.leaky_trace(), a.retaped());
        finish(if form == Form::Fused { Cpu::add(t, again) } else { composed::add(t, again) }, &[&a])
    });
}
