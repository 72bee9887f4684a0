//! Frechet distance of two normal distributions fitted to features, all in f64. Heusel et al. 2017 (with Inception's
//! features; here with the judge's).
use super::eigen::{Matrix, symmetric_eigen};

/// A normal distribution: mean and covariance.
#[derive(Clone, Debug)]
pub struct Gaussian {
    /// The mean.
    pub mean: Vec<f64>,
    /// The covariance, symmetric.
    pub covariance: Matrix,
}

impl Gaussian {
    /// Fits mean and unbiased covariance to rows of `dim` features, row-major.
    ///
    /// # Panics
    /// If there are fewer than two rows, or the length is not a multiple of `dim`.
    pub fn fit(features: &[f32], dim: usize) -> Self {
        let n = features.len() / dim;
        assert!(n >= 2 && n * dim == features.len(), "{} values are not at least two rows of {dim}", features.len());
        let mut mean = vec![0f64; dim];
        for row in features.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v) / n as f64);
        }
        let mut sums = vec![0f64; dim * dim];
        let mut centred = vec![0f64; dim];
        for row in features.chunks_exact(dim) {
            centred.iter_mut().zip(row).zip(&mean).for_each(|((c, v), m)| *c = f64::from(*v) - m);
            for (sums, a) in sums.chunks_exact_mut(dim).zip(&centred) {
                sums.iter_mut().zip(&centred).for_each(|(s, b)| *s += a * b);
            }
        }
        sums.iter_mut().for_each(|s| *s /= (n - 1) as f64);
        Self { mean, covariance: Matrix { n: dim, values: sums } }
    }
}

/// `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`: the squared 2-Wasserstein distance, as published figures are.
///
/// `tr (C1 C2)^(1/2)` is taken as that of the symmetric `(C1^(1/2) C2 C1^(1/2))^(1/2)`, which has the same
/// eigenvalues; those that rounding has made negative count as 0, as do negative eigenvalues of `C1`.
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> f64 {
    let n = a.mean.len();
    let (values, vectors) = symmetric_eigen(&a.covariance);
    let scaled = Matrix::from_fn(n, |i, j| values[i].max(0.0).sqrt() * vectors.at(i, j));
    let root = vectors.transposed().times(&scaled);
    let product = root.times(&b.covariance).times(&root);
    let symmetric = Matrix::from_fn(n, |i, j| (product.at(i, j) + product.at(j, i)) / 2.0);
    let cross: f64 = symmetric_eigen(&symmetric).0.iter().map(|v| v.max(0.0).sqrt()).sum();
    let means: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b).powi(2)).sum();
    (means + a.covariance.trace() + b.covariance.trace() - 2.0 * cross).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nijimi_runtime::raw::rng::Stream;

    fn random(n: usize, step: u64) -> Matrix {
        let mut s = Stream::new(9, "frechet", step);
        Matrix::from_fn(n, |_, _| f64::from(s.normal()))
    }

    fn gaussian(mean: &[f64], covariance: Matrix) -> Gaussian {
        Gaussian { mean: mean.to_vec(), covariance }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} against {expected}");
    }

    /// Closed form: `sum (m1 - m2)^2 + (s1 - s2)^2` with standard deviations s. Seen red: factor 2 of the cross term
    /// left out.
    #[test]
    fn diagonal_covariances() {
        let diagonal = |v: [f64; 3]| Matrix::from_fn(3, |i, j| if i == j { v[i] } else { 0.0 });
        let a = gaussian(&[1.0, 2.0, 3.0], diagonal([4.0, 9.0, 0.0]));
        let b = gaussian(&[0.0, 4.0, 3.0], diagonal([1.0, 25.0, 16.0]));
        close(frechet_distance(&a, &b), 1.0 + 4.0 + 1.0 + 4.0 + 16.0);
    }

    /// Two by two matrices that do not commute: `tr sqrt(A B) = sqrt(tr(A B) + 2 sqrt(det(A B)))`. Seen red: `C1` in
    /// place of its root.
    #[test]
    fn full_covariances_that_do_not_commute() {
        let matrix = |values: [f64; 4]| Matrix { n: 2, values: values.to_vec() };
        let (p, q) = (matrix([2.0, 1.0, 1.0, 3.0]), matrix([5.0, -2.0, -2.0, 1.0]));
        // Determinants 5 and 1.
        let cross = (p.times(&q).trace() + 2.0 * 5f64.sqrt()).sqrt();
        let expected = 2.0 + 5.0 + 6.0 - 2.0 * cross;
        close(frechet_distance(&gaussian(&[1.0, 0.0], p), &gaussian(&[0.0, 1.0], q)), expected);
    }

    /// The optimal map from N(0, C) to N(0, T C T) is T (symmetric, positive), so the distance is
    /// `tr((T - I) C (T - I))`.
    /// Seen red: `C1` in place of its root; factor 2 of the cross term left out.
    #[test]
    fn full_covariances_joined_by_a_known_map_in_40_dimensions() {
        let n = 40;
        let square = |m: &Matrix| m.times(&m.transposed());
        let (c, t) = (square(&random(n, 0)), square(&random(n, 1)));
        let identity = |i, j| if i == j { 1.0 } else { 0.0 };
        let t = Matrix::from_fn(n, |i, j| t.at(i, j) / n as f64 + 0.1 * identity(i, j));
        let d = Matrix::from_fn(n, |i, j| t.at(i, j) - identity(i, j));
        let expected = d.times(&c).times(&d).trace();
        let (p, q) = (gaussian(&vec![0.0; n], c.clone()), gaussian(&vec![0.0; n], t.times(&c).times(&t)));
        close(frechet_distance(&p, &q), expected);
        close(frechet_distance(&q, &p), expected);
    }

    /// Rank 5 in 12 dimensions: like features of which some are never active. Seen red: eigenvalues not clipped at 0
    /// (NaN).
    #[test]
    fn symmetric_and_zero_for_equal_even_where_singular() {
        let wide = random(12, 99);
        let fit = |step: u64| {
            let mut draw = Stream::new(9, "rows", step);
            let mut row = || {
                let x: Vec<f64> = (0..5).map(|_| f64::from(draw.normal())).collect();
                (0..12)
                    .map(|i| x.iter().enumerate().map(|(j, x)| wide.at(i, j) * x).sum::<f64>() as f32)
                    .collect::<Vec<_>>()
            };
            Gaussian::fit(&(0..200).flat_map(|_| row()).collect::<Vec<f32>>(), 12)
        };
        let (a, b) = (fit(2), fit(3));
        let (there, back) = (frechet_distance(&a, &b), frechet_distance(&b, &a));
        assert!(there > 1e-3 && (there - back).abs() < 1e-5, "{there} {back}");
        assert!(frechet_distance(&a, &a) < 1e-5, "{}", frechet_distance(&a, &a));
    }

    /// Seen red: division by n.
    #[test]
    fn fit_gives_mean_and_unbiased_covariance() {
        let g = Gaussian::fit(&[1.0, 0.0, 3.0, 4.0, 5.0, 2.0], 2);
        close(g.mean[0], 3.0);
        close(g.mean[1], 2.0);
        for (found, expected) in g.covariance.values.iter().zip([4.0, 2.0, 2.0, 4.0]) {
            close(*found, expected);
        }
    }
}
