//! The gradient of a maximum over 2x2 windows.

use super::rows::for_rows;
use super::{Context, ImageShape};

/// The better of two, each with its place in the window: the earlier of equals; a NaN wins, as in the pooling.
#[inline(always)]
fn better(a: (f32, usize), b: (f32, usize)) -> (f32, usize) {
    if b.0 > a.0 || b.0.is_nan() { b } else { a }
}

/// `y`, of the shape `s` of `x`: the gradient `g[n][h/2][w/2][c]` of each window at the place of its largest element,
/// the first in row-major order of several (as in PyTorch), 0 elsewhere. Both sides of `s` are even.
///
/// # Panics
/// Where a length does not fit `s`, or a side is odd.
pub fn max_pool2_backward(ctx: &Context, s: ImageShape, x: &[f32], g: &[f32], y: &mut [f32]) {
    let (len, c, line) = (s.n * s.h * s.w * s.c, s.c, s.w * s.c);
    assert!(s.h.is_multiple_of(2) && s.w.is_multiple_of(2), "max_pool2_backward: an odd side");
    assert_eq!((x.len(), g.len(), y.len()), (len, len / 4, len), "max_pool2_backward: lengths of x, g and y");
    // Two lines at a time: windows.
    for_rows(ctx, y, 2 * line, |row, y| {
        let (top, bottom) = x[row * 2 * line..][..2 * line].split_at(line);
        let g = &g[row * line / 2..][..line / 2];
        y.fill(0.0);
        for (i, &g) in g.iter().enumerate() {
            let at = i / c * 2 * c + i % c;
            let window =
                [(top[at], at), (top[at + c], at + c), (bottom[at], line + at), (bottom[at + c], line + at + c)];
            let (_, place) = window.into_iter().reduce(better).unwrap_or_default();
            y[place] = g;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    /// Against the definition: differences of the pooling itself, of values a step apart.
    ///
    /// Seen red with the bottom line's places taken for the top's.
    #[test]
    fn equals_the_differences_of_the_pooling() {
        let ctx = Context::new(2);
        for (step, (n, h, w, c)) in (0..).zip([(1, 2, 2, 1), (2, 4, 6, 3), (3, 2, 8, 17), (1, 28, 28, 5)]) {
            let s = ImageShape { n, h, w, c };
            // All different, so that a maximum is one element's.
            let mut x: vec::Vec<f32> = (0..n * h * w * c).map(|i| (i * 7919 % 10007) as f32).collect();
            let g = random(x.len() / 4, step);
            let mut y = vec![f32::NAN; x.len()];
            max_pool2_backward(&ctx, s, &x, &g, &mut y);
            let mut pooled = [vec![0.0; g.len()], vec![0.0; g.len()]];
            super::super::max_pool2(&ctx, s, &x, None, &mut pooled[0]);
            for i in 0..x.len() {
                x[i] += 0.25;
                super::super::max_pool2(&ctx, s, &x, None, &mut pooled[1]);
                x[i] -= 0.25;
                let slope = (0..g.len()).map(|j| (pooled[1][j] - pooled[0][j]) * 4.0 * g[j]).sum::<f32>();
                assert_eq!(y[i], slope, "{i}");
            }
        }
    }

    /// Seen red with `>=` for `>`.
    #[test]
    fn the_first_of_equals_has_it() {
        let mut y = [f32::NAN; 4];
        let s = ImageShape { n: 1, h: 2, w: 2, c: 1 };
        for (x, expected) in [
            ([0.0; 4], [3.0, 0.0, 0.0, 0.0]),
            ([0.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.0, 0.0]),
            ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 3.0, 0.0]),
            ([0.0, f32::NAN, 1.0, 2.0], [0.0, 3.0, 0.0, 0.0]),
        ] {
            max_pool2_backward(&Context::new(1), s, &x, &[3.0], &mut y);
            assert_eq!(y, expected);
        }
    }
}
