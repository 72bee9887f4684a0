//! SiLU: `x sigmoid(x)`. Elfwing et al. 2017.
use super::exp::{silu as value, silu_slope};
use super::storage::{data, take_gradient, written};
use super::wide;
use crate::tensor::Tp;
use dfdx::prelude::*;
use rayon::prelude::*;

/// Values in one piece of work.
const CHUNK: usize = 1 << 14;

/// See [`crate::ops::Kit::silu`].
pub fn silu<S: Shape, T: Tp<Cpu>>(x: Tensor<S, f32, Cpu, T>) -> Tensor<S, f32, Cpu, T> {
    let (x, mut tape) = x.split_tape();
    let xs = data(&x);
    // SAFETY: every element of the chunk is written.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            xs.len(),
            CHUNK,
            || (),
            |(), i, y| {
                wide(|| y.iter_mut().zip(&xs[i * CHUNK..]).for_each(|(y, x)| _ = y.write(value(*x))));
            },
        )
    };
    let out = x.device().tensor_from_vec(y, *x.shape());
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let gx = g.get_or_alloc_mut(&x)?;
        let chunks = gx.par_chunks_mut(CHUNK).zip(go.par_chunks(CHUNK)).zip(data(&x).par_chunks(CHUNK));
        chunks.for_each(|((d, g), x)| {
            wide(|| d.iter_mut().zip(g).zip(x).for_each(|((d, g), x)| *d += g * silu_slope(*x)));
        });
        Ok(())
    });
    out.put_tape(tape)
}
