//! Mean squared error with an f64 sum: dfdx's own reduction is one running f32 sum.
use super::parallel::prelude::*;
use super::storage::data;
use crate::tensor::{T4, Tp};
use dfdx::prelude::*;

/// See [`crate::ops::Kit::mse`].
pub fn mse<T: Tp<Cpu>>(x: T4<Cpu, T>, target: &T4<Cpu>) -> (Tensor<Rank0, f32, Cpu, T>, f64) {
    let (x, mut tape) = x.split_tape();
    let target = target.clone();
    let n = x.shape().num_elements();
    // Chunks of fixed size, added in order: the same on any number of threads.
    let chunk =
        |(x, y): (&[f32], &[f32])| x.iter().zip(y).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum::<f64>();
    let chunks = data(&x).par_chunks(1 << 12).zip(data(&target).par_chunks(1 << 12));
    let sum: f64 = chunks.map(chunk).collect().iter().sum();
    let value = sum / n as f64;
    let out = x.device().tensor_from_vec(vec![value as f32], ());
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = g.get_or_alloc_mut(&og)?[0] * 2.0 / n as f32;
        let gx = g.get_or_alloc_mut(&x)?;
        for ((d, x), y) in gx.iter_mut().zip(data(&x)).zip(data(&target)) {
            *d += go * (x - y);
        }
        Ok(())
    });
    (out.put_tape(tape), value)
}
