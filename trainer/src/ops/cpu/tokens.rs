//! Pictures as sequences of pixels and back: each picture is a matrix (channels, pixels), and its transpose a sequence.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use crate::tensor::{T3, T4, Tp};
use dfdx::prelude::*;
use std::mem::MaybeUninit;

/// Rows and columns of a block: its lines on both sides stay in the cache.
const BLOCK: usize = 16;

/// `put(to, x)` for each element of a matrix (rows, columns) and where it lies in the transpose.
#[inline(always)]
fn transpose<V>(x: &[f32], rows: usize, columns: usize, out: &mut [V], put: impl Fn(&mut V, f32)) {
    for r0 in (0..rows).step_by(BLOCK) {
        let r1 = (r0 + BLOCK).min(rows);
        for c0 in (0..columns).step_by(BLOCK) {
            for c in c0..(c0 + BLOCK).min(columns) {
                let out = &mut out[c * rows + r0..c * rows + r1];
                for (out, x) in out.iter_mut().zip(x[r0 * columns + c..].iter().step_by(columns)) {
                    put(out, *x);
                }
            }
        }
    }
}

/// The transpose of each of `n` matrices (rows, columns).
fn transposed(x: &[f32], n: usize, rows: usize, columns: usize) -> Vec<f32> {
    let each = rows * columns;
    let work = |(): &mut (), i: usize, out: &mut [MaybeUninit<f32>]| {
        transpose(&x[i * each..][..each], rows, columns, out, |to, x| _ = to.write(x));
    };
    // SAFETY: a transpose has as many elements as the matrix, each written.
    #[allow(unsafe_code)]
    unsafe {
        written(n * each, each, || (), work)
    }
}

/// Adds the transpose of each matrix (rows, columns) of `go` to `gx`.
fn add_transposed(gx: &mut [f32], go: &[f32], rows: usize, columns: usize) {
    let each = (rows * columns).max(1);
    gx.par_chunks_mut(each).zip(go.par_chunks(each)).for_each(|(gx, go)| {
        transpose(go, rows, columns, gx, |to, x| *to += x);
    });
}

/// See [`crate::ops::Kit::tokens`].
pub fn tokens<T: Tp<Cpu>>(x: T4<Cpu, T>) -> T3<Cpu, T> {
    let (n, c, h, w) = *x.shape();
    let (x, mut tape) = x.split_tape();
    let out = x.device().tensor_from_vec(transposed(data(&x), n, c, h * w), (n, h * w, c));
    let (xg, og) = (x.ghost(), out.ghost());
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        add_transposed(g.get_or_alloc_mut(&xg)?, &go, h * w, c);
        Ok(())
    });
    out.put_tape(tape)
}

/// See [`crate::ops::Kit::pictures`].
pub fn pictures<T: Tp<Cpu>>(x: T3<Cpu, T>, (h, w): (usize, usize)) -> T4<Cpu, T> {
    let (n, s, c) = *x.shape();
    assert_eq!(s, h * w, "a sequence has a token for each of {h}x{w} pixels");
    let (x, mut tape) = x.split_tape();
    let out = x.device().tensor_from_vec(transposed(data(&x), n, s, c), (n, c, h, w));
    let (xg, og) = (x.ghost(), out.ghost());
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        add_transposed(g.get_or_alloc_mut(&xg)?, &go, c, s);
        Ok(())
    });
    out.put_tape(tape)
}
