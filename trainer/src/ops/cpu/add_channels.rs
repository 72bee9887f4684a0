//! Pictures plus one value per picture and channel.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use crate::tensor::{T2, T4, Tp};
use dfdx::prelude::*;

/// See [`crate::ops::Kit::add_channels`].
pub fn add_channels<T: Tp<Cpu>>(x: T4<Cpu, T>, v: T2<Cpu, T>) -> T4<Cpu, T> {
    let (n, c, h, w) = *x.shape();
    let hw = h * w;
    let (x, tape) = x.split_tape();
    let (v, v_tape) = v.split_tape();
    let mut tape = tape.merge(v_tape);
    let (xs, vs) = (data(&x), data(&v));
    // SAFETY: every element of the chunk (one plane) is written.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            n * c * hw,
            hw,
            || (),
            |(), i, y| {
                for (y, x) in y.iter_mut().zip(&xs[i * hw..][..hw]) {
                    y.write(x + vs[i]);
                }
            },
        )
    };
    let out = x.device().tensor_from_vec(y, (n, c, h, w));
    let (xg, vg, og) = (x.ghost(), v.ghost(), out.ghost());
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let gv = g.get_or_alloc_mut(&vg)?;
        gv.par_chunks_mut(1).zip(go.par_chunks(hw.max(1))).for_each(|(d, plane)| d[0] += plane.iter().sum::<f32>());
        let gx = g.get_or_alloc_mut(&xg)?;
        gx.par_chunks_mut(1 << 16).zip(go.par_chunks(1 << 16)).for_each(|(d, g)| {
            d.iter_mut().zip(g).for_each(|(d, g)| *d += g);
        });
        Ok(())
    });
    out.put_tape(tape)
}
