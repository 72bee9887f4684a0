//! Layer normalization over the last axis: only mean and deviation of each row are kept.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use super::sum::{sum_by, sum_by2};
use super::window::{add_all, owned_parts};
use crate::tensor::{T1, T3, Tp};
use dfdx::prelude::*;

/// Rows in one piece of work.
const ROWS: usize = 16;

/// See [`crate::ops::Kit::layer_norm`].
pub fn layer_norm<T: Tp<Cpu>>(x: T3<Cpu, T>, gamma: &T1<Cpu>, beta: &T1<Cpu>, eps: f32) -> T3<Cpu, T> {
    let (b, s, e) = *x.shape();
    let rows = b * s;
    let (x, mut tape) = x.split_tape();
    let (gamma, beta) = (gamma.clone(), beta.clone());
    let xs = data(&x);
    // (mean, 1 / sqrt(var + eps)) of each row.
    let stats: Vec<(f32, f32)> = xs
        .par_chunks(e.max(1))
        .map(|x| {
            let mean = (sum_by(x, |x| x) / e as f64) as f32;
            let var = sum_by(x, |x| (x - mean) * (x - mean)) / e as f64;
            (mean, (1.0 / (var + f64::from(eps)).sqrt()) as f32)
        })
        .collect();
    let (gs, bs) = (data(&gamma), data(&beta));
    // SAFETY: every element of the chunk (whole rows) is written.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            rows * e,
            ROWS * e,
            || (),
            |(), i, y| {
                for (r, y) in y.chunks_exact_mut(e).enumerate() {
                    let row = i * ROWS + r;
                    let (mean, inverse) = stats[row];
                    for (((y, x), g), b) in y.iter_mut().zip(&xs[row * e..][..e]).zip(gs).zip(bs) {
                        y.write((x - mean) * inverse * g + b);
                    }
                }
            },
        )
    };
    let out = x.device().tensor_from_vec(y, (b, s, e));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let (xs, gs) = (data(&x), data(&gamma));
        let gx = g.get_or_alloc_mut(&x)?;
        let work = |(range, gx): (std::ops::Range<usize>, &mut [f32])| {
            let (mut gg, mut gb, mut weighted) = (vec![0f32; e], vec![0f32; e], vec![0f32; e]);
            for (row, gx) in range.zip(gx.chunks_exact_mut(e)) {
                let (mean, inverse) = stats[row];
                let (x, go) = (&xs[row * e..][..e], &go[row * e..][..e]);
                for (i, (g, x)) in go.iter().zip(x).enumerate() {
                    gg[i] += g * ((x - mean) * inverse);
                    gb[i] += g;
                    weighted[i] = g * gs[i];
                }
                let mean_g = (sum_by(&weighted, |g| g) / e as f64) as f32;
                let slope = (sum_by2(&weighted, x, |g, x| g * (x - mean)) / e as f64) as f32 * inverse * inverse;
                for ((d, g), x) in gx.iter_mut().zip(&weighted).zip(x) {
                    *d += inverse * (g - mean_g - (x - mean) * slope);
                }
            }
            (gg, gb)
        };
        let partial: Vec<_> = owned_parts(gx, rows, e).into_par_iter().map(work).collect();
        let gg = g.get_or_alloc_mut(&gamma)?;
        partial.iter().for_each(|p| add_all(gg, &p.0));
        let gb = g.get_or_alloc_mut(&beta)?;
        partial.iter().for_each(|p| add_all(gb, &p.1));
        Ok(())
    });
    out.put_tape(tape)
}
