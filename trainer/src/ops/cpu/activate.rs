//! Elementwise functions, and the gate of a transformer's feed-forward layer.
use super::exp::{exp, sigmoid};
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use super::wide;
use crate::ops::Function;
use crate::tensor::{T3, Tp};
use dfdx::prelude::*;

/// Values in one piece of work.
const CHUNK: usize = 1 << 13;

/// The normal distribution's Phi, `(1 + erf(x / sqrt(2))) / 2`, off by at most 2.5e-7: erf(z) = z P(z²) / Q(z²) for |z| <= 4
/// (Eigen's rational minimax approximation, which the runtime uses too).
#[inline(always)]
fn phi(x: f32) -> f32 {
    let z = (x * std::f32::consts::FRAC_1_SQRT_2).clamp(-4.0, 4.0);
    let w = z * z;
    let mut p = -2.726_142_3e-10f32;
    for c in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2] {
        p = p * w + c;
    }
    let mut q = -1.456_607_18e-5f32;
    for c in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2] {
        q = q * w + c;
    }
    0.5 * (1.0 + (z * p / q).clamp(-1.0, 1.0))
}

#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    x * phi(x)
}

/// `x Phi(x)` and its derivative `Phi(x) + x phi(x)`.
#[inline(always)]
pub(crate) fn gelu_with_slope(x: f32) -> (f32, f32) {
    const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
    let p = phi(x);
    (x * p, p + x * DENSITY * exp(-0.5 * x * x))
}

#[inline(always)]
fn quick_gelu(x: f32) -> f32 {
    x * sigmoid(1.702 * x)
}

#[inline(always)]
pub(crate) fn quick_gelu_slope(x: f32) -> f32 {
    let s = sigmoid(1.702 * x);
    s * (1.0 + 1.702 * x * (1.0 - s))
}

/// `value` of each element, and the gradient through `slope`.
#[inline(always)]
pub(super) fn elementwise<S: Shape, T: Tp<Cpu>>(
    x: Tensor<S, f32, Cpu, T>,
    value: impl Fn(f32) -> f32 + Sync + Send,
    slope: impl Fn(f32) -> f32 + Sync + Send + 'static,
) -> Tensor<S, f32, Cpu, T> {
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
            wide(|| d.iter_mut().zip(g).zip(x).for_each(|((d, g), x)| *d += g * slope(*x)));
        });
        Ok(())
    });
    out.put_tape(tape)
}

/// See [`crate::ops::Kit::activate`].
pub fn activate<S: Shape, T: Tp<Cpu>>(x: Tensor<S, f32, Cpu, T>, f: Function) -> Tensor<S, f32, Cpu, T> {
    match f {
        Function::Gelu => elementwise(x, gelu, |x| gelu_with_slope(x).1),
        Function::QuickGelu => elementwise(x, quick_gelu, quick_gelu_slope),
    }
}

/// See [`crate::ops::Kit::geglu`].
pub fn geglu<T: Tp<Cpu>>(x: T3<Cpu, T>) -> T3<Cpu, T> {
    let (n, s, features) = *x.shape();
    assert!(features > 0 && features % 2 == 0, "{features} features have no halves");
    let c = features / 2;
    let rows = (CHUNK / features).max(1);
    let (x, mut tape) = x.split_tape();
    let xs = data(&x);
    // SAFETY: every element of the chunk (whole rows) is written.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            n * s * c,
            rows * c,
            || (),
            |(), i, y| {
                for (y, x) in y.chunks_exact_mut(c).zip(xs[i * rows * features..].chunks_exact(features)) {
                    let (value, gate) = x.split_at(c);
                    wide(|| y.iter_mut().zip(value).zip(gate).for_each(|((y, v), g)| _ = y.write(v * gelu(*g))));
                }
            },
        )
    };
    let out = x.device().tensor_from_vec(y, (n, s, c));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let gx = g.get_or_alloc_mut(&x)?;
        let chunks =
            gx.par_chunks_mut(rows * features).zip(go.par_chunks(rows * c)).zip(data(&x).par_chunks(rows * features));
        chunks.for_each(|((d, go), x)| {
            for ((d, go), x) in d.chunks_exact_mut(features).zip(go.chunks_exact(c)).zip(x.chunks_exact(features)) {
                let ((dv, dg), (value, gate)) = (d.split_at_mut(c), x.split_at(c));
                wide(|| {
                    for ((((dv, dg), go), v), g) in dv.iter_mut().zip(dg).zip(go).zip(value).zip(gate) {
                        let (gelu, slope) = gelu_with_slope(*g);
                        *dv += go * gelu;
                        *dg += go * v * slope;
                    }
                });
            }
        });
        Ok(())
    });
    out.put_tape(tape)
}
