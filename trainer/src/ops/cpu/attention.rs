//! Softmax attention, a block of queries at a time. Of the scores nothing is kept: the backward pass computes them
//! again from each row's log-sum-exp, so memory grows with the sequence, not with its square. Dao et al. 2022. Heads are read
//! where they lie, `d` features of each token's `c`; with heads split off already there is one of `d` features.
use super::exp::exp;
use super::parallel::prelude::*;
use super::storage::{Operand, as_uninit, data, gemm, gemm_rows, gemm_scaled, take_gradient};
use super::sum::{largest, sum_by, sum_by2};
use super::wide;
use super::window::add_all;
use crate::ops::Mask;
use crate::tensor::{T2, T3, T4, Tp};
use dfdx::prelude::*;

/// Queries in a block: its scores stay in the cache.
const ROWS: usize = 64;

#[derive(Clone, Copy)]
struct Size {
    /// Queries.
    q: usize,
    /// Keys and values.
    k: usize,
    /// Heads.
    heads: usize,
    /// Features of a head.
    d: usize,
    causal: bool,
}

impl Size {
    /// Features of a token: those of all heads.
    fn c(&self) -> usize {
        self.heads * self.d
    }
    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }
    /// Keys that a block with the queries up to `end` can see.
    fn keys(&self, end: usize) -> usize {
        if self.causal { end.min(self.k) } else { self.k }
    }
    /// Tokens of one head as rows: `values` begins with the first token's features of that head.
    fn rows<'a>(&self, values: &'a [f32]) -> Operand<'a> {
        Operand(values, self.c(), 1)
    }
    /// The transpose of [`Self::rows`].
    fn columns<'a>(&self, values: &'a [f32]) -> Operand<'a> {
        Operand(values, 1, self.c())
    }
}

/// `scores = scale * q k^T + mask` of `rows` queries from `first` on, against the keys that they can see; returns how
/// many keys.
fn scores<'s>(
    q: &[f32],
    k: &[f32],
    mask: Option<&[f32]>,
    (first, rows): (usize, usize),
    s: Size,
    buffer: &'s mut [f32],
) -> &'s mut [f32] {
    let keys = s.keys(first + rows);
    let out = &mut buffer[..rows * keys];
    gemm_scaled(rows, keys, s.d, s.rows(q), s.columns(k), out, s.scale());
    for (r, row) in out.chunks_exact_mut(keys).enumerate() {
        if let Some(m) = mask {
            row.iter_mut().zip(&m[(first + r) * s.k..]).for_each(|(x, m)| *x += m);
        }
        if s.causal {
            row[(first + r + 1).min(keys)..].fill(f32::NEG_INFINITY);
        }
    }
    out
}

/// One block of queries of a sequence, all heads: `y` and the log-sum-exp of each (query, head). `q` begins at the block.
fn forward(
    (q, k, v): (&[f32], &[f32], &[f32]),
    mask: Option<&[f32]>,
    first: usize,
    s: Size,
    buffer: &mut [f32],
    (y, lse): (&mut [f32], &mut [f32]),
) {
    let rows = lse.len() / s.heads;
    for head in 0..s.heads {
        let at = head * s.d;
        let p = scores(&q[at..], &k[at..], mask, (first, rows), s, buffer);
        let keys = p.len() / rows;
        // The sums divide the result, which is shorter than the rows.
        let mut inverse = [0f32; ROWS];
        wide(|| {
            let outputs = inverse.iter_mut().zip(lse[head..].iter_mut().step_by(s.heads));
            for (row, (inverse, lse)) in p.chunks_exact_mut(keys).zip(outputs) {
                let top = largest(row);
                row.iter_mut().for_each(|x| *x = exp(*x - top));
                let sum = sum_by(row, |x| x);
                *inverse = (1.0 / sum) as f32;
                *lse = top + libm::log(sum) as f32;
            }
        });
        gemm_rows(rows, s.d, keys, Operand(p, keys, 1), s.rows(&v[at..]), &mut y[at..], s.c(), false);
        for (y, inverse) in y[at..].chunks_mut(s.c()).zip(inverse) {
            y[..s.d].iter_mut().for_each(|y| *y *= inverse);
        }
    }
}

/// The tensors of one sequence.
#[derive(Clone, Copy)]
struct Sequence<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    y: &'a [f32],
    go: &'a [f32],
    lse: &'a [f32],
}

/// One head: writes the gradient of the queries, adds to those of keys and values.
fn backward(
    t: Sequence,
    head: usize,
    mask: Option<&[f32]>,
    s: Size,
    (p_buffer, g_buffer): (&mut [f32], &mut [f32]),
    (gq, gk, gv): (&mut [f32], &mut [f32], &mut [f32]),
) {
    let (at, c) = (head * s.d, s.c());
    let (k, v, gk, gv) = (&t.k[at..], &t.v[at..], &mut gk[at..], &mut gv[at..]);
    for first in (0..s.q).step_by(ROWS) {
        let rows = ROWS.min(s.q - first);
        let from = first * c + at;
        let (q, y, go) = (&t.q[from..], &t.y[from..], &t.go[from..]);
        let p = scores(q, k, mask, (first, rows), s, p_buffer);
        let keys = p.len() / rows;
        let g = &mut g_buffer[..rows * keys];
        gemm(rows, keys, s.d, s.rows(go), s.columns(v), as_uninit(g), false);
        let scale = s.scale();
        wide(|| {
            for (r, (p, g)) in p.chunks_exact_mut(keys).zip(g.chunks_exact_mut(keys)).enumerate() {
                let lse = t.lse[(first + r) * s.heads + head];
                let delta = sum_by2(&go[r * c..][..s.d], &y[r * c..][..s.d], |a, b| a * b) as f32;
                for (p, g) in p.iter_mut().zip(g) {
                    *p = exp(*p - lse);
                    *g = *p * (*g - delta) * scale;
                }
            }
        });
        gemm_rows(rows, s.d, keys, Operand(g, keys, 1), s.rows(k), &mut gq[from..], c, false);
        gemm_rows(keys, s.d, rows, Operand(g, 1, keys), s.rows(q), gk, c, true);
        gemm_rows(keys, s.d, rows, Operand(p, 1, keys), s.rows(go), gv, c, true);
    }
}

/// Queries, keys, heads, features of a head.
pub(crate) type Sizes = (usize, usize, usize, usize);

/// What attention makes of `n` sequences of (tokens, heads, d), and the log-sum-exp of each (query, head).
pub(crate) fn attended(
    [qs, ks, vs]: [&[f32]; 3],
    mask: Option<&[f32]>,
    causal: bool,
    (n, (q, k, heads, d)): (usize, Sizes),
) -> (Vec<f32>, Vec<f32>) {
    let s = Size { q, k, heads, d, causal };
    let (of_q, of_k, block) = (q * s.c(), k * s.c(), ROWS.min(q));
    let (mut y, mut lse) = (vec![0f32; n * of_q], vec![0f32; n * q * heads]);
    y.par_chunks_mut(of_q).zip(lse.par_chunks_mut(q * heads)).enumerate().for_each(|(i, (y, lse))| {
        let (q, k, v) = (&qs[i * of_q..][..of_q], &ks[i * of_k..][..of_k], &vs[i * of_k..][..of_k]);
        let blocks = y.par_chunks_mut(ROWS * s.c()).zip(lse.par_chunks_mut(ROWS * heads)).enumerate();
        blocks.for_each_init(
            || vec![0f32; block * s.k],
            |buffer, (j, out)| forward((&q[j * ROWS * s.c()..], k, v), mask, j * ROWS, s, buffer, out),
        );
    });
    (y, lse)
}

/// The gradients of queries, keys and values, where `go` is that of `y`; both results of [`attended`] are needed.
pub(crate) fn attended_backward(
    [qs, ks, vs]: [&[f32]; 3],
    [ys, lse, go]: [&[f32]; 3],
    mask: Option<&[f32]>,
    causal: bool,
    (q, k, heads, d): Sizes,
) -> [Vec<f32>; 3] {
    let s = Size { q, k, heads, d, causal };
    let (of_q, of_k, block) = (q * s.c(), k * s.c(), ROWS.min(q));
    let (mut gq, mut gk, mut gv) = (vec![0f32; qs.len()], vec![0f32; ks.len()], vec![0f32; vs.len()]);
    let sequences = gq.par_chunks_mut(of_q).zip(gk.par_chunks_mut(of_k)).zip(gv.par_chunks_mut(of_k)).enumerate();
    let buffers = || (vec![0f32; block * k], vec![0f32; block * k]);
    sequences.for_each_init(buffers, |(p, g), (i, ((gq, gk), gv))| {
        let (mine, theirs) = (i * of_q..(i + 1) * of_q, i * of_k..(i + 1) * of_k);
        let sequence = Sequence {
            q: &qs[mine.clone()],
            k: &ks[theirs.clone()],
            v: &vs[theirs],
            y: &ys[mine.clone()],
            go: &go[mine],
            lse: &lse[i * q * heads..][..q * heads],
        };
        for head in 0..heads {
            backward(sequence, head, mask, s, (p, g), (gq, gk, gv));
        }
    });
    [gq, gk, gv]
}

/// Attention of tensors whose values are (n, tokens, heads, d).
fn attend<S: Shape, T: Tp<Cpu>>(
    q: Tensor<S, f32, Cpu, T>,
    k: Tensor<S, f32, Cpu, T>,
    v: Tensor<S, f32, Cpu, T>,
    mask: Mask<Cpu>,
    (n, sizes): (usize, Sizes),
) -> Tensor<S, f32, Cpu, T> {
    let causal = matches!(mask, Mask::Causal);
    let (sq, sk, ..) = sizes;
    assert!(!causal || sq == sk, "a causal mask needs as many queries ({sq}) as keys ({sk})");
    let mask: Option<T2<Cpu>> = if let Mask::Add(m) = mask { Some(m.clone()) } else { None };
    assert!(mask.as_ref().is_none_or(|m| *m.shape() == (sq, sk)), "the mask is (queries, keys)");
    let (q, tape) = q.split_tape();
    let (k, k_tape) = k.split_tape();
    let (v, v_tape) = v.split_tape();
    let mut tape = tape.merge(k_tape).merge(v_tape);
    let (y, lse) = attended([data(&q), data(&k), data(&v)], mask.as_ref().map(data), causal, (n, sizes));
    let out = q.device().tensor_from_vec(y, *q.shape());
    let (og, kept) = (out.ghost(), out.clone());
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let (given, made) = ([data(&q), data(&k), data(&v)], [data(&kept), &lse, &go]);
        // Into fresh buffers first: queries, keys and values may be one tensor.
        let [gq, gk, gv] = attended_backward(given, made, mask.as_ref().map(data), causal, sizes);
        add_all(g.get_or_alloc_mut(&q)?, &gq);
        add_all(g.get_or_alloc_mut(&k)?, &gk);
        add_all(g.get_or_alloc_mut(&v)?, &gv);
        Ok(())
    });
    out.put_tape(tape)
}

/// See [`crate::ops::Kit::attention`].
pub fn attention<T: Tp<Cpu>>(q: T4<Cpu, T>, k: T4<Cpu, T>, v: T4<Cpu, T>, mask: Mask<Cpu>) -> T4<Cpu, T> {
    let (b, heads, sq, d) = *q.shape();
    let sk = k.shape().2;
    assert_eq!((k.shape(), k.shape()), (v.shape(), &(b, heads, sk, d)), "keys and values fit the queries");
    // Heads split off by a permutation are views: those are copied, all else is not.
    attend(q.contiguous(), k.contiguous(), v.contiguous(), mask, (b * heads, (sq, sk, 1, d)))
}

/// See [`crate::ops::Kit::multi_head_attention`].
pub fn multi_head_attention<T: Tp<Cpu>>(
    q: T3<Cpu, T>,
    k: T3<Cpu, T>,
    v: T3<Cpu, T>,
    heads: usize,
    mask: Mask<Cpu>,
) -> T3<Cpu, T> {
    let (n, sq, c) = *q.shape();
    let sk = k.shape().1;
    assert_eq!((k.shape(), k.shape()), (v.shape(), &(n, sk, c)), "keys and values fit the queries");
    assert!(heads > 0 && c % heads == 0, "{c} features do not divide into {heads} heads");
    attend(q, k, v, mask, (n, (sq, sk, heads, c / heads)))
}
