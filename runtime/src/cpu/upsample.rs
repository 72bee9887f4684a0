//! Twice the height and width: bilinear with half-pixel centres, and nearest.

use super::rows::for_rows;
use super::{Context, ImageShape};

fn check(s: ImageShape, [h, w]: [usize; 2], x: &[f32], y: &[f32]) {
    let len = |h, w| s.n * h * w * s.c;
    assert_eq!((x.len(), y.len()), (len(s.h, s.w), len(h, w)), "upsample: lengths of x and y");
}

/// Bilinear, half-pixel centres, edges clamped (`align_corners=False`), `s` the shape of `x`:
/// along each axis `y[2i] = x[i-1] / 4 + 3 x[i] / 4` and `y[2i+1] = 3 x[i] / 4 + x[i+1] / 4`; rows are blended first.
///
/// # Panics
/// Where a length does not fit `s`.
pub fn upsample_bilinear2(ctx: &Context, s: ImageShape, x: &[f32], y: &mut [f32]) {
    check(s, [2 * s.h, 2 * s.w], x, y);
    let (w, c) = (s.w, s.c);
    for_rows(ctx, y, 2 * w * c, |row, y| {
        let (image, oy) = (row / (2 * s.h), row % (2 * s.h));
        // The nearer row weighs 3/4; at an edge it is both rows, and weighs all.
        let near = oy / 2;
        let far = if oy % 2 == 0 { near.saturating_sub(1) } else { usize::min(near + 1, s.h - 1) };
        let (near_weight, far_weight) = if far == near { (1.0, 0.0) } else { (0.75, 0.25) };
        let line = |y: usize| &x[(image * s.h + y) * w * c..][..w * c];
        let (near, far) = (line(near), line(far));
        let blend = |near: f32, far: f32| near_weight * near + far_weight * far;

        let (first, y) = y.split_at_mut(c);
        let (pairs, last) = y.split_at_mut(2 * (w - 1) * c);
        for (y, (near, far)) in first.iter_mut().zip(near.iter().zip(far)) {
            *y = blend(*near, *far);
        }
        for (y, (near, far)) in last.iter_mut().zip(near.iter().zip(far).skip((w - 1) * c)) {
            *y = blend(*near, *far);
        }
        // The two pixels between columns i and i + 1 share their blends.
        for (i, pair) in pairs.chunks_exact_mut(2 * c).enumerate() {
            let (ya, yb) = pair.split_at_mut(c);
            let (near_a, near_b) = near[i * c..][..2 * c].split_at(c);
            let (far_a, far_b) = far[i * c..][..2 * c].split_at(c);
            let columns = near_a.iter().zip(far_a).zip(near_b.iter().zip(far_b));
            for ((ya, yb), ((na, fa), (nb, fb))) in ya.iter_mut().zip(yb).zip(columns) {
                let (a, b) = (blend(*na, *fa), blend(*nb, *fb));
                *ya = 0.75 * a + 0.25 * b;
                *yb = 0.25 * a + 0.75 * b;
            }
        }
    });
}

/// Nearest: every pixel becomes a block of 2x2; `s` is the shape of `x`, and `y` has height and width `to`, twice those of
/// `x`, or one less, without the last row or column.
///
/// # Panics
/// Where a length does not fit `s` and `to`.
pub fn upsample_nearest2(ctx: &Context, s: ImageShape, to @ [h, w]: [usize; 2], x: &[f32], y: &mut [f32]) {
    check(s, to, x, y);
    let c = s.c;
    for_rows(ctx, y, w * c, |row, y| {
        let (image, row) = (row / h, row % h);
        let line = &x[(image * s.h + row / 2) * s.w * c..][..s.w * c];
        for (y, x) in y.chunks_mut(2 * c).zip(line.chunks_exact(c)) {
            y.chunks_exact_mut(c).for_each(|y| y.copy_from_slice(x));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    const REFERENCE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/diffusion.json"));

    /// The book's literal values. Seen red with aligned corners' weights (1/2) and with the far row on the wrong side.
    #[test]
    fn bilinear_has_the_books_values() {
        let reference: serde_json::Value = serde_json::from_str(REFERENCE).unwrap();
        let ctx = Context::new(1);
        for (transposed, (h, w)) in [(1, 4), (4, 1)].into_iter().enumerate() {
            let mut y = [0f32; 16];
            upsample_bilinear2(&ctx, ImageShape { n: 1, h, w, c: 1 }, &[0.0, 1.0, 2.0, 3.0], &mut y);
            let want = &reference["upsample 1x4 [0,1,2,3] row"];
            for i in 0..8 {
                let copies = if transposed == 1 { [y[2 * i], y[2 * i + 1]] } else { [y[i], y[8 + i]] };
                assert_eq!(copies.map(|v| Some(f64::from(v))), [want[i].as_f64(); 2]);
            }
        }
        let mut y = [0f32; 16];
        upsample_bilinear2(&ctx, ImageShape { n: 1, h: 2, w: 2, c: 1 }, &[1.0, 2.0, 3.0, 4.0], &mut y);
        let want = &reference["upsample 2x2"];
        (0..16).for_each(|i| assert_eq!(Some(f64::from(y[i])), want[i / 4][i % 4].as_f64()));
    }

    /// torch's formula, pixel by pixel in f64: source = max((i + 0.5) / 2 - 0.5, 0), neighbours clamped.
    fn bilinear(s: ImageShape, x: &[f32], image: usize, oy: usize, ox: usize, ch: usize) -> f64 {
        let axis = |o: usize, len: usize| {
            let source = f64::max((o as f64 + 0.5) / 2.0 - 0.5, 0.0);
            let low = source as usize;
            (low, usize::min(low + 1, len - 1), source - low as f64)
        };
        let at = |y: usize, x_: usize| f64::from(x[((image * s.h + y) * s.w + x_) * s.c + ch]);
        let ((y0, y1, fy), (x0, x1, fx)) = (axis(oy, s.h), axis(ox, s.w));
        let line = |y: usize| (1.0 - fx) * at(y, x0) + fx * at(y, x1);
        (1.0 - fy) * line(y0) + fy * line(y1)
    }

    /// Seen red with the last column taken from the first, the weights of the pair exchanged, and picture 0 for all; and with
    /// rows rounded up.
    #[test]
    fn both_equal_their_definitions_on_odd_shapes() {
        let shapes = [(1, 1, 1, 1), (2, 5, 7, 3), (1, 1, 4, 17), (3, 3, 1, 2), (2, 14, 14, 65)];
        for (step, (n, h, w, c)) in (0..).zip(shapes) {
            let s = ImageShape { n, h, w, c };
            let x = random(n * h * w * c, step);
            let (mut smooth, mut blocks) = (vec![f32::NAN; 4 * x.len()], vec![f32::NAN; 4 * x.len()]);
            upsample_bilinear2(&Context::new(2), s, &x, &mut smooth);
            upsample_nearest2(&Context::new(2), s, [2 * h, 2 * w], &x, &mut blocks);
            let mut less = vec![f32::NAN; n * (2 * h - 1) * (2 * w - 1) * c];
            upsample_nearest2(&Context::new(2), s, [2 * h - 1, 2 * w - 1], &x, &mut less);
            for (i, value) in less.into_iter().enumerate() {
                let (pixel, ch) = (i / c, i % c);
                let (row, ox) = (pixel / (2 * w - 1), pixel % (2 * w - 1));
                let (image, oy) = (row / (2 * h - 1), row % (2 * h - 1));
                assert_eq!(value, x[((image * h + oy / 2) * w + ox / 2) * c + ch], "{s:?} {image} {oy} {ox} {ch}");
            }
            for i in 0..4 * x.len() {
                let (image, oy, ox, ch) = (i / (4 * h * w * c), i / (2 * w * c) % (2 * h), i / c % (2 * w), i % c);
                let want = bilinear(s, &x, image, oy, ox, ch);
                assert!((f64::from(smooth[i]) - want).abs() < 2e-7, "{s:?} {image} {oy} {ox} {ch}");
                assert_eq!(blocks[i], x[((image * h + oy / 2) * w + ox / 2) * c + ch], "{s:?} {image} {oy} {ox} {ch}");
            }
        }
    }
}
