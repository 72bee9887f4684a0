//! Two tensors side by side along the channels.

use super::rows::{add_to_each, for_rows};
use super::{Context, ImageShape};

/// `y[n][h][w] = [a, b] + add[n]`: the channels of `a`, then those of `b`.
///
/// `s` is the shape of `a`; `b` has the same with `c_b` channels; `add` is `n * (c + c_b)` values added per picture and
/// channel.
///
/// # Panics
/// Where a length does not fit `s` and `c_b`.
pub fn concat(ctx: &Context, s: ImageShape, a: &[f32], c_b: usize, b: &[f32], add: Option<&[f32]>, y: &mut [f32]) {
    let (pixels, c_a, c) = (s.n * s.h * s.w, s.c, s.c + c_b);
    let lengths = (a.len(), b.len(), y.len());
    assert_eq!(lengths, (pixels * c_a, pixels * c_b, pixels * c), "concat: lengths of a, b and y");
    assert!(add.is_none_or(|v| v.len() == s.n * c), "concat: length of add");
    for_rows(ctx, y, s.w * c, |row, y| {
        let (a, b) = (&a[row * s.w * c_a..], &b[row * s.w * c_b..]);
        for (i, y) in y.chunks_exact_mut(c).enumerate() {
            let (ya, yb) = y.split_at_mut(c_a);
            ya.copy_from_slice(&a[i * c_a..][..c_a]);
            yb.copy_from_slice(&b[i * c_b..][..c_b]);
        }
        add_to_each(y, add.map(|v| &v[row / s.h * c..][..c]));
    });
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    /// Against the definition, index by index. Seen red with `b` first, and with picture 0's `add` for all.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        let shapes = [(1, 1, 1, 1, 1), (2, 5, 7, 3, 4), (3, 2, 3, 17, 1), (2, 14, 15, 64, 33), (1, 2, 2, 3, 0)];
        for (step, (n, h, w, c_a, c_b)) in (0..).zip(shapes) {
            let (pixels, c) = (n * h * w, c_a + c_b);
            let (a, b, v) = (random(pixels * c_a, step), random(pixels * c_b, step + 50), random(n * c, step + 100));
            for add in [None, Some(&v[..])] {
                let mut y = vec![f32::NAN; pixels * c];
                concat(&Context::new(2), ImageShape { n, h, w, c: c_a }, &a, c_b, &b, add, &mut y);
                for (i, got) in y.iter().enumerate() {
                    let (pixel, ch) = (i / c, i % c);
                    let want = if ch < c_a { a[pixel * c_a + ch] } else { b[pixel * c_b + ch - c_a] };
                    assert_eq!(*got, want + add.map_or(0.0, |v| v[pixel / (h * w) * c + ch]));
                }
            }
        }
    }
}
