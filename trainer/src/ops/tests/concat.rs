use super::{Form, check, finish, normal};
use crate::ops::{Kit, composed};
use crate::tensor::T4;
use dfdx::prelude::*;

/// Seen red with the gradient of `b` read from where that of `a` begins.
#[test]
fn concat() {
    for (n, ca, cb, h, w) in [(1, 1, 1, 1, 1), (3, 5, 2, 7, 5), (11, 2, 3, 3, 4)] {
        check(&[normal("a", n * ca * h * w), normal("b", n * cb * h * w)], 1e-2, |v, form| {
            let d = Cpu::default();
            let a: T4<Cpu> = d.tensor_from_vec(v[0].clone(), (n, ca, h, w));
            let b: T4<Cpu> = d.tensor_from_vec(v[1].clone(), (n, cb, h, w));
            let y = match form {
                Form::Fused => Cpu::concat(a.leaky_trace(), b.retaped()),
                Form::Composed => composed::concat(a.leaky_trace(), b.retaped()),
            };
            finish(y, &[&a, &b])
        });
    }
}
