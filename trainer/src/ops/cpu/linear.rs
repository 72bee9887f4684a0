//! Linear layers: products of all rows of a batch with the weights, a part of the rows at a time.
use super::bf16::Bf16;
use super::bf16::panels::{Left, Panels, add_rows};
use super::parallel::prelude::*;
use super::storage::{Operand, as_uninit, data, filled_with_rows, gemm, gemm_rows, take_gradient, written};
use super::window::add_all;
use super::{PARTS, parts};
use crate::ops::Precision;
use crate::tensor::{T1, T2, T3, Tp};
use dfdx::prelude::*;
use std::mem::MaybeUninit;

/// Rows of one product: fewer would not pay for packing the weights, more would not stay in the cache.
const ROWS: usize = 128;
/// Output features whose weights' gradient is one piece of work.
const FEATURES: usize = 32;
/// Smallest size from which bf16 gains: below, most of a tile would be padding.
const BF16_FEATURES: usize = 16;

/// Rows, input and output features.
#[derive(Clone, Copy)]
struct Size {
    rows: usize,
    i: usize,
    o: usize,
}

impl Size {
    /// Whether partial sums of the weights' gradient are small beside what they are computed from.
    fn sums_by_parts(&self) -> bool {
        self.i * self.o * PARTS <= self.rows * (self.i + self.o)
    }
}

fn forward(x: &[f32], w: &[f32], b: Option<&[f32]>, s: Size, bf16: Option<Bf16>) -> Vec<f32> {
    let weights = bf16.map(|cpu| (cpu, Panels::pack(cpu, w, s.o, s.i, (s.i, 1))));
    let work = |(): &mut (), at: usize, y: &mut [MaybeUninit<f32>]| {
        let (x, rows) = (&x[at * ROWS * s.i..], y.len() / s.o);
        let y = filled_with_rows(y, b);
        match &weights {
            Some((cpu, w)) => {
                let x = Left::pack(*cpu, x, rows, s.i, (s.i, 1));
                add_rows(*cpu, &x, 0..rows, w, y, s.o);
            }
            None => gemm(rows, s.o, s.i, Operand(x, s.i, 1), Operand(w, 1, s.i), as_uninit(y), true),
        }
    };
    // SAFETY: `filled_with_rows` writes every element.
    #[allow(unsafe_code)]
    unsafe {
        written(s.rows * s.o, ROWS * s.o, || (), work)
    }
}

/// Adds the gradient of the input to `gx`.
fn input_gradient(w: &[f32], go: &[f32], gx: &mut [f32], s: Size, bf16: Option<Bf16>) {
    let weights = bf16.map(|cpu| (cpu, Panels::pack(cpu, w, s.i, s.o, (1, s.i))));
    gx.par_chunks_mut(ROWS * s.i).zip(go.par_chunks(ROWS * s.o)).for_each(|(gx, go)| {
        let rows = go.len() / s.o;
        match &weights {
            Some((cpu, w)) => {
                let go = Left::pack(*cpu, go, rows, s.o, (s.o, 1));
                add_rows(*cpu, &go, 0..rows, w, gx, s.i);
            }
            None => gemm(rows, s.i, s.o, Operand(go, s.o, 1), Operand(w, s.i, 1), as_uninit(gx), true),
        }
    });
}

/// The gradient of the weights over a part of the rows.
fn part_gradient(x: &[f32], go: &[f32], s: Size, bf16: Option<Bf16>) -> Vec<f32> {
    let mut gw = vec![0f32; s.o * s.i];
    for (x, go) in x.chunks(ROWS * s.i).zip(go.chunks(ROWS * s.o)) {
        let rows = x.len() / s.i;
        match bf16 {
            Some(cpu) => {
                let (x, go) = (Panels::pack(cpu, x, s.i, rows, (1, s.i)), Left::pack(cpu, go, s.o, rows, (1, s.o)));
                add_rows(cpu, &go, 0..s.o, &x, &mut gw, s.i);
            }
            None => gemm(s.o, s.i, rows, Operand(go, 1, s.o), Operand(x, s.i, 1), as_uninit(&mut gw), true),
        }
    }
    gw
}

/// Adds the gradient of the weights to `gw`: by parts of the rows, or, where many weights meet few rows, by output features.
fn weight_gradient(x: &[f32], go: &[f32], gw: &mut [f32], s: Size, bf16: Option<Bf16>) {
    if s.sums_by_parts() {
        let part = |r: std::ops::Range<usize>| {
            part_gradient(&x[r.start * s.i..r.end * s.i], &go[r.start * s.o..r.end * s.o], s, bf16)
        };
        let partial: Vec<_> = parts(s.rows).into_par_iter().map(part).collect();
        partial.iter().for_each(|p| add_all(gw, p));
        return;
    }
    let packed =
        bf16.map(|cpu| (cpu, Panels::pack(cpu, x, s.i, s.rows, (1, s.i)), Left::pack(cpu, go, s.o, s.rows, (1, s.o))));
    gw.par_chunks_mut(FEATURES * s.i).enumerate().for_each(|(at, gw)| {
        let (first, n) = (at * FEATURES, gw.len() / s.i);
        match &packed {
            Some((cpu, x, go)) => add_rows(*cpu, go, first..first + n, x, gw, s.i),
            None => gemm_rows(n, s.i, s.rows, Operand(&go[first..], 1, s.o), Operand(x, s.i, 1), gw, s.i, true),
        }
    });
}

/// The sum of the rows of `go`, by parts and then in order.
fn bias_gradient(go: &[f32], s: Size) -> Vec<f32> {
    let sum = |go: &[f32]| {
        let mut sum = vec![0f32; s.o];
        go.chunks_exact(s.o).for_each(|go| add_all(&mut sum, go));
        sum
    };
    let partial: Vec<_> = go.par_chunks(ROWS * s.o).map(sum).collect();
    let mut total = vec![0f32; s.o];
    partial.iter().for_each(|p| add_all(&mut total, p));
    total
}

/// See [`crate::ops::Kit::linear`].
pub fn linear<T: Tp<Cpu>>(x: T3<Cpu, T>, w: &T2<Cpu>, b: Option<&T1<Cpu>>, precision: Precision) -> T3<Cpu, T> {
    let ((n, length, i), o) = (*x.shape(), w.shape().0);
    assert_eq!(w.shape().1, i, "the weights are (out, in) for {i} input features");
    let s = Size { rows: n * length, i, o };
    let bf16 = match precision {
        Precision::Bf16(cpu) if i.min(o) >= BF16_FEATURES && s.rows > 0 => Some(cpu),
        _ => None,
    };
    let (x, mut tape) = x.split_tape();
    let (w, b) = (w.clone(), b.cloned());
    let y = forward(data(&x), data(&w), b.as_ref().map(data), s, bf16);
    let out = x.device().tensor_from_vec(y, (n, length, o));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        input_gradient(data(&w), &go, g.get_or_alloc_mut(&x)?, s, bf16);
        weight_gradient(data(&x), &go, g.get_or_alloc_mut(&w)?, s, bf16);
        if let Some(b) = &b {
            add_all(g.get_or_alloc_mut(b)?, &bias_gradient(&go, s));
        }
        Ok(())
    });
    out.put_tape(tape)
}
