//! Bilinear upsampling by two, half-pixel centres: dfdx's own puts corners on corners, which the book's network does not.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient};
use crate::tensor::{T4, Tp};
use dfdx::prelude::*;

/// For each of `2n` outputs the two inputs that it lies between and the weight of the second.
fn taps(n: usize) -> Vec<(usize, usize, f32)> {
    (0..2 * n)
        .map(|o| {
            let s = ((o as f32 + 0.5) / 2.0 - 0.5).max(0.0);
            (s as usize, (s as usize + 1).min(n - 1), s.fract())
        })
        .collect()
}

/// See [`crate::ops::Kit::upsample_bilinear2`].
pub fn upsample_bilinear2<T: Tp<Cpu>>(x: T4<Cpu, T>) -> T4<Cpu, T> {
    let (n, c, h, w) = *x.shape();
    let (oh, ow) = (2 * h, 2 * w);
    let (x, mut tape) = x.split_tape();
    let xg = x.ghost();
    let (rows, columns) = (taps(h), taps(w));
    let mut y = vec![0f32; n * c * oh * ow];
    y.par_chunks_mut(oh * ow).zip(data(&x).par_chunks(h * w)).for_each_init(
        || vec![0f32; w],
        |line, (y, x)| {
            for (y, &(y0, y1, fy)) in y.chunks_exact_mut(ow).zip(&rows) {
                for ((l, a), b) in line.iter_mut().zip(&x[y0 * w..][..w]).zip(&x[y1 * w..][..w]) {
                    *l = a * (1.0 - fy) + b * fy;
                }
                for (y, &(x0, x1, fx)) in y.iter_mut().zip(&columns) {
                    *y = line[x0] * (1.0 - fx) + line[x1] * fx;
                }
            }
        },
    );
    let out = x.device().tensor_from_vec(y, (n, c, oh, ow));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let gx = g.get_or_alloc_mut(&xg)?;
        gx.par_chunks_mut(h * w).zip(go.par_chunks(oh * ow)).for_each_init(
            || vec![0f32; w],
            |line, (d, g)| {
                for (g, &(y0, y1, fy)) in g.chunks_exact(ow).zip(&rows) {
                    line.fill(0.0);
                    for (g, &(x0, x1, fx)) in g.iter().zip(&columns) {
                        line[x0] += g * (1.0 - fx);
                        line[x1] += g * fx;
                    }
                    for (x, l) in line.iter().enumerate() {
                        d[y0 * w + x] += l * (1.0 - fy);
                        d[y1 * w + x] += l * fy;
                    }
                }
            },
        );
        Ok(())
    });
    out.put_tape(tape)
}
