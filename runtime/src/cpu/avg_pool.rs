//! Average over 2x2 windows with stride 2.

use super::rows::for_rows;
use super::{Context, ImageShape};

/// `y[n][ceil(h/2)][ceil(w/2)][c] = average of the window in x`. Of an odd last row or column the windows are half as large, and
/// their average is over what is there.
///
/// `s` is the shape of `x`.
///
/// # Panics
/// Where a length does not fit `s`.
pub fn avg_pool2(ctx: &Context, s: ImageShape, x: &[f32], y: &mut [f32]) {
    let (ho, wo, c) = (s.h.div_ceil(2), s.w.div_ceil(2), s.c);
    assert_eq!((x.len(), y.len()), (s.n * s.h * s.w * c, s.n * ho * wo * c), "avg_pool2: lengths of x and y");
    for_rows(ctx, y, wo * c, |row, y| {
        let (image, oy) = (row / ho, row % ho);
        let line = |row: usize| &x[(image * s.h + row) * s.w * c..][..s.w * c];
        // A row that is not there is the one above once more, and so is a column.
        let (top, bottom) = (line(2 * oy), line((2 * oy + 1).min(s.h - 1)));
        for (column, y) in y.chunks_exact_mut(c).enumerate() {
            let (left, right) = (2 * column * c, (2 * column + 1).min(s.w - 1) * c);
            let (a, b) = (&top[left..][..c], &top[right..][..c]);
            let (d, e) = (&bottom[left..][..c], &bottom[right..][..c]);
            for ((((y, a), b), d), e) in y.iter_mut().zip(a).zip(b).zip(d).zip(e) {
                *y = 0.25 * ((a + b) + (d + e));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    /// Against the definition, index by index, odd sizes among them. Seen red with sides rounded down, with the row that is not
    /// there taken from the row above the last, and with picture 0 read for all.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        let shapes = [(1, 2, 2, 1), (2, 5, 7, 3), (3, 4, 6, 17), (2, 3, 3, 64), (1, 28, 28, 33), (1, 1, 5, 2)];
        for (step, (n, h, w, c)) in (0..).zip(shapes) {
            let x = random(n * h * w * c, step);
            let (ho, wo) = (h.div_ceil(2), w.div_ceil(2));
            let mut got = vec![f32::NAN; n * ho * wo * c];
            avg_pool2(&Context::new(2), ImageShape { n, h, w, c }, &x, &mut got);
            for (i, got) in got.iter().enumerate() {
                let (image, oy, ox, ch) = (i / (ho * wo * c), i / (wo * c) % ho, i / c % wo, i % c);
                let rows = 2 * oy..(2 * oy + 2).min(h);
                let places = rows.flat_map(|y| (2 * ox..(2 * ox + 2).min(w)).map(move |x| (y, x)));
                let (sum, count) = places.fold((0.0f64, 0.0), |(sum, count), (y, column)| {
                    (sum + f64::from(x[((image * h + y) * w + column) * c + ch]), count + 1.0)
                });
                assert!((f64::from(*got) - sum / count).abs() < 1e-6, "{n}x{h}x{w}x{c}, {i}");
            }
        }
    }
}
