//! Against the reference's figures, values of 60 digits (mpmath), and identities.

use super::discrete::{expectation, kl};
use super::quadrature::integral;
use super::*;
use crate::rng::Stream;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use serde_json::Value;

mod elementary;

fn classic() -> Value {
    serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/classic.json")))
        .unwrap()
}

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(all) => all.iter().flat_map(numbers).collect(),
        other => vec![number(other)],
    }
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs(), "{got:e} is not {want:e}");
}

/// Largest gap between the sorted values' empirical distribution and `cdf`, times sqrt(n).
fn kolmogorov(x: &mut [f64], cdf: impl Fn(f64) -> f64) -> f64 {
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    let gap = |(i, v): (usize, &f64)| f64::max(cdf(*v) - i as f64 / n, (i + 1) as f64 / n - cdf(*v));
    x.iter().enumerate().map(gap).fold(0.0, f64::max) * libm::sqrt(n)
}

/// The level of 1e-3 of [`kolmogorov`].
const KS: f64 = 1.95;

fn geyser() -> Mixture {
    let short = MultivariateNormal::new(vec![2.0, 54.5], vec![0.07, 0.44, 0.44, 33.7]).unwrap();
    let long = MultivariateNormal::new(vec![4.3, 80.0], vec![0.17, 0.94, 0.94, 36.0]).unwrap();
    Mixture::new(vec![0.35, 0.65], vec![short, long]).unwrap()
}

/// Three dimensions, no structure.
fn cube() -> MultivariateNormal {
    MultivariateNormal::new(vec![1.0, -2.0, 0.5], vec![2.0, 0.3, -0.7, 0.3, 0.5, 0.1, -0.7, 0.1, 1.4]).unwrap()
}

/// Steps 1 and 2. Seen red with the survival as 1 - cdf (last assertion), and with sigma left out of the pdf.
#[test]
fn normal_has_the_figures_of_the_book() {
    let c = classic();
    let standard = Normal::STANDARD;
    for (x, key) in [(0.0, "pdf0"), (1.0, "pdf1"), (2.0, "pdf2"), (5.0, "pdf5")] {
        close(standard.pdf(x), number(&c[key]), 1e-15);
        close(libm::exp(standard.log_pdf(x)), number(&c[key]), 2e-15);
    }
    close(Normal::new(0.0, 0.5).unwrap().pdf(0.0), number(&c["norm_param.sigma0.5.peak"]), 1e-15);
    close(Normal::new(0.0, 2.0).unwrap().pdf(0.0), number(&c["norm_param.sigma2.peak"]), 1e-15);
    let heights = Normal::new(number(&c["h.mean_fsum"]), number(&c["h.std0"])).unwrap();
    close(heights.cdf(160.0), number(&c["prob.le160"]), 1e-13);
    close(heights.survival(180.0), number(&c["prob.gt180_sf"]), 1e-13);
    // 25 sigma out, where 1 - cdf is 0.
    assert!(heights.survival(heights.mean() + 25.0 * heights.sigma()) > 1e-138);
}

/// The tail, its logarithm and the quantile at values from mpmath. Seen red without the correction of the argument's
/// rounding in `upper_tail` (z = 30), with 8 terms of the continued fraction, and with the tenth digit of one
/// coefficient changed.
#[test]
#[allow(clippy::excessive_precision, reason = "as mpmath prints them")]
fn normal_tails_and_quantiles_are_accurate() {
    #[rustfmt::skip]
    let tails = [
        (0.5, 0.308537538725986896, -1.17591176159361861), (1.5, 0.066807201268858066, -2.70594440082388981),
        (3.0, 0.00134989803163009453, -6.60772622151034954), (5.0, 2.86651571879193912e-7, -15.0649983939887257),
        (6.0, 9.86587645037698141e-10, -20.7367689499747057), (8.0, 6.22096057427178412e-16, -35.0134371599145499),
        (10.0, 7.61985302416052607e-24, -53.2312851505124706), (20.0, 2.7536241186062337e-89, -203.917155371097264),
        (30.0, 4.90671392714818706e-198, -454.321243956343197), (37.5, 4.60535300958195484e-308, -707.668989317507191),
        (50.0, 0.0, -1254.8313611394199), (100.0, 0.0, -5005.52420869420509),
    ];
    let n = Normal::STANDARD;
    for (z, tail, log_tail) in tails {
        close(n.survival(z), tail, 4e-16 * 2.0);
        close(n.cdf(-z), tail, 4e-16 * 2.0);
        close(n.log_survival(z), log_tail, 1e-15);
        close(n.log_cdf(-z), log_tail, 1e-15);
        close(n.cdf(z), 1.0 - tail, 1e-15);
        close(n.log_cdf(z), libm::log1p(-tail), 1e-15);
    }
    #[rustfmt::skip]
    let quantiles = [
        (1e-300, -37.0470962993611992), (1e-100, -21.2734535609653243), (1e-20, -9.26234008979840758),
        (1e-10, -6.3613409024040562), (1e-5, -4.26489079392282461), (0.001, -3.09023230616781354),
        (0.02425, -1.97296105131188484), (0.1, -1.28155156554460044), (0.3, -0.524400512708040816),
        (0.4999, -0.000250662830088007492), (0.5000001, 2.5066282733116483e-7), (0.7, 0.524400512708040656),
        (0.975, 1.95996398454005386), (0.999, 3.09023230616781328), (0.99999999, 5.61200124330550498),
    ];
    for (p, z) in quantiles {
        close(n.quantile(p), z, 1e-15);
        close(n.quantile_survival(p), -z, 1e-15);
    }
    assert_eq!((n.quantile(0.0), n.quantile(1.0), n.quantile(0.5)), (f64::NEG_INFINITY, f64::INFINITY, 0.0));
    assert!([-0.1, 1.1, f64::NAN].iter().all(|p| n.quantile(*p).is_nan()));
    let heights = Normal::new(172.7, 4.83).unwrap();
    for i in 1..1000 {
        let p = f64::from(i) / 1000.0;
        close(heights.cdf(heights.quantile(p)), p, 1e-13);
        close(heights.survival(heights.quantile_survival(p * 1e-9)), p * 1e-9, 1e-11);
    }
    assert_eq!((n.cdf(f64::INFINITY), n.survival(f64::INFINITY), n.cdf(f64::NEG_INFINITY)), (1.0, 0.0, 0.0));
}

/// Step 3: densities, determinant, and the identities L L^T = S and score = gradient. Seen red with the columns of L
/// exchanged for its rows in `inverse_of_lower`, and with `log_det` halved.
#[test]
fn multivariate_has_the_figures_of_the_book() {
    let c = classic();
    let demo = MultivariateNormal::new(vec![1.0, 2.0], vec![1.0, 0.0, 0.0, 1.0]).unwrap();
    close(libm::exp(demo.log_pdf(&[0.0, 0.0])), number(&c["mvn.demo"]), 1e-15);
    let plot = MultivariateNormal::new(vec![0.5, -0.2], vec![2.0, 0.3, 0.3, 0.5]).unwrap();
    close(libm::exp(plot.log_pdf(&[0.5, -0.2])), number(&c["plot_norm.peak"]), 1e-15);
    close(libm::exp(plot.log_det()), number(&c["plot_norm.det"]), 1e-15);
    let fit = MultivariateNormal::new(numbers(&c["hw.mean"]), numbers(&c["hw.cov1"])).unwrap();
    close(libm::exp(fit.log_det()), number(&c["hw.det_cov1"]), 1e-14);
    close(libm::exp(fit.log_pdf(fit.mean())), number(&c["hw.peak1"]), 1e-14);
    close(libm::exp(fit.log_pdf(&[172.5, 57.5])), number(&c["contour.mle"]["zmax"]), 1e-13);
    // The quadratic form through the inverse as numpy has it.
    let (inverse, d) = (numbers(&c["hw.inv_cov1"]), [3.0, -7.0]);
    let x = [fit.mean()[0] + d[0], fit.mean()[1] + d[1]];
    let form = d[0] * d[0] * inverse[0] + 2.0 * d[0] * d[1] * inverse[1] + d[1] * d[1] * inverse[3];
    close(fit.mahalanobis_squared(&x), form, 1e-12);

    let cube = cube();
    let l = cube.cholesky();
    for (row, column) in (0..9).map(|i| (i / 3, i % 3)) {
        let product: f64 = (0..3).map(|k| l[row * 3 + k] * l[column * 3 + k]).sum();
        assert!((product - cube.covariance()[row * 3 + column]).abs() < 1e-15);
    }
    let (x, mut score) = ([0.3, -1.0, 2.0], [f64::NAN; 3]);
    cube.score(&x, &mut score);
    gradient_is(&score, &x, |x| cube.log_pdf(x));
    // A product of univariate densities where nothing correlates.
    let apart = MultivariateNormal::diagonal(vec![1.0, -1.0], &[4.0, 0.25]).unwrap();
    let product = Normal::new(1.0, 2.0).unwrap().log_pdf(0.0) + Normal::new(-1.0, 0.5).unwrap().log_pdf(0.2);
    close(apart.log_pdf(&[0.0, 0.2]), product, 1e-15);
}

/// Central differences of the fourth order.
#[track_caller]
fn gradient_is(gradient: &[f64], x: &[f64], f: impl Fn(&[f64]) -> f64) {
    for (i, g) in gradient.iter().enumerate() {
        let at = |shift: f64| {
            let mut x = x.to_vec();
            x[i] += shift;
            f(&x)
        };
        let h = 1e-3;
        let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
        assert!((g - difference).abs() < 1e-8 * g.abs().max(1.0), "{i}: {g:e} is not {difference:e}");
    }
}

/// Step 4. Seen red with weights in place of their logarithms, and with an update of the sum that forgets to rescale.
#[test]
fn mixture_has_the_figures_of_the_book() {
    let (c, geyser) = (classic(), geyser());
    for (x, key) in [
        ([2.0, 54.5], "gmm.pdf[2, 54.5]"),
        ([4.3, 80.0], "gmm.pdf[4.3, 80.0]"),
        ([3.0, 67.0], "gmm.pdf[3.0, 67.0]"),
        ([3.6, 79.0], "gmm.pdf[3.6, 79.0]"),
    ] {
        close(libm::exp(geyser.log_pdf(&x)), number(&c[key]), 1e-12);
        let mut joint = [0.0; 2];
        geyser.log_joint(&x, &mut joint);
        close(libm::exp(joint[0]) + libm::exp(joint[1]), number(&c[key]), 1e-12);
        let mut shares = [0.0; 2];
        close(geyser.responsibilities(&x, &mut shares), geyser.log_pdf(&x), 1e-15);
        close(shares[0] / shares[1], libm::exp(joint[0] - joint[1]), 1e-12);
        close(shares[0] + shares[1], 1.0, 1e-15);
        let mut score = [f64::NAN; 2];
        geyser.score(&x, &mut score);
        gradient_is(&score, &x, |x| geyser.log_pdf(x));
    }
    let (mean, covariance) = (numbers(&c["gmm.mean"]), numbers(&c["gmm.cov"]));
    mean.iter().zip(geyser.mean()).for_each(|(want, got)| close(got, *want, 1e-14));
    covariance.iter().zip(geyser.covariance()).for_each(|(want, got)| close(got, *want, 1e-13));
}

/// The start of the book's EM, where the densities of 157 points underflow in f32 and nothing may be NaN; and a point
/// where even the logarithms overflow. Seen red with a sum of plain densities.
#[test]
fn mixture_is_finite_far_from_everything() {
    let eye = vec![1.0, 0.0, 0.0, 1.0];
    let components = [[0.0, 50.0], [0.0, 100.0]].map(|m| MultivariateNormal::new(m.to_vec(), eye.clone()).unwrap());
    let start = Mixture::new(vec![0.5, 0.5], components.to_vec()).unwrap();
    let mut shares = [f64::NAN; 2];
    let log_pdf = start.responsibilities(&[3.6, 79.0], &mut shares);
    close(log_pdf, 0.5f64.ln() - LN_2_PI - 0.5 * (3.6 * 3.6 + 21.0 * 21.0), 1e-14);
    assert!(shares[0] < 1e-80 && shares[0] > 0.0 && shares[1] == 1.0);
    // Where every density underflows in f64 too.
    close(start.log_pdf(&[60.0, 50.0]), 0.5f64.ln() - LN_2_PI - 1800.0, 1e-14);
    let away = [1e200, 0.0];
    assert_eq!(start.responsibilities(&away, &mut shares), f64::NEG_INFINITY);
    assert_eq!(shares, [0.5, 0.5]);
    let mut score = [0.0; 2];
    start.score(&away, &mut score);
    close(score[0], -1e200, 1e-15);
    assert!(start.log_pdf(&[f64::NAN, 0.0]).is_nan());
    // A component that never comes.
    let none = Mixture::new(vec![0.0, 1.0], components.to_vec()).unwrap();
    close(none.log_pdf(&[0.0, 100.0]), -LN_2_PI, 1e-15);
    let mut stream = Stream::new(1, "none", 0);
    assert!((0..100).all(|_| none.sample(&mut stream, &mut [0.0; 2]) == 1));
}

/// The marginal of one column integrates the other away, and noise adds up: q_t of the reference's toy. Seen red with
/// `1 - alpha_bar` added to every entry, and with the mean scaled by alpha_bar.
#[test]
fn mixture_marginal_and_noised_are_what_they_say() {
    let geyser = geyser();
    let column = geyser.marginal(&[1]).unwrap();
    for y in [50.0, 67.0, 85.0] {
        let sum = integral(-2.0, 8.0, |x| libm::exp(geyser.log_pdf(&[x, y]))).unwrap();
        close(libm::exp(column.log_pdf(&[y])), sum, 1e-11);
    }
    let swapped = geyser.marginal(&[1, 0]).unwrap();
    close(swapped.log_pdf(&[67.0, 3.0]), geyser.log_pdf(&[3.0, 67.0]), 1e-13);

    let alpha_bar = 0.39641975945825253;
    let noised = geyser.noised(alpha_bar).unwrap();
    for (of, to) in geyser.components().iter().zip(noised.components()) {
        close(to.covariance()[1], alpha_bar * of.covariance()[1], 1e-15);
        close(to.covariance()[3], alpha_bar * of.covariance()[3] + 1.0 - alpha_bar, 1e-15);
        close(to.mean()[1], libm::sqrt(alpha_bar) * of.mean()[1], 1e-15);
    }
    let (mut stream, n) = (Stream::new(8, "noised", 0), 40_000);
    let (signal, noise) = (libm::sqrt(alpha_bar), libm::sqrt(1.0 - alpha_bar));
    let mut sums: Vec<f64> = (0..n)
        .map(|_| {
            let mut x = [0.0; 2];
            geyser.sample(&mut stream, &mut x);
            (x[0] * 2.0 + x[1] * 0.1) * signal + noise * (2.0 * stream.normal_f64() + 0.1 * stream.normal_f64())
        })
        .collect();
    // The law of one direction, as a mixture of univariate normals.
    let direction: Vec<(f64, Normal)> = noised
        .weights()
        .iter()
        .zip(noised.components())
        .map(|(w, c)| {
            let (m, s) = (c.mean(), c.covariance());
            let variance = 4.0 * s[0] + 0.4 * s[1] + 0.01 * s[3];
            (*w, Normal::new(2.0 * m[0] + 0.1 * m[1], libm::sqrt(variance)).unwrap())
        })
        .collect();
    let ks = kolmogorov(&mut sums, |x| direction.iter().map(|(w, n)| w * n.cdf(x)).sum());
    assert!(ks < KS, "{ks}");
    assert_eq!(geyser.noised(1.5), Err(DistError::AlphaBar(1.5)));
    assert_eq!(geyser.marginal(&[2]), Err(DistError::Column { column: 2, dim: 2 }));
    assert_eq!(geyser.marginal(&[0, 0]), Err(DistError::Column { column: 0, dim: 2 }));
}

/// Draws, whitened, are standard normals in each direction. Seen red with L^T in place of L.
#[test]
fn draws_follow_their_distribution() {
    let (cube, n) = (cube(), 20_000);
    let (mut stream, mut x) = (Stream::new(3, "cube", 0), [0.0; 3]);
    let mut whitened = [const { Vec::new() }; 3];
    for _ in 0..n {
        cube.sample(&mut stream, &mut x);
        let d: Vec<f64> = x.iter().zip(cube.mean()).map(|(x, m)| x - m).collect();
        for (i, values) in whitened.iter_mut().enumerate() {
            values.push((0..=i).map(|j| cube.whitening_at(i, j) * d[j]).sum::<f64>());
        }
    }
    let correlation = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n as f64;
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        assert!(correlation(&whitened[i], &whitened[j]).abs() < 5.0 / libm::sqrt(n as f64));
    }
    for values in &mut whitened {
        let ks = kolmogorov(values, |x| Normal::STANDARD.cdf(x));
        assert!(ks < KS, "{ks}");
    }
    let (geyser, mut first) = (geyser(), 0.0);
    let mut column: Vec<f64> = (0..n)
        .map(|i| {
            let mut x = [0.0; 2];
            // Keyed by the row, as files of numbers are sampled.
            first += f64::from(u8::from(geyser.sample(&mut Stream::new(5, "row", i), &mut x) == 0));
            x[1]
        })
        .collect();
    assert!((first / n as f64 - 0.35).abs() < 5.0 * libm::sqrt(0.35 * 0.65 / n as f64));
    let laws = geyser.marginal(&[1]).unwrap();
    let law = |k: usize| Normal::new(laws.components()[k].mean()[0], libm::sqrt(laws.components()[k].covariance()[0]));
    let (short, long) = (law(0).unwrap(), law(1).unwrap());
    let ks = kolmogorov(&mut column, |x| 0.35 * short.cdf(x) + 0.65 * long.cdf(x));
    assert!(ks < KS, "{ks}");
    let mut heights: Vec<f64> = (0..n).map(|_| Normal::new(172.7, 4.83).unwrap().sample(&mut stream)).collect();
    let ks = kolmogorov(&mut heights, |x| Normal::new(172.7, 4.83).unwrap().cdf(x));
    assert!(ks < KS, "{ks}");
}

/// Each refusal names the place. Seen red with the check of symmetry left out, and with pivots compared with 0 alone.
#[test]
fn what_is_no_distribution_is_refused_by_name() {
    assert_eq!(Normal::new(0.0, 0.0), Err(DistError::Sigma(0.0)));
    assert!(matches!(Normal::new(f64::NAN, 1.0), Err(DistError::NotFinite { index: 0, .. })));
    let new = |mean: &[f64], covariance: &[f64]| MultivariateNormal::new(mean.to_vec(), covariance.to_vec());
    assert_eq!(new(&[], &[]), Err(DistError::Empty { what: "dimensions" }));
    let e = new(&[0.0, 0.0], &[1.0, 0.0, 1.0]);
    assert_eq!(e, Err(DistError::Length { what: "the covariance", found: 3, expected: 4 }));
    let e = new(&[0.0, 0.0], &[1.0, 0.1, 0.2, 1.0]);
    assert_eq!(e, Err(DistError::NotSymmetric { row: 1, column: 0, value: 0.2, mirrored: 0.1 }));
    let e = new(&[0.0, 0.0], &[1.0, f64::INFINITY, 0.2, 1.0]);
    assert!(matches!(e, Err(DistError::NotFinite { index: 1, .. })));
    // Column 1 is three tenths of column 0, to rounding; and a negative eigenvalue.
    let e = new(&[0.0, 0.0], &[1.1, 0.33, 0.33, 0.099]).unwrap_err();
    assert!(matches!(e, DistError::NotPositiveDefinite { pivot: 1, .. }), "{e}");
    let e = new(&[0.0, 0.0], &[1.0, 2.0, 2.0, 1.0]).unwrap_err();
    assert_eq!(e, DistError::NotPositiveDefinite { pivot: 1, value: -3.0, variance: 1.0 });
    assert!(e.to_string().contains("pivot 1 (from 0)") && e.to_string().contains("is -3"), "{e}");
    assert!(matches!(new(&[0.0], &[0.0]), Err(DistError::NotPositiveDefinite { pivot: 0, .. })));
    let one = || new(&[0.0], &[1.0]).unwrap();
    let e = Mixture::new(vec![0.5, 0.6], vec![one(), one()]);
    assert_eq!(e, Err(DistError::ProbabilitySum { what: "the weights", sum: 1.1 }));
    assert!(matches!(Mixture::new(vec![1.5, -0.5], vec![one(), one()]), Err(DistError::Probability { index: 0, .. })));
    assert!(matches!(Mixture::new(vec![1.0], vec![one(), one()]), Err(DistError::Length { .. })));
    assert_eq!(Mixture::new(vec![], vec![]), Err(DistError::Empty { what: "the weights" }));
    let e = Mixture::new(vec![0.5, 0.5], vec![one(), geyser().components()[0].clone()]);
    assert_eq!(e, Err(DistError::Dimensions { component: 1, found: 2, expected: 1 }));
    assert!(matches!(kl(&[1.0], &[0.5, 0.5]), Err(DistError::Length { .. })));
    assert!(matches!(expectation(&[1.0, 2.0], &[1.0]), Err(DistError::Length { .. })));
}
