//! The nearest picture of a large set, by brute force over blocked matrix products: shows whether a model has
//! memorised.
use crate::ops::cpu::storage::{Operand, as_uninit, gemm};
use rayon::prelude::*;

/// The nearest picture of a set.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Neighbour {
    /// Which picture of the set.
    pub index: usize,
    /// Euclidean distance over all pixels, with values 0 to 1.
    pub distance: f64,
}

/// Pictures of the set in one matrix product: 512 x 784 values stay in the second-level cache.
const BLOCK: usize = 512;

/// For each of `pictures` (n, size), 0 to 1, the nearest of `set` (m, size), bytes; see [`nearest_few`].
///
/// # Panics
/// If a length is not a multiple of `size`, or the set is empty.
pub fn nearest(pictures: &[f32], set: &[u8], size: usize) -> Vec<Neighbour> {
    nearest_few(pictures, set, size, 1).into_iter().map(|of| of[0]).collect()
}

/// For each of `pictures` (n, size), 0 to 1, the `few` nearest of `set` (m, size), bytes, the nearest first; all if there are
/// fewer. Of equally near ones the first, up to rounding: candidates are compared by `|s|^2 - 2 p.s` in f32, and the distance
/// of the chosen ones is then computed in f64.
///
/// # Panics
/// If a length is not a multiple of `size`, or the set is empty.
pub fn nearest_few(pictures: &[f32], set: &[u8], size: usize, few: usize) -> Vec<Vec<Neighbour>> {
    assert!(
        pictures.len().is_multiple_of(size) && set.len().is_multiple_of(size) && !set.is_empty(),
        "whole pictures, at least one in the set"
    );
    let n = pictures.len() / size;
    // The lower index wins a tie, so the answer does not depend on the order in which blocks are done.
    let keep = |candidates: &mut Vec<(f32, usize)>| {
        candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        candidates.truncate(few);
    };
    let best = set.par_chunks(BLOCK * size).enumerate().map(|(block, bytes)| {
        let values: Vec<f32> = bytes.iter().map(|b| f32::from(*b) / 255.0).collect();
        let rows = values.len() / size;
        let squares: Vec<f32> = values.chunks_exact(size).map(|v| dot(v, v) as f32).collect();
        let mut products = vec![0f32; n * rows];
        gemm(n, rows, size, Operand(pictures, size, 1), Operand(&values, 1, size), as_uninit(&mut products), false);
        let row_best = |row: &[f32]| {
            let scores = row.iter().zip(&squares).map(|(p, s)| s - 2.0 * p).zip(block * BLOCK..);
            let mut scores: Vec<(f32, usize)> = scores.collect();
            keep(&mut scores);
            scores
        };
        products.chunks_exact(rows).map(row_best).collect::<Vec<_>>()
    });
    let merge = |a: Vec<Vec<_>>, b: Vec<Vec<_>>| {
        let one = |(mut a, b): (Vec<_>, Vec<_>)| {
            a.extend(b);
            keep(&mut a);
            a
        };
        a.into_iter().zip(b).map(one).collect()
    };
    let best: Vec<Vec<(f32, usize)>> = best.reduce(|| vec![Vec::new(); n], merge);
    let exact = |(picture, of): (&[f32], Vec<(f32, usize)>)| {
        let one = |(_, index): (f32, usize)| Neighbour {
            index,
            distance: distance(picture, &set[index * size..(index + 1) * size]),
        };
        of.into_iter().map(one).collect()
    };
    pictures.chunks_exact(size).zip(best).map(exact).collect()
}

/// The Euclidean distance of a picture, 0 to 1, to one in bytes.
pub fn distance(picture: &[f32], other: &[u8]) -> f64 {
    let squares = picture.iter().zip(other).map(|(a, b)| (f64::from(*a) - f64::from(*b) / 255.0).powi(2));
    squares.sum::<f64>().sqrt()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Minimum, 5 % quantile and median of distances.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Distribution {
    /// The smallest.
    pub min: f64,
    /// Below which 5 % lie.
    pub percent5: f64,
    /// Below which half lie.
    pub median: f64,
}

impl Distribution {
    /// Of at least one neighbour; quantiles are interpolated linearly, as numpy does.
    pub fn of(neighbours: &[Neighbour]) -> Self {
        let mut sorted: Vec<f64> = neighbours.iter().map(|n| n.distance).collect();
        sorted.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let at = q * (sorted.len() - 1) as f64;
            let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
            low + (high - low) * at.fract()
        };
        Self { min: quantile(0.0), percent5: quantile(0.05), median: quantile(0.5) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nijimi_runtime::raw::rng::Stream;

    fn naive(pictures: &[f32], set: &[u8], size: usize) -> Vec<Neighbour> {
        let distance = |p: &[f32], s: &[u8]| -> f64 {
            p.iter().zip(s).map(|(a, b)| (f64::from(*a) - f64::from(*b) / 255.0).powi(2)).sum::<f64>().sqrt()
        };
        let one = |p: &[f32]| {
            let all = set.chunks_exact(size).map(|s| distance(p, s)).enumerate();
            let best = all.min_by(|a, b| a.1.total_cmp(&b.1)).expect("a set");
            Neighbour { index: best.0, distance: best.1 }
        };
        pictures.chunks_exact(size).map(one).collect()
    }

    /// Three blocks, the last one short. Seen red: `block * BLOCK` left out of the index; `s - p` in place of
    /// `s - 2 p`.
    #[test]
    fn equals_the_naive_search() {
        let (size, n) = (49, 40);
        let mut draw = Stream::new(4, "neighbour", 0);
        let set: Vec<u8> = (0..(2 * BLOCK + 77) * size).map(|_| draw.next_u32() as u8).collect();
        let mut pictures: Vec<f32> = (0..n * size).map(|_| draw.uniform()).collect();
        // One picture is in the set, in its last, short block.
        let copied = 2 * BLOCK + 70;
        for (p, s) in pictures[..size].iter_mut().zip(&set[copied * size..]) {
            *p = f32::from(*s) / 255.0;
        }
        let found = nearest(&pictures, &set, size);
        assert_eq!(found[0].index, copied);
        assert!(found[0].distance < 1e-6);
        for (a, b) in found.iter().zip(naive(&pictures, &set, size)) {
            assert_eq!(a.index, b.index);
            assert!((a.distance - b.distance).abs() < 1e-12);
        }
    }

    /// Seen red with the nearest alone kept of each block.
    #[test]
    fn the_few_nearest_come_in_order() {
        let (size, set) = (1, [200u8, 10, 0, 60, 0, 100]);
        let found = nearest_few(&[0.0, 1.0], &set, size, 4);
        let indices = |of: &[Neighbour]| of.iter().map(|n| n.index).collect::<Vec<_>>();
        assert_eq!(found.iter().map(|of| indices(of)).collect::<Vec<_>>(), [[2, 4, 1, 3], [0, 5, 3, 1]]);
        assert_eq!(nearest_few(&[0.0], &set, size, 9)[0].len(), 6);
    }

    /// Seen red: the lower neighbour in place of the interpolation.
    #[test]
    fn distribution_interpolates() {
        let neighbours: Vec<_> = (0..=10).rev().map(|i| Neighbour { index: 0, distance: f64::from(i) }).collect();
        let d = Distribution::of(&neighbours);
        assert_eq!((d.min, d.percent5, d.median), (0.0, 0.5, 5.0));
    }
}
