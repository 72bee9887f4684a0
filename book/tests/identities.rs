//! The identities that the book rests on: matrix derivatives (appendix A), Jensen's inequality (appendix B), and
//! ELBO + KL = log p (step 5), each on the library's own distributions at random points.

use nijimi_book::diffusion;
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal, Normal, discrete, quadrature};
use nijimi_runtime::raw::rng::Stream;

fn close(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got - want).abs() <= tolerance * f64::max(want.abs(), 1.0), "{what}: {got:e} is not {want:e}");
}

fn normals(stream: &mut Stream, n: usize) -> Vec<f64> {
    (0..n).map(|_| stream.normal_f64()).collect()
}

/// A A^T / dim + 0.3 I of a random A.
fn covariance(stream: &mut Stream, dim: usize) -> Vec<f64> {
    let a = normals(stream, dim * dim);
    let mut s = multiply(&a, &transposed(&a, dim), dim);
    s.iter_mut().for_each(|v| *v /= dim as f64);
    (0..dim).for_each(|i| s[i * dim + i] += 0.3);
    s
}

fn multiply(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    let entry = |i: usize| (0..dim).map(|k| a[i / dim * dim + k] * b[k * dim + i % dim]).sum();
    (0..dim * dim).map(entry).collect()
}

fn transposed(a: &[f64], dim: usize) -> Vec<f64> {
    (0..dim * dim).map(|i| a[i % dim * dim + i / dim]).collect()
}

fn trace(a: &[f64], dim: usize) -> f64 {
    (0..dim).map(|i| a[i * dim + i]).sum()
}

/// Determinant by Laplace's expansion.
fn determinant(a: &[f64], dim: usize) -> f64 {
    let term = |j: usize| if j.is_multiple_of(2) { a[j] } else { -a[j] } * determinant(&minor(a, dim, 0, j), dim - 1);
    if dim == 0 { 1.0 } else { (0..dim).map(term).sum() }
}

fn minor(a: &[f64], dim: usize, row: usize, column: usize) -> Vec<f64> {
    (0..dim * dim).filter(|i| i / dim != row && i % dim != column).map(|i| a[i]).collect()
}

/// Inverse by cofactors.
fn inverse(a: &[f64], dim: usize) -> Vec<f64> {
    let whole = determinant(a, dim);
    let entry = |i: usize| {
        let (row, column) = (i / dim, i % dim);
        let sign = if (row + column).is_multiple_of(2) { 1.0 } else { -1.0 };
        sign * determinant(&minor(a, dim, column, row), dim - 1) / whole
    };
    (0..dim * dim).map(entry).collect()
}

/// The gradient of `f` at `x`: central differences of fourth order.
fn gradient(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let h = 1e-3;
    let at = |i: usize, by: f64| {
        let mut x = x.to_vec();
        x[i] += by;
        f(&x)
    };
    let slope = |i| (8.0 * (at(i, h) - at(i, -h)) - (at(i, 2.0 * h) - at(i, -2.0 * h))) / (12.0 * h);
    (0..x.len()).map(slope).collect()
}

fn equal(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).for_each(|(got, want)| close(*got, *want, tolerance, what));
}

/// Sum of log densities of `rows` under N(mean, covariance).
fn log_likelihood(mean: &[f64], covariance: &[f64], rows: &[f64]) -> f64 {
    let normal = MultivariateNormal::new(mean.to_vec(), covariance.to_vec()).unwrap();
    rows.chunks_exact(normal.dim()).map(|x| normal.log_pdf(x)).sum()
}

/// A.1: the gradient of the log-likelihood by the mean is S^-1 times the sum of x - mean, which is also minus the sum
/// of the scores; it vanishes at the mean of the rows. Seen red with the scores' sign kept.
#[test]
fn gradient_by_the_mean() {
    for dim in 1..=4 {
        let mut stream = Stream::new(1, "A.1", dim as u64);
        let (mean, s, rows) = (normals(&mut stream, dim), covariance(&mut stream, dim), normals(&mut stream, 7 * dim));
        let normal = MultivariateNormal::new(mean.clone(), s.clone()).unwrap();
        let mut sum = vec![0.0; dim];
        let mut scores = vec![0.0; dim];
        for x in rows.chunks_exact(dim) {
            let mut score = vec![0.0; dim];
            normal.score(x, &mut score);
            (0..dim).for_each(|i| sum[i] += x[i] - mean[i]);
            (0..dim).for_each(|i| scores[i] -= score[i]);
        }
        let precision = inverse(&s, dim);
        let want: Vec<f64> =
            precision.chunks_exact(dim).map(|row| row.iter().zip(&sum).map(|(p, v)| p * v).sum()).collect();
        equal(&gradient(&mean, |mean| log_likelihood(mean, &s, &rows)), &want, 1e-8, "d log p / d mean");
        equal(&scores, &want, 1e-10, "minus the scores");
        let best: Vec<f64> = (0..dim).map(|i| mean[i] + sum[i] / 7.0).collect();
        let there = gradient(&best, |mean| log_likelihood(mean, &s, &rows));
        equal(&there, &vec![0.0; dim], 1e-8, "at the rows' mean");
    }
}

/// A.2: d x^T A x / dx = (A + A^T) x; and so the score of a normal, from its squared distance. Seen red with 2 A x.
#[test]
fn gradient_of_a_quadratic_form() {
    for dim in 1..=5 {
        let mut stream = Stream::new(2, "A.2", dim as u64);
        let (a, x) = (normals(&mut stream, dim * dim), normals(&mut stream, dim));
        let form = |x: &[f64]| (0..dim * dim).map(|i| x[i / dim] * a[i] * x[i % dim]).sum::<f64>();
        let want = |i: usize| (0..dim).map(|j| (a[i * dim + j] + a[j * dim + i]) * x[j]).sum();
        equal(&gradient(&x, form), &(0..dim).map(want).collect::<Vec<f64>>(), 1e-9, "(A + A^T) x");
        let normal = MultivariateNormal::new(normals(&mut stream, dim), covariance(&mut stream, dim)).unwrap();
        let mut score = vec![0.0; dim];
        normal.score(&x, &mut score);
        equal(&gradient(&x, |x| -0.5 * normal.mahalanobis_squared(x)), &score, 1e-8, "score");
    }
}

/// A.3: at the covariance (1/n) sum (x - mean)(x - mean)^T the log-likelihood is level in every symmetric direction,
/// and lower everywhere else. With n - 1 it is not level: seen red so.
#[test]
fn the_best_covariance() {
    for dim in 1..=3 {
        let mut stream = Stream::new(3, "A.3", dim as u64);
        let (n, spread) = (20, MultivariateNormal::new(vec![0.5; dim], covariance(&mut stream, dim)).unwrap());
        let mut rows = vec![0.0; n * dim];
        rows.chunks_exact_mut(dim).for_each(|row| spread.sample(&mut stream, row));
        let mean: Vec<f64> = (0..dim).map(|i| rows.iter().skip(i).step_by(dim).sum::<f64>() / n as f64).collect();
        let mut best = vec![0.0; dim * dim];
        for x in rows.chunks_exact(dim) {
            for (i, v) in best.iter_mut().enumerate() {
                *v += (x[i / dim] - mean[i / dim]) * (x[i % dim] - mean[i % dim]) / n as f64;
            }
        }
        // Above the diagonal and on it; its mirror goes with it.
        let places: Vec<(usize, usize)> = (0..dim).flat_map(|i| (i..dim).map(move |j| (i, j))).collect();
        let moved = |by: &[f64]| {
            let mut s = best.clone();
            for ((i, j), by) in places.iter().zip(by) {
                s[i * dim + j] = best[i * dim + j] + by;
                s[j * dim + i] = best[j * dim + i] + by;
            }
            log_likelihood(&mean, &s, &rows)
        };
        let level = vec![0.0; places.len()];
        // The derivative is of the size of n times the precision, and rounds accordingly.
        equal(&gradient(&level, moved), &level, 1e-6, "d log p / d S");
        for _ in 0..50 {
            let by: Vec<f64> = level.iter().map(|_| 0.02 * stream.normal_f64()).collect();
            assert!(moved(&by) < moved(&level));
        }
    }
}

/// A.4: d tr(B A) / dA = B^T, and d log|A| / dA = A^-T for any A with a determinant above 0. Of a covariance, by the
/// library's own log-determinant: tr(S^-1 E) along a symmetric E, with S^-1 by its scores. Seen red with the inverse
/// not transposed, and with the library's log-determinant halved.
#[test]
fn gradients_of_traces_and_determinants() {
    for dim in 1..=4 {
        let mut stream = Stream::new(4, "A.4", dim as u64);
        let (a, b) = (normals(&mut stream, dim * dim), normals(&mut stream, dim * dim));
        equal(&gradient(&a, |a| trace(&multiply(&b, a, dim), dim)), &transposed(&b, dim), 1e-9, "B^T");
        // A random one that is not symmetric, and whose inverse is not large.
        let mut a: Vec<f64> = a.iter().map(|v| 0.4 * v).collect();
        (0..dim).for_each(|i| a[i * dim + i] += 2.0);
        let log_det = |a: &[f64]| determinant(a, dim).ln();
        equal(&gradient(&a, log_det), &transposed(&inverse(&a, dim), dim), 1e-9, "A^-T");

        let s = covariance(&mut stream, dim);
        let normal = MultivariateNormal::new(vec![0.0; dim], s.clone()).unwrap();
        close(normal.log_det(), determinant(&s, dim).ln(), 1e-12, "log|S|");
        let mut precision = vec![0.0; dim * dim];
        for (j, row) in precision.chunks_exact_mut(dim).enumerate() {
            let mut unit = vec![0.0; dim];
            unit[j] = -1.0;
            normal.score(&unit, row);
        }
        let e = covariance(&mut stream, dim);
        let along = |h: &[f64]| {
            let s = s.iter().zip(&e).map(|(s, e)| s + h[0] * e).collect();
            MultivariateNormal::new(vec![0.0; dim], s).unwrap().log_det()
        };
        close(gradient(&[0.0], along)[0], trace(&multiply(&precision, &e, dim), dim), 1e-8, "tr(S^-1 E)");
    }
}

/// Numbers that sum to 1; some are 0 where `sparse`.
fn probabilities(stream: &mut Stream, n: usize, sparse: bool) -> Vec<f64> {
    let mut p: Vec<f64> =
        (0..n).map(|i| if sparse && i % 2 == 1 { 0.0 } else { -(1.0 - stream.uniform_f64()).ln() }).collect();
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|v| *v /= sum);
    p
}

/// B: E[log X] <= log E[X], and equal only where X is constant; for the logarithm and for other concave functions, and
/// so KL >= 0. Seen red with -log E[1 / X] for log E[X].
#[test]
fn jensen() {
    let mut stream = Stream::new(5, "B", 0);
    for i in 0..500 {
        let n = 2 + i % 9;
        let (p, q) = (probabilities(&mut stream, n, i % 3 == 0), probabilities(&mut stream, n, false));
        let x: Vec<f64> = (0..n).map(|_| (2.0 * stream.normal_f64()).exp()).collect();
        for concave in [f64::ln, f64::sqrt, |x: f64| -x * x, |x: f64| x.min(1.0)] {
            let inside = concave(discrete::expectation(&x, &p).unwrap());
            let outside = discrete::expectation(&x.iter().map(|x| concave(*x)).collect::<Vec<_>>(), &p).unwrap();
            assert!(outside <= inside + 1e-12 * inside.abs(), "{outside} {inside}");
        }
        let gap = |x: &[f64]| {
            let logs: Vec<f64> = x.iter().map(|x| x.ln()).collect();
            discrete::expectation(x, &p).unwrap().ln() - discrete::expectation(&logs, &p).unwrap()
        };
        assert!(p[0] == 1.0 || gap(&x) > 1e-9, "{}", gap(&x));
        close(gap(&vec![x[0]; n]), 0.0, 1e-14, "a constant");
        assert!(discrete::kl(&p, &q).unwrap() > 0.0);
        close(discrete::kl(&p, &p).unwrap(), 0.0, 1e-15, "KL of itself");
    }
}

/// 5.3: for every x and every q over the components, ELBO + KL(q | p(z | x)) = log p(x) to 1e-12; KL is 0 for q = p(z |
/// x), and the ELBO a bound. Mixtures of 1 to 6 components in 1 to 4 dimensions, q with zeros, and points so far away
/// that every density underflows. Seen red with log q left out of the ELBO.
#[test]
fn elbo_and_divergence_make_the_evidence() {
    let mut stream = Stream::new(6, "ELBO", 0);
    for i in 0..300 {
        let (k, dim) = (1 + i % 6, 1 + i % 4);
        let component = |stream: &mut Stream| {
            let mean = normals(stream, dim).iter().map(|v| 2.0 * v).collect();
            MultivariateNormal::new(mean, covariance(stream, dim)).unwrap()
        };
        let components = (0..k).map(|_| component(&mut stream)).collect();
        let mixture = Mixture::new(probabilities(&mut stream, k, false), components).unwrap();
        let mut x = vec![0.0; dim];
        mixture.sample(&mut stream, &mut x);
        let far = i % 5 == 0;
        if far {
            x.iter_mut().for_each(|v| *v += 200.0);
            assert_eq!(mixture.log_pdf(&x).exp(), 0.0);
        }
        let (mut joint, mut posterior) = (vec![0.0; k], vec![0.0; k]);
        mixture.log_joint(&x, &mut joint);
        close(mixture.responsibilities(&x, &mut posterior), mixture.log_pdf(&x), 1e-15, "log p");
        let log_p = mixture.log_pdf(&x);
        let chosen = [probabilities(&mut stream, k, false), probabilities(&mut stream, k, true), posterior.clone()];
        for (which, q) in chosen.iter().enumerate() {
            let expected = |f: &dyn Fn(usize) -> f64| (0..k).filter(|z| q[*z] > 0.0).map(|z| q[z] * f(z)).sum::<f64>();
            let elbo = expected(&|z| joint[z] - q[z].ln());
            // The library's, but where p(z | x) underflows to 0 its logarithm is still known.
            let divergence =
                if far { expected(&|z| q[z].ln() - (joint[z] - log_p)) } else { discrete::kl(q, &posterior).unwrap() };
            close(elbo + divergence, log_p, 1e-12, "ELBO + KL");
            assert!(elbo <= log_p + 1e-12 * log_p.abs(), "{elbo} {log_p}");
            if which == 2 {
                close(divergence, 0.0, 1e-12 * f64::max(1.0, log_p.abs()), "KL of the posterior");
            }
        }
    }
}

/// The same with a latent number instead of a component, as in a VAE: z ~ N(0, 1), x | z ~ N(a z + b, s^2), and any
/// normal q, the ELBO by quadrature. Seen red with q taken for its own posterior.
#[test]
fn elbo_and_divergence_make_the_evidence_of_a_latent_number() {
    let mut stream = Stream::new(7, "latent", 0);
    let prior = Normal::new(0.0, 1.0).unwrap();
    for _ in 0..40 {
        let [a, b, x, mean] = [(); 4].map(|()| stream.normal_f64());
        let (s, sigma) = (0.3 + stream.uniform_f64(), 0.3 + stream.uniform_f64());
        let q = Normal::new(mean, sigma).unwrap();
        let integrand =
            |z: f64| q.pdf(z) * (prior.log_pdf(z) + Normal::new(a * z + b, s).unwrap().log_pdf(x) - q.log_pdf(z));
        let elbo = quadrature::integral(mean - 9.0 * sigma, mean + 9.0 * sigma, integrand).unwrap();
        let variance = 1.0 / (1.0 + a * a / (s * s));
        let divergence = diffusion::kl(&[mean], sigma * sigma, &[variance * a * (x - b) / (s * s)], variance).unwrap();
        let evidence = Normal::new(b, (a * a + s * s).sqrt()).unwrap().log_pdf(x);
        close(elbo + divergence, evidence, 1e-11, "ELBO + KL");
        assert!(elbo <= evidence + 1e-11);
    }
}
