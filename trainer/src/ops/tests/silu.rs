use super::{Form, check, finish, normal};
use crate::ops::{Kit, composed};
use crate::tensor::T3;
use dfdx::prelude::*;

/// Seen red with sigmoid's slope left out of the derivative.
#[test]
fn silu() {
    for (a, b, c) in [(1, 1, 1), (3, 7, 5), (3, 101, 67)] {
        let x: Vec<f32> = normal("x", a * b * c).iter().map(|x| 3.0 * x).collect();
        check(&[x], 1e-2, |v, form| {
            let x: T3<Cpu> = Cpu::default().tensor_from_vec(v[0].clone(), (a, b, c));
            let y = if form == Form::Fused { Cpu::silu(x.leaky_trace()) } else { composed::silu(x.leaky_trace()) };
            finish(y, &[&x])
        });
    }
}
