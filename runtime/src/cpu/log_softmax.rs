//! Logarithms of probabilities.

use super::Context;
use super::rows::for_rows;

/// The logarithm of the sum of exponentials. A NaN makes it one.
pub(super) fn log_sum_exp(x: &[f32]) -> f32 {
    let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    top + libm::logf(x.iter().map(|x| libm::expf(x - top)).sum())
}

/// `y[i] = x[i] - log(sum(exp(x)))` for each row of `c` logits.
///
/// # Panics
/// Where the lengths differ, or are not of whole rows.
pub fn log_softmax(ctx: &Context, c: usize, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == y.len() && x.len().is_multiple_of(c), "log_softmax: lengths of x and y");
    for_rows(ctx, y, c, |row, y| {
        let x = &x[row * c..][..c];
        let sum = log_sum_exp(x);
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x - sum);
    });
}

#[cfg(test)]
mod tests {
    use super::super::{definition, rows::random};
    use super::*;
    use alloc::vec;

    /// Seen red with the greatest logit not subtracted.
    #[test]
    fn equals_the_definition() {
        for (rows, c) in [(1, 1), (3, 10), (5, 37)] {
            let x: vec::Vec<f32> = random(rows * c, 0).iter().map(|x| x * 100.0).collect();
            let mut y = vec![f32::NAN; x.len()];
            log_softmax(&Context::new(2), c, &x, &mut y);
            for (y, want) in y.iter().zip(definition::log_softmax(c, &x)) {
                assert!((f64::from(*y) - want).abs() <= 1e-5 * (1.0 + want.abs() / 10.0), "{y} {want}");
            }
        }
        let mut y = [0.0; 2];
        log_softmax(&Context::new(1), 2, &[f32::NAN, 1.0], &mut y);
        assert!(y[0].is_nan() && y[1].is_nan());
        // Logits whose exponentials are no numbers.
        log_softmax(&Context::new(1), 2, &[1000.0, 1000.0], &mut y);
        assert!((y[0] + core::f32::consts::LN_2).abs() < 1e-4);
    }
}
