//! An elementwise function by itself, where no operation took it in.

use super::simd::vectorized;
use super::{Activation, Context, epilogue};

/// Values that a task changes: some microseconds of work.
const TASK: usize = 8192;

vectorized!(chunk(activation: Activation, y: &mut [f32]) = portable);

#[inline(always)]
fn portable(activation: Activation, y: &mut [f32]) {
    epilogue::apply(activation, y);
}

/// `y = activation(y)`, the same bits as in an [`super::Epilogue`]; any activation but [`Activation::Geglu`].
pub fn activate(ctx: &Context, activation: Activation, y: &mut [f32]) {
    ctx.pool.for_chunks(y, TASK, &|_, y| chunk(ctx.isa(), activation, y));
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::super::rows::random;
    use super::*;
    use crate::cpu::Isa;

    /// Against the definition, on every instruction set with the same bits. Seen red with the first chunk only, and
    /// with what is to be negated left as it is.
    #[test]
    fn equals_the_definition() {
        let x: alloc::vec::Vec<f32> = random(2 * TASK + 77, 0).iter().map(|v| v * 6.0).collect();
        for a in Activation::OF_ONE {
            let mut first = x.clone();
            activate(&Context::with_isa(1, Isa::Scalar).unwrap(), a, &mut first);
            for (&y, &x) in first.iter().zip(&x) {
                let want = definition::activate(a, f64::from(x));
                assert!(
                    (f64::from(y) - want).abs() <= 5e-7 * want.abs().max(f64::from(x.abs())),
                    "{a:?}({x}) = {y}, not {want}"
                );
            }
            for isa in Isa::available() {
                let mut y = x.clone();
                activate(&Context::with_isa(2, isa).unwrap(), a, &mut y);
                assert!(y == first, "{a:?}, {isa}");
            }
        }
    }
}
