//! What ReLU lets pass of a gradient.

use super::Context;

/// Values that a task changes.
const TASK: usize = 16384;

/// `y = y` where `relu`, the function's result, is above 0, else 0: `y` is the gradient, of equal length. A NaN of
/// `relu` passes the gradient on, as in PyTorch.
///
/// # Panics
/// Where the lengths differ.
pub fn relu_backward(ctx: &Context, relu: &[f32], y: &mut [f32]) {
    assert_eq!(relu.len(), y.len(), "relu_backward: lengths");
    ctx.pool.for_chunks(y, TASK, &|task, y| {
        y.iter_mut().zip(&relu[task * TASK..]).for_each(|(y, relu)| *y = if *relu <= 0.0 { 0.0 } else { *y });
    });
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;

    /// Seen red with `<` for `<=`.
    #[test]
    fn passes_where_the_function_was_above_zero() {
        let (g, x) = (random(TASK + 5, 0), random(TASK + 5, 1));
        let mut relu = x.clone();
        super::super::activate(&Context::new(1), super::super::Activation::Relu, &mut relu);
        let mut y = g.clone();
        relu_backward(&Context::new(2), &relu, &mut y);
        assert!((0..y.len()).all(|i| y[i] == if x[i] > 0.0 { g[i] } else { 0.0 }));
        let mut y = [1.0, 2.0];
        relu_backward(&Context::new(1), &[0.0, f32::NAN], &mut y);
        assert_eq!(y, [0.0, 2.0]);
    }
}
