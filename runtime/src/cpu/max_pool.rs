//! Maximum over 2x2 windows with stride 2.

use super::rows::{add_to_each, for_rows};
use super::{Context, ImageShape};

/// The larger; NaN wins, so that it is not lost on the way to whoever reports it.
#[inline(always)]
fn max(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// `y[n][h/2][w/2][c] = max of the window in x + add[n][c]`. An odd last row or column belongs to no window.
///
/// `s` is the shape of `x`; `add` is `n * c` values added per picture and channel after pooling.
///
/// # Panics
/// Where a length does not fit `s`.
pub fn max_pool2(ctx: &Context, s: ImageShape, x: &[f32], add: Option<&[f32]>, y: &mut [f32]) {
    let (ho, wo, c) = (s.h / 2, s.w / 2, s.c);
    assert_eq!((x.len(), y.len()), (s.n * s.h * s.w * c, s.n * ho * wo * c), "max_pool2: lengths of x and y");
    assert!(add.is_none_or(|v| v.len() == s.n * c), "max_pool2: length of add");
    for_rows(ctx, y, wo * c, |row, y| {
        let (image, oy) = (row / ho, row % ho);
        let top = &x[(image * s.h + 2 * oy) * s.w * c..][..s.w * c];
        let bottom = &x[(image * s.h + 2 * oy + 1) * s.w * c..][..s.w * c];
        let windows = top.chunks_exact(2 * c).zip(bottom.chunks_exact(2 * c));
        for (y, (top, bottom)) in y.chunks_exact_mut(c).zip(windows) {
            let ((a, b), (d, e)) = (top.split_at(c), bottom.split_at(c));
            for ((((y, a), b), d), e) in y.iter_mut().zip(a).zip(b).zip(d).zip(e) {
                *y = max(max(*a, *b), max(*d, *e));
            }
        }
        add_to_each(y, add.map(|v| &v[image * c..][..c]));
    });
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    /// Against the definition, index by index, odd sizes among them. Seen red with the height of
    /// the input taken as even, with the bottom row left out, and with picture 0's `add` for all.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        let shapes = [(1, 2, 2, 1), (2, 5, 7, 3), (3, 4, 6, 17), (2, 3, 3, 64), (1, 28, 28, 33), (1, 1, 5, 2)];
        for (step, (n, h, w, c)) in (0..).zip(shapes) {
            let (x, v) = (random(n * h * w * c, step), random(n * c, step + 100));
            let at = |i: usize, y: usize, x_: usize, ch: usize| x[((i * h + y) * w + x_) * c + ch];
            for add in [None, Some(&v[..])] {
                let mut got = vec![f32::NAN; n * (h / 2) * (w / 2) * c];
                max_pool2(&Context::new(2), ImageShape { n, h, w, c }, &x, add, &mut got);
                let mut values = got.iter();
                for (i, oy, ox, ch) in indices(n, h / 2, w / 2, c) {
                    let (y, x_) = (2 * oy, 2 * ox);
                    let top = at(i, y, x_, ch).max(at(i, y, x_ + 1, ch));
                    let want = top.max(at(i, y + 1, x_, ch)).max(at(i, y + 1, x_ + 1, ch));
                    assert_eq!(*values.next().unwrap(), want + add.map_or(0.0, |v| v[i * c + ch]));
                }
                assert!(values.next().is_none());
            }
        }
    }

    fn indices(n: usize, h: usize, w: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..n * h * w * c).map(move |i| (i / (h * w * c), i / (w * c) % h, i / c % w, i % c))
    }

    /// Seen red with `f32::max`.
    #[test]
    fn nan_stays_wherever_it_is() {
        for place in 0..4 {
            let (mut x, mut y) = ([1.0f32; 4], [0.0]);
            x[place] = f32::NAN;
            max_pool2(&Context::new(1), ImageShape { n: 1, h: 2, w: 2, c: 1 }, &x, None, &mut y);
            assert!(y[0].is_nan(), "{place}");
        }
    }
}
