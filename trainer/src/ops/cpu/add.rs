//! The sum of two tensors of one shape.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use crate::tensor::Tp;
use dfdx::prelude::*;

/// Values in one piece of work.
const CHUNK: usize = 1 << 15;

/// See [`crate::ops::Kit::add`].
pub fn add<S: Shape, T: Tp<Cpu>>(a: Tensor<S, f32, Cpu, T>, b: Tensor<S, f32, Cpu, T>) -> Tensor<S, f32, Cpu, T> {
    assert_eq!(a.shape().concrete(), b.shape().concrete(), "the two tensors have one shape");
    let (a, tape) = a.split_tape();
    let (b, b_tape) = b.split_tape();
    let mut tape = tape.merge(b_tape);
    let (xa, xb) = (data(&a), data(&b));
    // SAFETY: every element of the chunk is written.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            xa.len(),
            CHUNK,
            || (),
            |(), i, y| {
                let at = i * CHUNK;
                y.iter_mut().zip(&xa[at..]).zip(&xb[at..]).for_each(|((y, a), b)| _ = y.write(a + b));
            },
        )
    };
    let out = a.device().tensor_from_vec(y, *a.shape());
    let (ag, bg, og) = (a.ghost(), b.ghost(), out.ghost());
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let add = |d: &mut [f32]| {
            d.par_chunks_mut(CHUNK).zip(go.par_chunks(CHUNK)).for_each(|(d, g)| {
                d.iter_mut().zip(g).for_each(|(d, g)| *d += g);
            });
        };
        // One after the other: the two may be one tensor.
        add(g.get_or_alloc_mut(&ag)?);
        add(g.get_or_alloc_mut(&bg)?);
        Ok(())
    });
    out.put_tape(tape)
}
