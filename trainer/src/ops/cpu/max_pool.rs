//! Maximum over 2x2 windows; the gradient goes to the first maximum, as in PyTorch.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient};
use crate::tensor::{T4, Tp};
use dfdx::prelude::*;

/// See [`crate::ops::Kit::max_pool2`].
pub fn max_pool2<T: Tp<Cpu>>(x: T4<Cpu, T>) -> T4<Cpu, T> {
    let (n, c, h, w) = *x.shape();
    let (oh, ow) = (h / 2, w / 2);
    let (x, mut tape) = x.split_tape();
    let xg = x.ghost();
    let mut y = vec![0f32; n * c * oh * ow];
    let mut chosen = vec![0u8; n * c * oh * ow];
    let planes = y.par_chunks_mut(oh * ow).zip(chosen.par_chunks_mut(oh * ow)).zip(data(&x).par_chunks(h * w));
    planes.for_each(|((y, chosen), x)| {
        for i in 0..oh {
            let (top, bottom) = (&x[2 * i * w..][..w], &x[(2 * i + 1) * w..][..w]);
            for j in 0..ow {
                let window = [top[2 * j], top[2 * j + 1], bottom[2 * j], bottom[2 * j + 1]];
                let mut best = 0;
                for t in 1..4 {
                    if window[t] > window[best] {
                        best = t;
                    }
                }
                y[i * ow + j] = window[best];
                chosen[i * ow + j] = best as u8;
            }
        }
    });
    let out = x.device().tensor_from_vec(y, (n, c, oh, ow));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let gx = g.get_or_alloc_mut(&xg)?;
        let planes = gx.par_chunks_mut(h * w).zip(go.par_chunks(oh * ow)).zip(chosen.par_chunks(oh * ow));
        planes.for_each(|((d, g), chosen)| {
            for i in 0..oh {
                for j in 0..ow {
                    let t = chosen[i * ow + j] as usize;
                    d[(2 * i + t / 2) * w + 2 * j + t % 2] += g[i * ow + j];
                }
            }
        });
        Ok(())
    });
    out.put_tape(tape)
}
