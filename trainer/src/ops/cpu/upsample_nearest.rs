//! Nearest-neighbour upsampling by two: each pixel becomes a 2x2 square.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient};
use crate::tensor::{T4, Tp};
use dfdx::prelude::*;

/// See [`crate::ops::Kit::upsample_nearest2`].
pub fn upsample_nearest2<T: Tp<Cpu>>(x: T4<Cpu, T>) -> T4<Cpu, T> {
    let (n, c, h, w) = *x.shape();
    let (oh, ow) = (2 * h, 2 * w);
    let (x, mut tape) = x.split_tape();
    let xg = x.ghost();
    let mut y = vec![0f32; n * c * oh * ow];
    y.par_chunks_mut(oh * ow).zip(data(&x).par_chunks(h * w)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(2 * ow).zip(x.chunks_exact(w)) {
            let (top, bottom) = y.split_at_mut(ow);
            for (y, x) in top.chunks_exact_mut(2).zip(x) {
                y.fill(*x);
            }
            bottom.copy_from_slice(top);
        }
    });
    let out = x.device().tensor_from_vec(y, (n, c, oh, ow));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let gx = g.get_or_alloc_mut(&xg)?;
        gx.par_chunks_mut(h * w).zip(go.par_chunks(oh * ow)).for_each(|(d, g)| {
            for (d, g) in d.chunks_exact_mut(w).zip(g.chunks_exact(2 * ow)) {
                let (top, bottom) = g.split_at(ow);
                for ((d, a), b) in d.iter_mut().zip(top.chunks_exact(2)).zip(bottom.chunks_exact(2)) {
                    *d += (a[0] + a[1]) + (b[0] + b[1]);
                }
            }
        });
        Ok(())
    });
    out.put_tape(tape)
}
