//! Transposed convolution: one matrix product a group of pictures, whose columns are then folded into the output.
use super::parallel::prelude::*;
use super::storage::{Operand, as_uninit, data, gemm, take_gradient};
use super::window::{Windows, add_all, gather, owned_parts, scatter_add};
use crate::tensor::{T1, T4, Tp};
use dfdx::prelude::*;

/// `s` are the windows over the *output*: as many as the input has pixels. `c` are the input's channels.
fn forward(x: &[f32], w: &[f32], b: &[f32], n: usize, c: usize, s: Windows) -> Vec<f32> {
    let (pixels, depth, group, picture) = (s.total(), s.depth(), s.group(n), s.picture());
    let mut y = vec![0f32; n * picture];
    let pictures = y.par_chunks_mut(group * picture).zip(x.par_chunks(group * c * pixels));
    let init = || (vec![0f32; depth * group * pixels], vec![0f32; c * group * pixels]);
    pictures.for_each_init(init, |(columns, gathered), (y, x)| {
        let row = x.len() / c;
        let (columns, gathered) = (&mut columns[..depth * row], &mut gathered[..c * row]);
        gather(x, c, pixels, gathered);
        gemm(depth, row, c, Operand(w, 1, depth), Operand(gathered, row, 1), as_uninit(columns), false);
        for (i, plane) in y.chunks_exact_mut(s.h * s.w).enumerate() {
            plane.fill(b[i % s.c]);
        }
        s.fold(columns, y);
    });
    y
}

/// Adds the gradient of the input to `gx` and returns those of the weight and the bias.
fn backward(x: &[f32], w: &[f32], go: &[f32], gx: &mut [f32], n: usize, c: usize, s: Windows) -> (Vec<f32>, Vec<f32>) {
    let (pixels, depth, group, picture) = (s.total(), s.depth(), s.group(n), s.picture());
    let work = |(range, gx): (std::ops::Range<usize>, &mut [f32])| {
        let mut columns = vec![0f32; depth * group * pixels];
        let mut inputs = vec![0f32; c * group * pixels];
        let (mut gw, mut gb) = (vec![0f32; c * depth], vec![0f32; s.c]);
        let (x, go) =
            (&x[range.start * c * pixels..range.end * c * pixels], &go[range.start * picture..range.end * picture]);
        let groups =
            x.chunks(group * c * pixels).zip(go.chunks(group * picture)).zip(gx.chunks_mut(group * c * pixels));
        for ((x, go), gx) in groups {
            let row = x.len() / c;
            let (columns, inputs) = (&mut columns[..depth * row], &mut inputs[..c * row]);
            s.unfold(go, columns);
            gather(x, c, pixels, inputs);
            gemm(c, depth, row, Operand(inputs, row, 1), Operand(columns, 1, row), as_uninit(&mut gw), true);
            // The inputs are done with: their buffer takes the gradient.
            gemm(c, row, depth, Operand(w, depth, 1), Operand(columns, row, 1), as_uninit(inputs), false);
            scatter_add(inputs, c, pixels, gx);
            for (i, plane) in go.chunks_exact(s.h * s.w).enumerate() {
                gb[i % s.c] += plane.iter().sum::<f32>();
            }
        }
        (gw, gb)
    };
    let partial: Vec<_> = owned_parts(gx, n, c * pixels).into_par_iter().map(work).collect();
    let (mut gw, mut gb) = (vec![0f32; c * depth], vec![0f32; s.c]);
    for (pw, pb) in &partial {
        add_all(&mut gw, pw);
        add_all(&mut gb, pb);
    }
    (gw, gb)
}

/// See [`crate::ops::Kit::conv_transpose2d`].
pub fn conv_transpose2d<T: Tp<Cpu>>(x: T4<Cpu, T>, w: &T4<Cpu>, b: &T1<Cpu>, stride: usize, pad: usize) -> T4<Cpu, T> {
    let (n, c, h, wd) = *x.shape();
    let (_, o, k, _) = *w.shape();
    let out_side = |side: usize| (side - 1) * stride + k - 2 * pad;
    let s = Windows { c: o, h: out_side(h), w: out_side(wd), k, stride, pad, trail: pad };
    debug_assert_eq!(s.count(), (h, wd));
    let (x, mut tape) = x.split_tape();
    let (w, b) = (w.clone(), b.clone());
    let out = x.device().tensor_from_vec(forward(data(&x), data(&w), data(&b), n, c, s), (n, o, s.h, s.w));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let (gw, gb) = backward(data(&x), data(&w), &go, g.get_or_alloc_mut(&x)?, n, c, s);
        add_all(g.get_or_alloc_mut(&w)?, &gw);
        add_all(g.get_or_alloc_mut(&b)?, &gb);
        Ok(())
    });
    out.put_tape(tape)
}
