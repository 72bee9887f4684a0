//! The gradient of a label's log-probability with respect to the logits.

use super::Context;
use super::log_softmax::log_sum_exp;
use super::rows::for_rows;

/// `y = onehot(ids[row]) - softmax(x)` for each row of `c` logits; zeros where there is no id.
///
/// # Panics
/// Where a length does not fit.
pub fn log_softmax_backward(ctx: &Context, c: usize, x: &[f32], ids: &[Option<u32>], y: &mut [f32]) {
    let len = ids.len() * c;
    assert_eq!((x.len(), y.len()), (len, len), "log_softmax_backward: lengths of x and y");
    for_rows(ctx, y, c, |row, y| {
        let Some(id) = ids[row] else { return y.fill(0.0) };
        let x = &x[row * c..][..c];
        let sum = log_sum_exp(x);
        for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
            let own = if i == id as usize { 1.0 } else { 0.0 };
            *y = own - libm::expf(x - sum);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::{definition, rows::random};
    use super::*;
    use alloc::vec;

    /// Against central differences of the definition.
    ///
    /// Seen red with the one of the label left out.
    #[test]
    fn equals_differences_of_the_log_probability() {
        let c = 10;
        let (x, ids) = (random(3 * c, 0), [Some(4), None, Some(9)]);
        let mut y = vec![f32::NAN; x.len()];
        log_softmax_backward(&Context::new(2), c, &x, &ids, &mut y);
        for (row, id) in ids.into_iter().enumerate() {
            for i in 0..c {
                let at = |step: f32| {
                    let mut x = x.clone();
                    x[row * c + i] += step;
                    id.map_or(0.0, |id| definition::log_softmax(c, &x)[row * c + id as usize])
                };
                let slope = (at(1.0 / 64.0) - at(-1.0 / 64.0)) * 32.0;
                let y = f64::from(y[row * c + i]);
                assert!((y - slope).abs() <= 1e-4, "{row} {i}: {y} {slope}");
            }
        }
    }
}
