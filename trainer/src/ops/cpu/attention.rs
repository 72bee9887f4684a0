//! Softmax attention, a block of queries at a time. Of the scores nothing is kept: the backward pass computes them
//! again from each row's log-sum-exp, so memory grows with the sequence, not with its square. Dao et al. 2022.
use super::exp::exp;
use super::storage::{Operand, as_uninit, data, gemm, take_gradient};
use super::sum::{largest, sum_by, sum_by2};
use super::window::add_all;
use crate::ops::Mask;
use crate::tensor::{T2, T4, Tp};
use dfdx::prelude::*;
use rayon::prelude::*;

/// Queries in a block: its scores stay in the cache.
const ROWS: usize = 64;

#[derive(Clone, Copy)]
struct Size {
    /// Queries.
    q: usize,
    /// Keys and values.
    k: usize,
    /// Length of a vector.
    d: usize,
    causal: bool,
}

impl Size {
    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }
    /// Keys that a block with the queries up to `end` can see.
    fn keys(&self, end: usize) -> usize {
        if self.causal { end.min(self.k) } else { self.k }
    }
}

/// `scores = scale * q k^T + mask` of the queries from `first` on, against the keys that they can see; returns how
/// many keys.
fn scores<'s>(
    q: &[f32],
    k: &[f32],
    mask: Option<&[f32]>,
    first: usize,
    s: Size,
    buffer: &'s mut [f32],
) -> &'s mut [f32] {
    let rows = q.len() / s.d;
    let keys = s.keys(first + rows);
    let out = &mut buffer[..rows * keys];
    gemm(rows, keys, s.d, Operand(q, s.d, 1), Operand(k, 1, s.d), as_uninit(out), false);
    let scale = s.scale();
    for (r, row) in out.chunks_exact_mut(keys).enumerate() {
        match mask {
            Some(m) => row.iter_mut().zip(&m[(first + r) * s.k..][..keys]).for_each(|(x, m)| *x = *x * scale + m),
            None => row.iter_mut().for_each(|x| *x *= scale),
        }
        if s.causal {
            row[(first + r + 1).min(keys)..].fill(f32::NEG_INFINITY);
        }
    }
    out
}

/// One block of one head: `y` and each row's log-sum-exp.
fn forward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    mask: Option<&[f32]>,
    first: usize,
    s: Size,
    out: (&mut [f32], &mut [f32]),
) {
    let (y, lse) = out;
    let mut buffer = vec![0f32; ROWS.min(s.q) * s.k];
    let p = scores(q, k, mask, first, s, &mut buffer);
    let rows = lse.len();
    let keys = p.len() / rows;
    for (row, lse) in p.chunks_exact_mut(keys).zip(lse) {
        let top = largest(row);
        row.iter_mut().for_each(|x| *x = exp(*x - top));
        let sum = sum_by(row, |x| x);
        let inverse = (1.0 / sum) as f32;
        row.iter_mut().for_each(|x| *x *= inverse);
        *lse = top + libm::log(sum) as f32;
    }
    gemm(rows, s.d, keys, Operand(p, keys, 1), Operand(v, s.d, 1), as_uninit(y), false);
}

/// The tensors of one head.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    y: &'a [f32],
    go: &'a [f32],
    lse: &'a [f32],
}

/// One head: writes the gradient of the queries, adds to those of keys and values.
fn backward(h: Head, mask: Option<&[f32]>, s: Size, gq: &mut [f32], gk: &mut [f32], gv: &mut [f32]) {
    let block = ROWS.min(s.q);
    let (mut p_buffer, mut g_buffer) = (vec![0f32; block * s.k], vec![0f32; block * s.k]);
    for (i, gq) in gq.chunks_mut(block * s.d).enumerate() {
        let (first, rows) = (i * block, gq.len() / s.d);
        let at = first * s.d..(first + rows) * s.d;
        let (q, y, go) = (&h.q[at.clone()], &h.y[at.clone()], &h.go[at]);
        let p = scores(q, h.k, mask, first, s, &mut p_buffer);
        let keys = p.len() / rows;
        let g = &mut g_buffer[..rows * keys];
        gemm(rows, keys, s.d, Operand(go, s.d, 1), Operand(h.v, 1, s.d), as_uninit(g), false);
        let scale = s.scale();
        for (r, (p, g)) in p.chunks_exact_mut(keys).zip(g.chunks_exact_mut(keys)).enumerate() {
            let lse = h.lse[first + r];
            let delta = sum_by2(&go[r * s.d..][..s.d], &y[r * s.d..][..s.d], |a, b| a * b) as f32;
            for (p, g) in p.iter_mut().zip(g) {
                *p = exp(*p - lse);
                *g = *p * (*g - delta) * scale;
            }
        }
        gemm(rows, s.d, keys, Operand(g, keys, 1), Operand(h.k, s.d, 1), as_uninit(gq), false);
        gemm(keys, s.d, rows, Operand(g, 1, keys), Operand(q, s.d, 1), as_uninit(gk), true);
        gemm(keys, s.d, rows, Operand(p, 1, keys), Operand(go, s.d, 1), as_uninit(gv), true);
    }
}

/// See [`crate::ops::Kit::attention`].
pub fn attention<T: Tp<Cpu>>(q: T4<Cpu, T>, k: T4<Cpu, T>, v: T4<Cpu, T>, mask: Mask<Cpu>) -> T4<Cpu, T> {
    let (b, heads, sq, d) = *q.shape();
    let sk = k.shape().2;
    assert_eq!((k.shape(), k.shape()), (v.shape(), &(b, heads, sk, d)), "keys and values fit the queries");
    let causal = matches!(mask, Mask::Causal);
    assert!(!causal || sq == sk, "a causal mask needs as many queries ({sq}) as keys ({sk})");
    let mask: Option<T2<Cpu>> = if let Mask::Add(m) = mask { Some(m.clone()) } else { None };
    assert!(mask.as_ref().is_none_or(|m| *m.shape() == (sq, sk)), "the mask is (queries, keys)");
    let s = Size { q: sq, k: sk, d, causal };
    // Heads split off by a permutation are views: those are copied, all else is not.
    let (q, tape) = q.contiguous().split_tape();
    let (k, k_tape) = k.contiguous().split_tape();
    let (v, v_tape) = v.contiguous().split_tape();
    let mut tape = tape.merge(k_tape).merge(v_tape);
    let (mut y, mut lse) = (vec![0f32; b * heads * sq * d], vec![0f32; b * heads * sq]);
    let (qs, ks, vs, ms) = (data(&q), data(&k), data(&v), mask.as_ref().map(data));
    y.par_chunks_mut(sq * d).zip(lse.par_chunks_mut(sq)).enumerate().for_each(|(i, (y, lse))| {
        let (q, k, v) = (&qs[i * sq * d..][..sq * d], &ks[i * sk * d..][..sk * d], &vs[i * sk * d..][..sk * d]);
        let blocks = y.par_chunks_mut(ROWS * d).zip(lse.par_chunks_mut(ROWS)).zip(q.par_chunks(ROWS * d)).enumerate();
        blocks.for_each(|(j, ((y, lse), q))| forward(q, k, v, ms, j * ROWS, s, (y, lse)));
    });
    let out = q.device().tensor_from_vec(y, (b, heads, sq, d));
    let (og, kept) = (out.ghost(), out.clone());
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let (qs, ks, vs, ys, ms) = (data(&q), data(&k), data(&v), data(&kept), mask.as_ref().map(data));
        let (mut gq, mut gk, mut gv) = (vec![0f32; qs.len()], vec![0f32; ks.len()], vec![0f32; vs.len()]);
        let per_head =
            gq.par_chunks_mut(sq * d).zip(gk.par_chunks_mut(sk * d)).zip(gv.par_chunks_mut(sk * d)).enumerate();
        per_head.for_each(|(i, ((gq, gk), gv))| {
            let (mine, theirs) = (i * sq * d..(i + 1) * sq * d, i * sk * d..(i + 1) * sk * d);
            let head = Head {
                q: &qs[mine.clone()],
                k: &ks[theirs.clone()],
                v: &vs[theirs],
                y: &ys[mine.clone()],
                go: &go[mine],
                lse: &lse[i * sq..(i + 1) * sq],
            };
            backward(head, ms, s, gq, gk, gv);
        });
        // Into fresh buffers first: queries, keys and values may be one tensor.
        add_all(g.get_or_alloc_mut(&q)?, &gq);
        add_all(g.get_or_alloc_mut(&k)?, &gk);
        add_all(g.get_or_alloc_mut(&v)?, &gv);
        Ok(())
    });
    out.put_tape(tape)
}
