//! Sums of two pictures, and of a picture and a value per picture and channel; products of two pictures.

use super::rows::for_rows;
use super::{Context, ImageShape};

/// Elements that a task adds.
const TASK: usize = 16384;

/// `y += b`, of equal lengths.
///
/// # Panics
/// Where they are not.
pub fn add(ctx: &Context, b: &[f32], y: &mut [f32]) {
    assert_eq!(b.len(), y.len(), "add: lengths");
    ctx.pool.for_chunks(y, TASK, &|task, y| {
        y.iter_mut().zip(&b[task * TASK..]).for_each(|(y, b)| *y += b);
    });
}

/// `y *= b`, of equal lengths.
///
/// # Panics
/// Where they are not.
pub fn multiply(ctx: &Context, b: &[f32], y: &mut [f32]) {
    assert_eq!(b.len(), y.len(), "multiply: lengths");
    ctx.pool.for_chunks(y, TASK, &|task, y| {
        y.iter_mut().zip(&b[task * TASK..]).for_each(|(y, b)| *y *= b);
    });
}

/// `y[n][h][w][c] = x[n][h][w][c] + v[n][c]`.
///
/// # Panics
/// Where a length does not fit `s`.
pub fn add_channels(ctx: &Context, s: ImageShape, x: &[f32], v: &[f32], y: &mut [f32]) {
    let (len, c) = (s.n * s.h * s.w * s.c, s.c);
    assert_eq!((x.len(), v.len(), y.len()), (len, s.n * c, len), "add_channels: lengths of x, v and y");
    for_rows(ctx, y, s.w * c, |row, y| {
        let x = &x[row * s.w * c..][..s.w * c];
        let v = &v[row / s.h * c..][..c];
        // One channel would make a loop of one value a pixel.
        if let [v] = v {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x + v);
            return;
        }
        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for ((y, x), v) in y.iter_mut().zip(x).zip(v) {
                *y = x + v;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    /// Seen red with every task beginning at the first element of `b`.
    #[test]
    fn sums_of_several_tasks() {
        let (a, b) = (random(2 * TASK + 5, 0), random(2 * TASK + 5, 1));
        let mut y = a.clone();
        add(&Context::new(2), &b, &mut y);
        assert!((0..y.len()).all(|i| y[i] == a[i] + b[i]));
        y.copy_from_slice(&a);
        multiply(&Context::new(2), &b, &mut y);
        assert!((0..y.len()).all(|i| y[i] == a[i] * b[i]));
    }

    /// Against the definition, index by index. Seen red with picture 0's `v` for all, and with the branch of
    /// one channel adding twice.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        for (step, (n, h, w, c)) in (0..).zip([(1, 1, 1, 1), (3, 28, 28, 1), (2, 5, 7, 3), (2, 9, 14, 65)]) {
            let (x, v) = (random(n * h * w * c, step), random(n * c, step + 100));
            let mut y = vec![f32::NAN; x.len()];
            add_channels(&Context::new(2), ImageShape { n, h, w, c }, &x, &v, &mut y);
            for i in 0..x.len() {
                assert_eq!(y[i], x[i] + v[i / (h * w * c) * c + i % c]);
            }
        }
    }
}
