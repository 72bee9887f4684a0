use super::{Form, check, finish, normal};
use crate::ops::{Kit, Mask, composed};
use crate::tensor::{T2, T4};
use dfdx::prelude::*;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    None,
    Causal,
    Add,
}

/// Batch, heads, queries, keys, length of a vector.
fn attend((b, heads, sq, sk, d): (usize, usize, usize, usize, usize), which: Which) {
    let (q, kv) = ((b, heads, sq, d), (b, heads, sk, d));
    let (nq, nk) = (b * heads * sq * d, b * heads * sk * d);
    let mut added = normal("mask", sq * sk);
    if sk > 1 {
        // A key that no query sees.
        added.iter_mut().skip(1).step_by(sk).for_each(|m| *m = -1e30);
    }
    check(&[normal("q", nq), normal("k", nk), normal("v", nk)], 5e-3, |v, form| {
        let dev = Cpu::default();
        let q: T4<Cpu> = dev.tensor_from_vec(v[0].clone(), q);
        let k: T4<Cpu> = dev.tensor_from_vec(v[1].clone(), kv);
        let v: T4<Cpu> = dev.tensor_from_vec(v[2].clone(), kv);
        let added: T2<Cpu> = dev.tensor_from_vec(added.clone(), (sq, sk));
        let mask = match which {
            Which::None => Mask::None,
            Which::Causal => Mask::Causal,
            Which::Add => Mask::Add(&added),
        };
        let (tq, tk, tv) = (q.leaky_trace(), k.retaped(), v.retaped());
        let y = match form {
            Form::Fused => Cpu::attention(tq, tk, tv, mask),
            Form::Composed => composed::attention(tq, tk, tv, mask),
        };
        finish(y, &[&q, &k, &v])
    });
}

/// Seen red without `delta` in the scores' gradient.
#[test]
fn attention() {
    attend((1, 1, 3, 2, 5), Which::None);
    attend((2, 3, 7, 9, 5), Which::None);
    attend((1, 2, 70, 33, 6), Which::None);
}

/// Seen red with all keys seen where the backward pass computes the scores again (`causal: false`).
#[test]
fn attention_causal() {
    attend((2, 3, 7, 7, 5), Which::Causal);
    attend((1, 2, 131, 131, 4), Which::Causal);
}

/// Seen red with the mask left out where the backward pass computes the scores again.
#[test]
fn attention_masked() {
    attend((2, 2, 7, 5, 4), Which::Add);
    attend((1, 1, 67, 9, 4), Which::Add);
}

/// Operands as they come from splitting heads off: permuted views of (batch, length, heads, d), here of one tensor
/// each.
/// Seen red without the copy of views.
#[test]
fn attention_of_views() {
    let (b, s, heads, d) = (2, 5, 3, 4);
    let n = b * s * heads * d;
    check(&[normal("q", n), normal("k", n), normal("v", n)], 5e-3, |v, form| {
        let dev = Cpu::default();
        let leaf = |v: &[f32]| -> T4<Cpu> { dev.tensor_from_vec(v.to_vec(), (b, s, heads, d)) };
        let (q, k, v) = (leaf(&v[0]), leaf(&v[1]), leaf(&v[2]));
        let tq: super::Traced<_> = q.leaky_trace().permute::<_, Axes4<0, 2, 1, 3>>();
        let (tk, tv) = (k.retaped().permute::<_, Axes4<0, 2, 1, 3>>(), v.retaped().permute::<_, Axes4<0, 2, 1, 3>>());
        let y = match form {
            Form::Fused => Cpu::attention(tq, tk, tv, Mask::None),
            Form::Composed => composed::attention(tq, tk, tv, Mask::None),
        };
        finish(y, &[&q, &k, &v])
    });
}
