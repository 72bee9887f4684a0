//! SiLU: `x sigmoid(x)`. Elfwing et al. 2017.
use super::activate::elementwise;
use super::exp::{silu as value, silu_slope};
use crate::tensor::Tp;
use dfdx::prelude::*;

/// See [`crate::ops::Kit::silu`].
pub fn silu<S: Shape, T: Tp<Cpu>>(x: Tensor<S, f32, Cpu, T>) -> Tensor<S, f32, Cpu, T> {
    elementwise(x, value, silu_slope)
}
