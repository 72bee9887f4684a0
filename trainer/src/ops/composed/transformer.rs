//! What transformers are made of.
use super::attention;
use crate::ops::{Function, Kit, Mask};
use crate::tensor::{T1, T2, T3, T4, Tp};
use dfdx::prelude::*;

/// See [`Kit::linear`].
pub fn linear<D: Kit, T: Tp<D>>(x: T3<D, T>, w: &T2<D>, b: Option<&T1<D>>) -> T3<D, T> {
    let ((n, s, inputs), outputs) = (*x.shape(), w.shape().0);
    let w = w.retaped::<T>().permute::<_, Axes2<1, 0>>();
    let y = x.reshape_like(&(n * s, inputs)).matmul(w).reshape_like(&(n, s, outputs));
    match b {
        Some(b) => y + b.retaped::<T>().broadcast_like::<_, Axes2<0, 1>>(&(n, s, outputs)),
        None => y,
    }
}

/// `x (1 + erf(x / sqrt(2))) / 2`, off by at most 8e-8 |x|: erf as in Abramowitz and Stegun 7.1.26, of the absolute value.
/// (dfdx's `accurate_gelu` has a wrong gradient.)
fn gelu<S: Shape, D: Kit, T: Tp<D>>(x: Tensor<S, f32, D, T>) -> Tensor<S, f32, D, T> {
    const P: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;
    let (x, tape) = x.split_tape();
    let (magnitude, tape) = x.clone().put_tape(tape).abs().split_tape();
    let (t, tape) = (magnitude.clone().put_tape(tape) * P + 1.0).recip().split_tape();
    let mut p = t.clone().put_tape(tape) * 1.061_405_4 - 1.453_152;
    for c in [1.421_413_8, -0.284_496_74, 0.254_829_6] {
        p = p * t.clone() + c;
    }
    let erf = p * t * (x.retaped::<T>().square() * -0.5).exp() * -1.0 + 1.0;
    (erf * magnitude + x) * 0.5
}

/// See [`Kit::activate`].
pub fn activate<S: Shape, D: Kit, T: Tp<D>>(x: Tensor<S, f32, D, T>, f: Function) -> Tensor<S, f32, D, T> {
    match f {
        Function::Gelu => gelu(x),
        Function::QuickGelu => {
            let (x, tape) = x.split_tape();
            (x.clone().put_tape(tape) * 1.702).sigmoid() * x
        }
    }
}

/// See [`Kit::geglu`].
pub fn geglu<D: Kit, T: Tp<D>>(x: T3<D, T>) -> T3<D, T> {
    let (n, s, features) = *x.shape();
    let c = features / 2;
    let (x, tape) = x.split_tape();
    // A fresh id for each slice: see `conv2d`.
    let value = x.clone().put_tape(tape) * 1.0;
    let value: T3<D, T> = value.slice((.., .., ..c)).reshape_like(&(n, s, c));
    let gate: T3<D, T> = (x.retaped::<T>() * 1.0).slice((.., .., c..)).reshape_like(&(n, s, c));
    value * gelu(gate)
}

/// See [`Kit::multi_head_attention`].
pub fn multi_head_attention<D: Kit, T: Tp<D>>(
    q: T3<D, T>,
    k: T3<D, T>,
    v: T3<D, T>,
    heads: usize,
    mask: Mask<D>,
) -> T3<D, T> {
    let shape = *q.shape();
    let split = |x: T3<D, T>| -> T4<D, T> {
        let (n, s, c) = *x.shape();
        x.reshape_like(&(n, s, heads, c / heads)).permute::<_, Axes4<0, 2, 1, 3>>()
    };
    attention(split(q), split(k), split(v), mask).permute::<_, Axes4<0, 2, 1, 3>>().reshape_like(&shape)
}

/// See [`Kit::tokens`].
pub fn tokens<D: Kit, T: Tp<D>>(x: T4<D, T>) -> T3<D, T> {
    let (n, c, h, w) = *x.shape();
    x.reshape_like(&(n, c, h * w)).permute::<_, Axes3<0, 2, 1>>().contiguous()
}

/// See [`Kit::pictures`].
pub fn pictures<D: Kit, T: Tp<D>>(x: T3<D, T>, (h, w): (usize, usize)) -> T4<D, T> {
    let (n, _, c) = *x.shape();
    x.permute::<_, Axes3<0, 2, 1>>().contiguous().reshape_like(&(n, c, h, w))
}

/// See [`Kit::add`].
pub fn add<S: Shape, D: Kit, T: Tp<D>>(a: Tensor<S, f32, D, T>, b: Tensor<S, f32, D, T>) -> Tensor<S, f32, D, T> {
    // A fresh id: dfdx panics going back through a sum whose operands share one.
    a + b * 1.0
}
