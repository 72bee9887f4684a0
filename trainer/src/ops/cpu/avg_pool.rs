//! Mean over 2x2 windows.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient};
use crate::tensor::{T4, Tp};
use dfdx::prelude::*;

/// See [`crate::ops::Kit::avg_pool2`].
pub fn avg_pool2<T: Tp<Cpu>>(x: T4<Cpu, T>) -> T4<Cpu, T> {
    let (n, c, h, w) = *x.shape();
    let (oh, ow) = (h / 2, w / 2);
    let (x, mut tape) = x.split_tape();
    let xg = x.ghost();
    let mut y = vec![0f32; n * c * oh * ow];
    y.par_chunks_mut(oh * ow).zip(data(&x).par_chunks(h * w)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(ow).zip(x.chunks_exact(2 * w)) {
            let (top, bottom) = x.split_at(w);
            for ((y, a), b) in y.iter_mut().zip(top.chunks_exact(2)).zip(bottom.chunks_exact(2)) {
                *y = 0.25 * ((a[0] + a[1]) + (b[0] + b[1]));
            }
        }
    });
    let out = x.device().tensor_from_vec(y, (n, c, oh, ow));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let gx = g.get_or_alloc_mut(&xg)?;
        gx.par_chunks_mut(h * w).zip(go.par_chunks(oh * ow)).for_each(|(d, g)| {
            for (i, d) in d.chunks_exact_mut(w).enumerate() {
                for (d, g) in d.chunks_exact_mut(2).zip(&g[i / 2 * ow..][..ow]) {
                    d[0] += 0.25 * g;
                    d[1] += 0.25 * g;
                }
            }
        });
        Ok(())
    });
    out.put_tape(tape)
}
