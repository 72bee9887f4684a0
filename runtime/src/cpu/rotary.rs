//! Rotary positions.

use super::simd::vectorized;
use super::{Context, rows};

/// Turns the pairs of channels of each of `heads` heads of each row of `c` channels by that row's angles (Su et al. 2021,
/// "RoFormer"): `(a, b)` becomes `(a cos - b sin, b cos + a sin)`. A head of `d` channels has the pairs `(2 i, 2 i + 1)`, or with
/// `halves` `(i, i + d / 2)`. A row of `angles` is `d / 2` cosines, then as many sines; where they end, the first serves again.
/// Without `x`, in place.
///
/// # Panics
/// Where a length does not fit.
pub fn rotary(ctx: &Context, [c, heads]: [usize; 2], halves: bool, angles: &[f32], x: Option<&[f32]>, y: &mut [f32]) {
    assert!(heads > 0 && c.is_multiple_of(2 * heads), "rotary: heads do not divide the channels into pairs");
    assert!(x.is_none_or(|x| x.len() == y.len()), "rotary: length of x");
    if y.is_empty() {
        return;
    }
    let turns = angles.len() / (c / heads);
    assert!(turns > 0 && angles.len().is_multiple_of(c / heads), "rotary: length of the angles");
    assert!(y.len().is_multiple_of(turns * c), "rotary: length of y");
    rows::for_rows(ctx, y, c, |row, y| {
        let x = x.map_or(&[][..], |x| &x[row * c..][..c]);
        let angles = &angles[row % turns * (c / heads)..][..c / heads];
        turn(ctx.isa(), halves, angles, x, y);
    });
}

vectorized!(turn(halves: bool, angles: &[f32], x: &[f32], y: &mut [f32]) = turn_portable);

#[inline(always)]
fn turn_portable(halves: bool, angles: &[f32], x: &[f32], y: &mut [f32]) {
    if !x.is_empty() {
        y.copy_from_slice(x);
    }
    let (cosines, sines) = angles.split_at(angles.len() / 2);
    for y in y.chunks_exact_mut(angles.len()) {
        if halves {
            let (a, b) = y.split_at_mut(cosines.len());
            for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cosines).zip(sines) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        } else {
            for (([a, b], cos), sin) in y.as_chunks_mut::<2>().0.iter_mut().zip(cosines).zip(sines) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::super::rows::random;
    use super::*;
    use crate::cpu::Isa;
    use alloc::vec;

    /// On every instruction set with the same bits, in place and not, with angles of each picture's own and of all. Seen red
    /// with the sines' sign exchanged, with picture 0's angles for all, and with the first head's alone turned.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        let shapes = [(1, 1, 2, 1), (2, 3, 12, 2), (3, 7, 40, 4), (2, 77, 128, 1), (2, 5, 90, 9), (1, 300, 64, 2)];
        for (step, (n, tokens, c, heads)) in (0..).zip(shapes) {
            for (halves, own) in [(false, false), (true, false), (false, true), (true, true)] {
                let x = random(n * tokens * c, step);
                let angles = random(if own { n } else { 1 } * tokens * c / heads, step + 100);
                let want = definition::rotary([c, heads], halves, &x, &angles);
                let mut first = vec![f32::NAN; x.len()];
                let ctx = Context::with_isa(1, Isa::Scalar).unwrap();
                rotary(&ctx, [c, heads], halves, &angles, Some(&x), &mut first);
                for (i, (y, want)) in first.iter().zip(&want).enumerate() {
                    assert!((f64::from(*y) - want).abs() < 2e-7, "{n}x{tokens}x{c}/{heads} [{i}]: {y}, not {want}");
                }
                for isa in Isa::available() {
                    let mut y = x.clone();
                    rotary(&Context::with_isa(2, isa).unwrap(), [c, heads], halves, &angles, None, &mut y);
                    assert!(y == first, "{isa}, {n}x{tokens}x{c}/{heads}");
                }
            }
        }
    }

    /// A quarter of a turn, by hand: what is first takes the second's place, and that the first's, negated. Seen red with the
    /// two kinds of pairs exchanged.
    #[test]
    fn a_quarter_of_a_turn() {
        for (halves, want) in [(false, [-2.0, 1.0, -4.0, 3.0]), (true, [-3.0, -4.0, 1.0, 2.0])] {
            let mut y = [1.0, 2.0, 3.0, 4.0];
            rotary(&Context::new(1), [4, 1], halves, &[0.0, 0.0, 1.0, 1.0], None, &mut y);
            assert_eq!(y, want);
        }
    }
}
