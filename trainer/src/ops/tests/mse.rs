use super::{Form, check, finish, normal};
use crate::ops::{Kit, composed};
use crate::tensor::T4;
use dfdx::prelude::*;

/// Seen red without the factor 2 in the gradient.
#[test]
fn mse() {
    for (n, c, h, w) in [(1, 1, 1, 1), (3, 2, 5, 7)] {
        let target = normal("target", n * c * h * w);
        check(&[normal("x", n * c * h * w)], 1e-2, |v, form| {
            let d = Cpu::default();
            let x: T4<Cpu> = d.tensor_from_vec(v[0].clone(), (n, c, h, w));
            let target: T4<Cpu> = d.tensor_from_vec(target.clone(), (n, c, h, w));
            let (y, value) = match form {
                Form::Fused => Cpu::mse(x.leaky_trace(), &target),
                Form::Composed => composed::mse(x.leaky_trace(), &target),
            };
            let mut outcome = finish(y, &[&x]);
            assert!((outcome.y[0] - value).abs() <= 1e-6 * value);
            outcome.y = vec![value];
            outcome
        });
    }
}
