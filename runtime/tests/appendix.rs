//! Appendices A and B of the book as tests: derivatives by matrices against finite differences, and Jensen's inequality with
//! what follows from it, for random numbers.

use nijimi_runtime::dist::{Mixture, MultivariateNormal, discrete};
use nijimi_runtime::rng::Stream;

/// Square matrices, row-major.
#[derive(Clone)]
struct Matrix(usize, Vec<f64>);

impl Matrix {
    fn random(dim: usize, stream: &mut Stream) -> Self {
        Self(dim, (0..dim * dim).map(|_| stream.normal_f64()).collect())
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.1[row * self.0 + column]
    }

    fn from(dim: usize, f: impl Fn(usize, usize) -> f64) -> Self {
        Self(dim, (0..dim * dim).map(|i| f(i / dim, i % dim)).collect())
    }

    fn times(&self, other: &Self) -> Self {
        Self::from(self.0, |i, j| (0..self.0).map(|k| self.at(i, k) * other.at(k, j)).sum())
    }

    /// B B^T + I, which is positive definite.
    fn covariance(dim: usize, stream: &mut Stream) -> Self {
        let b = Self::random(dim, stream);
        Self::from(dim, |i, j| (0..dim).map(|k| b.at(i, k) * b.at(j, k)).sum::<f64>() + f64::from(u8::from(i == j)))
    }

    fn trace(&self) -> f64 {
        (0..self.0).map(|i| self.at(i, i)).sum()
    }

    /// By elimination with pivots.
    fn determinant(&self) -> f64 {
        let (dim, mut a, mut determinant) = (self.0, self.clone(), 1.0);
        for k in 0..dim {
            let pivot = (k..dim).max_by(|i, j| a.at(*i, k).abs().total_cmp(&a.at(*j, k).abs())).unwrap();
            if pivot != k {
                (0..dim).for_each(|j| a.1.swap(k * dim + j, pivot * dim + j));
                determinant = -determinant;
            }
            determinant *= a.at(k, k);
            for i in k + 1..dim {
                let factor = a.at(i, k) / a.at(k, k);
                (k..dim).for_each(|j| a.1[i * dim + j] -= factor * a.at(k, j));
            }
        }
        determinant
    }

    /// By cofactors.
    fn inverse(&self) -> Self {
        let minor = |row: usize, column: usize| {
            let skip = |i: usize, gone: usize| if i < gone { i } else { i + 1 };
            Self::from(self.0 - 1, |i, j| self.at(skip(i, row), skip(j, column))).determinant()
        };
        let determinant = self.determinant();
        Self::from(self.0, |i, j| if (i + j) % 2 == 0 { 1.0 } else { -1.0 } * minor(j, i) / determinant)
    }
}

/// Central differences of the fourth order, by each of `values`.
fn differences(values: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let h = 1e-3;
    let at = |i: usize, shift: f64| {
        let mut values = values.to_vec();
        values[i] += shift;
        f(&values)
    };
    let difference = |i| (8.0 * (at(i, h) - at(i, -h)) - (at(i, 2.0 * h) - at(i, -2.0 * h))) / (12.0 * h);
    (0..values.len()).map(difference).collect()
}

#[track_caller]
fn equal(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{got:e} is not {want:e}");
    }
}

/// A.2: d(x^T A x)/dx = (A + A^T) x. Seen red with 2 A x, which holds for symmetric A only.
#[test]
fn the_gradient_of_a_quadratic_form() {
    let mut stream = Stream::new(1, "a2", 0);
    for _ in 0..50 {
        let a = Matrix::random(4, &mut stream);
        let x: Vec<f64> = (0..4).map(|_| stream.normal_f64()).collect();
        let form = |x: &[f64]| (0..16).map(|i| x[i / 4] * a.1[i] * x[i % 4]).sum();
        let want: Vec<f64> = (0..4).map(|i| (0..4).map(|j| (a.at(i, j) + a.at(j, i)) * x[j]).sum()).collect();
        equal(&differences(&x, form), &want, 1e-9);
    }
}

/// A.4: d tr(B A)/dA = B^T, d ln |A| / dA = A^-T; and the library's `log_det` along symmetric directions, where its derivative
/// is tr(S^-1 E). Seen red with B for its transpose, and with half the library's `log_det`.
#[test]
fn the_gradients_of_a_trace_and_a_determinant() {
    let mut stream = Stream::new(1, "a4", 0);
    for dim in [2, 3, 4] {
        for _ in 0..20 {
            let (a, b) = (Matrix::random(dim, &mut stream), Matrix::random(dim, &mut stream));
            let trace = |a: &[f64]| b.times(&Matrix(dim, a.to_vec())).trace();
            equal(&differences(&a.1, trace), &Matrix::from(dim, |i, j| b.at(j, i)).1, 1e-9);

            // Away from singular, where finite differences end.
            let s = Matrix::covariance(dim, &mut stream);
            let skewed = Matrix::from(dim, |i, j| s.at(i, j) + if i < j { 0.1 } else { -0.1 });
            let log = |a: &[f64]| Matrix(dim, a.to_vec()).determinant().abs().ln();
            let inverse = skewed.inverse();
            equal(&differences(&skewed.1, log), &Matrix::from(dim, |i, j| inverse.at(j, i)).1, 1e-8);

            let normal = |s: Vec<f64>| MultivariateNormal::new(vec![0.0; dim], s).unwrap();
            let direction = Matrix::covariance(dim, &mut stream);
            let along =
                |h: &[f64]| normal(s.1.iter().zip(&direction.1).map(|(s, e)| s + h[0] * 0.1 * e).collect()).log_det();
            let want = 0.1 * s.inverse().times(&direction).trace();
            equal(&differences(&[0.0], along), &[want], 1e-8);
        }
    }
}

/// A.1 and A.3: the log-likelihood's gradient by the mean is S^-1 times the sum of x - mean, and with the data's own mean and
/// covariance (divided by n) it is greatest: level along every direction, and lower with n - 1. Seen red with a score of half
/// the size, and with the divisor n - 1.
#[test]
fn the_maximum_of_a_normal_s_likelihood() {
    let mut stream = Stream::new(1, "a1", 0);
    let (dim, n) = (3, 40);
    let law = MultivariateNormal::new(vec![1.0, -2.0, 0.5], Matrix::covariance(dim, &mut stream).1).unwrap();
    let mut rows = vec![0.0; n * dim];
    rows.chunks_exact_mut(dim).for_each(|row| law.sample(&mut stream, row));
    let likelihood = |mean: &[f64], covariance: &[f64]| {
        let normal = MultivariateNormal::new(mean.to_vec(), covariance.to_vec()).unwrap();
        rows.chunks_exact(dim).map(|row| normal.log_pdf(row)).sum::<f64>()
    };
    let by_mean = |normal: &MultivariateNormal| {
        // By the mean it is minus that by x.
        let mut sum = vec![0.0; dim];
        for row in rows.chunks_exact(dim) {
            let mut score = vec![0.0; dim];
            normal.score(row, &mut score);
            sum.iter_mut().zip(score).for_each(|(sum, s)| *sum -= s);
        }
        sum
    };
    let gradient = by_mean(&law);
    equal(&differences(law.mean(), |mean| likelihood(mean, law.covariance())), &gradient, 1e-8);
    let inverse = Matrix(dim, law.covariance().to_vec()).inverse();
    let total = |i: usize| rows.chunks_exact(dim).map(|row| row[i] - law.mean()[i]).sum::<f64>();
    let formula: Vec<f64> = (0..dim).map(|i| (0..dim).map(|j| inverse.at(i, j) * total(j)).sum()).collect();
    equal(&gradient, &formula, 1e-11);

    let mean: Vec<f64> = (0..dim).map(|i| law.mean()[i] + total(i) / n as f64).collect();
    let scatter = |divisor: f64| {
        let of =
            |i: usize, j: usize| rows.chunks_exact(dim).map(|row| (row[i] - mean[i]) * (row[j] - mean[j])).sum::<f64>();
        Matrix::from(dim, |i, j| of(i, j) / divisor)
    };
    let best = scatter(n as f64);
    let fitted = MultivariateNormal::new(mean.clone(), best.1.clone()).unwrap();
    equal(&by_mean(&fitted), &[0.0; 3], 1e-11);
    for _ in 0..20 {
        let direction = Matrix::covariance(dim, &mut stream);
        let along = |h: &[f64]| {
            let moved: Vec<f64> = best.1.iter().zip(&direction.1).map(|(s, e)| s + h[0] * 0.1 * e).collect();
            likelihood(&mean, &moved)
        };
        equal(&differences(&[0.0], along), &[0.0], 1e-7);
    }
    assert!(likelihood(&mean, &best.1) > likelihood(&mean, &scatter(n as f64 - 1.0).1));
}

/// Random probabilities, all above 0.
fn probabilities(k: usize, stream: &mut Stream) -> Vec<f64> {
    // Logarithms of uniforms are exponential: uniform over the simplex.
    let raw: Vec<f64> = (0..k).map(|_| -(1.0 - stream.uniform_f64()).ln() + 1e-9).collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|v| v / sum).collect()
}

/// B: E[log X] <= log E[X], equal for a constant; so KL is never negative, and E_q[log p(x, z) - log q(z)], the ELBO, is at most
/// log p(x), by exactly KL(q || p(z | x)) (to 1e-12), for any q. Seen red with the inequality turned, with the entropy of q
/// left out, and with KL's arguments exchanged.
#[test]
fn jensen_and_the_evidence_lower_bound() {
    let mut stream = Stream::new(1, "jensen", 0);
    for _ in 0..2000 {
        let k = 1 + stream.below(8) as usize;
        let p = probabilities(k, &mut stream);
        let x: Vec<f64> = (0..k).map(|_| (3.0 * stream.normal_f64()).exp()).collect();
        let logs: Vec<f64> = x.iter().map(|v| v.ln()).collect();
        let (of_log, log_of) = (discrete::expectation(&logs, &p).unwrap(), discrete::expectation(&x, &p).unwrap().ln());
        assert!(of_log <= log_of + 1e-12, "{of_log} {log_of}");
        let level = discrete::expectation(&vec![x[0]; k], &p).unwrap().ln();
        assert!((level - logs[0]).abs() < 1e-12);
        assert!(discrete::kl(&p, &probabilities(k, &mut stream)).unwrap() >= 0.0);
    }
    for _ in 0..300 {
        let (dim, k) = (2, 1 + stream.below(5) as usize);
        let mut component = || {
            let mean = (0..dim).map(|_| 2.0 * stream.normal_f64()).collect();
            MultivariateNormal::new(mean, Matrix::covariance(dim, &mut stream).1).unwrap()
        };
        let components = (0..k).map(|_| component()).collect();
        let mixture = Mixture::new(probabilities(k, &mut stream), components).unwrap();
        let (mut x, mut joint, mut posterior) = (vec![0.0; dim], vec![0.0; k], vec![0.0; k]);
        mixture.sample(&mut stream, &mut x);
        mixture.log_joint(&x, &mut joint);
        let log_pdf = mixture.responsibilities(&x, &mut posterior);
        let elbo = |q: &[f64]| q.iter().zip(&joint).map(|(q, joint)| q * (joint - q.ln())).sum::<f64>();
        let q = probabilities(k, &mut stream);
        let gap = discrete::kl(&q, &posterior).unwrap();
        assert!((elbo(&q) + gap - log_pdf).abs() < 1e-12 * (1.0 + gap + log_pdf.abs()), "{k}");
        assert!(elbo(&q) <= log_pdf + 1e-12);
    }
}
