//! A branch added to what it branched off, each channel by a factor of the picture's own.

use super::rows::for_rows;
use super::{Context, ImageShape};

/// `y[n][h][w][c] += gate[n][c] * b[n][h][w][c]`.
///
/// # Panics
/// Where a length does not fit `s`.
pub fn gated_add(ctx: &Context, s: ImageShape, gate: &[f32], b: &[f32], y: &mut [f32]) {
    let (len, c) = (s.n * s.h * s.w * s.c, s.c);
    assert_eq!((gate.len(), b.len(), y.len()), (s.n * c, len, len), "gated_add: lengths of gate, b and y");
    for_rows(ctx, y, s.w * c, |row, y| {
        let (b, gate) = (&b[row * s.w * c..][..s.w * c], &gate[row / s.h * c..][..c]);
        for (y, b) in y.chunks_exact_mut(c).zip(b.chunks_exact(c)) {
            for ((y, b), gate) in y.iter_mut().zip(b).zip(gate) {
                *y += gate * b;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use alloc::vec::Vec;

    /// Against the definition, index by index. Seen red with picture 0's gate for all.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        for (step, (n, h, w, c)) in (0..).zip([(1, 1, 1, 1), (3, 28, 28, 1), (2, 5, 7, 3), (2, 9, 14, 65)]) {
            let [x, b] = [step, step + 50].map(|step| random(n * h * w * c, step));
            let (gate, mut y) = (random(n * c, step + 100), x.clone());
            gated_add(&Context::new(2), ImageShape { n, h, w, c }, &gate, &b, &mut y);
            let want: Vec<f32> = (0..x.len()).map(|i| x[i] + gate[i / (h * w * c) * c + i % c] * b[i]).collect();
            assert!(y == want, "{n}x{h}x{w}x{c}");
        }
    }
}
