//! Attention's gradients, a head at a time on all threads.
use crate::ops::cpu::attention::{attended, attended_backward};
use crate::ops::cpu::parallel::prelude::*;
use nijimi_runtime::raw::cpu::AttentionShape;

/// `(n, tokens, heads, d)` as `(n, heads, tokens, d)`.
fn split(x: &[f32], [tokens, heads, d]: [usize; 3]) -> Vec<f32> {
    let mut y = vec![0f32; x.len()];
    y.par_chunks_mut(tokens * d).enumerate().for_each(|(i, y)| {
        let x = &x[i / heads * tokens * heads * d + i % heads * d..];
        for (y, x) in y.chunks_exact_mut(d).zip(x.chunks(heads * d)) {
            y.copy_from_slice(&x[..d]);
        }
    });
    y
}

/// The reverse of [`split`].
fn joined(x: &[f32], [tokens, heads, d]: [usize; 3]) -> Vec<f32> {
    let mut y = vec![0f32; x.len()];
    y.par_chunks_mut(heads * d).enumerate().for_each(|(i, y)| {
        let (n, token) = (i / tokens, i % tokens);
        for (head, y) in y.chunks_exact_mut(d).enumerate() {
            y.copy_from_slice(&x[((n * heads + head) * tokens + token) * d..][..d]);
        }
    });
    y
}

/// The gradients of queries, keys and values.
pub(super) fn backward(s: &AttentionShape, qkv: [&[f32]; 3], go: &[f32]) -> [Vec<f32>; 3] {
    let (heads, d) = (s.heads, s.c / s.heads);
    let [queries, keys] = [[s.queries, heads, d], [s.keys, heads, d]];
    let (q, k, v, go) = (split(qkv[0], queries), split(qkv[1], keys), split(qkv[2], keys), split(go, queries));
    let sizes = (s.queries, s.keys, 1, d);
    let (y, lse) = attended([&q, &k, &v], None, s.causal, (s.n * heads, sizes));
    let [gq, gk, gv] = attended_backward([&q, &k, &v], [&y, &lse, &go], None, s.causal, sizes);
    [joined(&gq, queries), joined(&gk, keys), joined(&gv, keys)]
}
