//! Some neighbouring channels of each pixel.

use super::Context;
use super::rows::for_rows;

/// `y[i][j] = x[i][from + j]`: of pixels of `c` channels those from `from` on, `channels` of them.
///
/// # Panics
/// Where a length does not fit, or there are not so many channels.
pub fn slice(ctx: &Context, c: usize, [from, channels]: [usize; 2], x: &[f32], y: &mut [f32]) {
    assert!(from + channels <= c, "slice: channels");
    if y.is_empty() {
        return;
    }
    let pixels = y.len() / channels;
    assert_eq!((y.len(), x.len()), (pixels * channels, pixels * c), "slice: lengths of x and y");
    for_rows(ctx, y, channels, |i, y| y.copy_from_slice(&x[i * c + from..][..channels]));
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    /// Against the definition, index by index. Seen red with the first channels always.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        for (step, (pixels, c, from, channels)) in
            (0..).zip([(1, 1, 0, 1), (5, 7, 2, 3), (3000, 9, 8, 1), (2, 40_000, 1, 30_000)])
        {
            let (x, mut y) = (random(pixels * c, step), vec![f32::NAN; pixels * channels]);
            slice(&Context::new(2), c, [from, channels], &x, &mut y);
            assert!((0..y.len()).all(|i| y[i] == x[i / channels * c + from + i % channels]), "{pixels}x{c}");
        }
    }
}
