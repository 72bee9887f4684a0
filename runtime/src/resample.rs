//! Pictures of another size.

use alloc::vec;
use alloc::vec::Vec;
use core::f32::consts::PI;

/// How pixels are weighed by their distance. Where a picture gets smaller, all filters get wider, so that no pixel is
/// lost: as in Pillow.
#[derive(Clone, Copy)]
pub enum Filter {
    /// Lanczos with three lobes: sharp.
    Lanczos,
    /// Cubic convolution (Keys 1981, a = -1/2), as Pillow's bicubic.
    Cubic,
    /// Linear: no value leaves the range of those around it.
    Triangle,
}

impl Filter {
    fn radius(self) -> f32 {
        match self {
            Self::Lanczos => 3.0,
            Self::Cubic => 2.0,
            Self::Triangle => 1.0,
        }
    }

    fn at(self, x: f32) -> f32 {
        let sinc = |x: f32| if x == 0.0 { 1.0 } else { libm::sinf(PI * x) / (PI * x) };
        match self {
            Self::Lanczos if x.abs() < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
            Self::Cubic => match x.abs() {
                x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
                x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
                _ => 0.0,
            },
            Self::Triangle => (1.0 - x.abs()).max(0.0),
        }
    }
}

/// The pixels that one of the result is made of: the first, and the weights of it and the next ones.
type Taps = (usize, Vec<f32>);

/// Of each pixel of a line of `to` that is made of a line of `from`.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Taps> {
    if from == to {
        return (0..to).map(|i| (i, vec![1.0])).collect();
    }
    let step = from as f32 / to as f32;
    let scale = step.max(1.0);
    let reach = filter.radius() * scale;
    let taps = |i: usize| {
        let centre = (i as f32 + 0.5) * step;
        let first = ((centre - reach + 0.5).max(0.0) as usize).min(from - 1);
        let last = ((centre + reach + 0.5) as usize).clamp(first + 1, from);
        let mut weights: Vec<f32> = (first..last).map(|j| filter.at((j as f32 + 0.5 - centre) / scale)).collect();
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        (first, weights)
    };
    (0..to).map(taps).collect()
}

/// Resizes a picture of `from` = `[height, width]`, whose rows `row` gives from the top, to one of `to`. Only one row is
/// held.
pub fn resample(
    mut row: impl FnMut(usize, &mut [f32]),
    from: [usize; 2],
    to: [usize; 2],
    channels: usize,
    filter: Filter,
) -> Vec<f32> {
    let (down, across) = (taps(from[0], to[0], filter), taps(from[1], to[1], filter));
    let mut out = vec![0.0; to[0] * to[1] * channels];
    let (mut whole, mut narrow) = (vec![0.0; from[1] * channels], vec![0.0; to[1] * channels]);
    // The first row of the result to which this one, or a later one, belongs.
    let mut done = 0;
    for y in 0..from[0] {
        row(y, &mut whole);
        for ((start, weights), out) in across.iter().zip(narrow.chunks_exact_mut(channels)) {
            out.fill(0.0);
            for (pixel, weight) in whole[start * channels..].chunks_exact(channels).zip(weights) {
                out.iter_mut().zip(pixel).for_each(|(out, v)| *out += v * weight);
            }
        }
        done += down[done..].iter().take_while(|(start, weights)| start + weights.len() <= y).count();
        for (i, (start, weights)) in down.iter().enumerate().skip(done).take_while(|(_, taps)| taps.0 <= y) {
            let line = &mut out[i * narrow.len()..][..narrow.len()];
            line.iter_mut().zip(&narrow).for_each(|(out, v)| *out += v * weights[y - start]);
        }
    }
    out
}

/// [`resample`], of the part of a picture in memory, `width` pixels wide, that begins at row and column `at` and has the size
/// `part`.
pub fn resample_part(
    (values, width): (&[f32], usize),
    (at, part): ([usize; 2], [usize; 2]),
    to: [usize; 2],
    channels: usize,
    filter: Filter,
) -> Vec<f32> {
    let row = |y: usize, row: &mut [f32]| {
        let start = ((at[0] + y) * width + at[1]) * channels;
        row.copy_from_slice(&values[start..start + row.len()]);
    };
    resample(row, part, to, channels, filter)
}

/// Brings back what a filter overshoots at the edges of a picture in [0, 1].
pub fn in_unit(mut values: Vec<f32>) -> Vec<f32> {
    values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum over all pixels of the picture, straight from the definition.
    fn direct(values: &[f32], from: [usize; 2], to: [usize; 2], filter: Filter) -> Vec<f64> {
        let weight = |i: usize, j: usize, axis: usize| {
            let step = from[axis] as f64 / to[axis] as f64;
            filter.at(((j as f64 + 0.5 - (i as f64 + 0.5) * step) / step.max(1.0)) as f32) as f64
        };
        let mut out = Vec::new();
        for i in 0..to[0] * to[1] {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (j, v) in values.iter().enumerate() {
                let w = weight(i / to[1], j / from[1], 0) * weight(i % to[1], j % from[1], 1);
                (sum, weights) = (sum + w * f64::from(*v), weights + w);
            }
            out.push(sum / weights);
        }
        out
    }

    // Seen red: the weights of a column upside down; no wider filter for a smaller picture.
    #[test]
    fn sizes_up_and_down_as_defined() {
        for (from, to) in [([7, 5], [3, 9]), ([4, 12], [11, 5]), ([1, 1], [3, 2]), ([9, 8], [1, 1]), ([6, 6], [6, 3])] {
            let values: Vec<f32> = (0..from[0] * from[1]).map(|i| (i * i % 17) as f32 / 16.0).collect();
            for filter in [Filter::Lanczos, Filter::Cubic, Filter::Triangle] {
                let row = |y: usize, row: &mut [f32]| row.copy_from_slice(&values[y * from[1]..][..from[1]]);
                let got = resample(row, from, to, 1, filter);
                for (got, want) in got.iter().zip(direct(&values, from, to, filter)) {
                    assert!((f64::from(*got) - want).abs() < 1e-5, "{from:?} to {to:?}: {got} {want}");
                }
            }
        }
    }
}
