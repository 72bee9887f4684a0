//! Concatenation along channels.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use crate::tensor::{T4, Tp};
use dfdx::prelude::*;

/// See [`crate::ops::Kit::concat`].
pub fn concat<T: Tp<Cpu>>(a: T4<Cpu, T>, b: T4<Cpu, T>) -> T4<Cpu, T> {
    let ((n, ca, h, w), cb) = (*a.shape(), b.shape().1);
    let (la, lb) = (ca * h * w, cb * h * w);
    let (a, tape) = a.split_tape();
    let (b, b_tape) = b.split_tape();
    let mut tape = tape.merge(b_tape);
    let (xa, xb) = (data(&a), data(&b));
    // SAFETY: a chunk is one picture: the channels of `a` and then those of `b` fill it.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            n * (la + lb),
            la + lb,
            || (),
            |(), i, y| {
                let (ya, yb) = y.split_at_mut(la);
                ya.iter_mut().zip(&xa[i * la..][..la]).for_each(|(y, x)| _ = y.write(*x));
                yb.iter_mut().zip(&xb[i * lb..][..lb]).for_each(|(y, x)| _ = y.write(*x));
            },
        )
    };
    let out = a.device().tensor_from_vec(y, (n, ca + cb, h, w));
    let (ag, bg, og) = (a.ghost(), b.ghost(), out.ghost());
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let add = |d: &mut [f32], g: &[f32]| d.iter_mut().zip(g).for_each(|(d, g)| *d += g);
        let ga = g.get_or_alloc_mut(&ag)?;
        ga.par_chunks_mut(la).zip(go.par_chunks(la + lb)).for_each(|(d, g)| add(d, &g[..la]));
        let gb = g.get_or_alloc_mut(&bg)?;
        gb.par_chunks_mut(lb).zip(go.par_chunks(la + lb)).for_each(|(d, g)| add(d, &g[la..]));
        Ok(())
    });
    out.put_tape(tape)
}
