//! Statistics against numpy's figures on the book's data.
#[allow(dead_code)]
#[path = "common/book.rs"]
mod book;

use nijimi_runtime::rng::Stream;
use nijimi_trainer::stats::{Histogram, Moments, covariance, ks_test, quantile, sum, uniform_means, uniform_sums};

#[test]
fn moments_of_the_heights() {
    let Some(table) = book::table("height.txt") else { return };
    let m = Moments::of(&table.columns()[0]);
    let ours = [m.n as f64, m.min, m.max, m.mean, m.variance, m.sigma()];
    for (ours, key) in ours.into_iter().zip(["h.n", "h.min", "h.max", "h.mean_fsum", "h.var0", "h.std0"]) {
        book::close(&[ours], key, 1e-14);
    }
    book::close(&[m.skewness], "h.skew", 1e-9);
    book::close(&[m.excess_kurtosis], "h.exkurt", 1e-9);
    book::close(&[quantile(&table.columns()[0], 0.5)], "h.median", 1e-15);
}

#[test]
fn the_histogram_of_the_heights_is_numpys_auto() {
    let Some(table) = book::table("height.txt") else { return };
    let h = Histogram::auto(&table.columns()[0]);
    assert_eq!(h.counts.len(), 85);
    let counts: Vec<f64> = h.counts.iter().map(|c| *c as f64).collect();
    book::close(&counts, "h.hist.counts", 0.0);
    book::close(&[h.width()], "h.hist.width", 1e-13);
    let (at, most) = h.densities().into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("bins");
    book::close(&[most], "h.hist.maxdensity", 1e-12);
    book::close(&[h.edges[at]], "h.hist.argmax_left_edge", 1e-14);
}

/// numpy: `np.histogram([0, .1, .2, .3, .7, 1], 10)`, whose edges are inexact tenths, and one value only.
#[test]
fn bins_hold_their_left_edge_and_the_last_its_right_one() {
    let h = Histogram::with_bins(&[0.0, 0.1, 0.2, 0.3, 0.7, 1.0], 10);
    assert_eq!(h.counts, [1, 1, 2, 0, 0, 0, 1, 0, 0, 1]);
    let one = Histogram::auto(&[3.0; 7]);
    assert_eq!((one.counts, one.edges), (vec![7], vec![2.5, 3.5]));
}

#[test]
fn sums_of_uniforms_follow_the_central_limit_theorem() {
    for n in [1, 2, 4, 5, 10] {
        let m = Moments::of(&uniform_means(n, 10_000, 7));
        let expected = book::figure(&format!("clt.N{n}"));
        let (mean, sigma) = (expected["mean_avg"].as_f64().expect("mean"), expected["std_avg"].as_f64().expect("std"));
        let kurtosis = expected["excess_kurt"].as_f64().expect("kurtosis");
        // Five standard errors of each figure.
        assert!((m.mean - mean).abs() < 5.0 * sigma / 100.0, "N={n}: mean {}", m.mean);
        assert!((m.sigma() / sigma - 1.0).abs() < 5.0 * 0.0075, "N={n}: sigma {} of {sigma}", m.sigma());
        assert!((m.excess_kurtosis - kurtosis).abs() < 5.0 * 0.049, "N={n}: kurtosis {}", m.excess_kurtosis);
        let sums = Moments::of(&uniform_sums(n, 10_000, 7));
        assert!((sums.mean / n as f64 - m.mean).abs() < 1e-12 && (sums.sigma() / n as f64 - m.sigma()).abs() < 1e-12);
    }
}

#[test]
fn the_test_of_kolmogorov_tells_laws_apart() {
    // Of a known sample: distances at 0.1, 0.5, 0.6 are 0.1, 1/3 - 0.5, 2/3 - 0.6 and 0.4 above.
    let known = ks_test(&[0.6, 0.1, 0.5], |x| x);
    assert!((known.distance - 0.4).abs() < 1e-15, "{}", known.distance);
    let uniform = |x: f64| x.clamp(0.0, 1.0);
    let mut rejected = 0;
    for seed in 0..200 {
        rejected += usize::from(ks_test(&uniform_sums(1, 500, seed), uniform).p_value < 0.05);
    }
    assert!((2..=20).contains(&rejected), "{rejected} of 200 rejected at 5 %");
    let shifted: Vec<f64> = uniform_sums(1, 2000, 3).iter().map(|x| 0.05 + 0.95 * x).collect();
    assert!(ks_test(&shifted, uniform).p_value < 1e-3);
}

#[test]
fn sums_keep_what_cancels() {
    assert_eq!(sum([1e16, 1.0, -1e16]), 1.0);
    assert_eq!(sum([1.0, f64::INFINITY]), f64::INFINITY);
    let mut draw = Stream::new(1, "sums", 0);
    let around =
        |offset: f64, draw: &mut Stream| (0..100_000).map(|_| offset + draw.uniform_f64()).collect::<Vec<f64>>();
    let m = Moments::of(&around(1e9, &mut draw));
    assert!((m.variance * 12.0 - 1.0).abs() < 0.02, "variance at an offset: {}", m.variance);
}

#[test]
fn covariances_of_heights_and_weights() {
    let Some(table) = book::table("height_weight.txt") else { return };
    let (mean, mle) = covariance(&table, 0);
    book::close(&mean, "hw.mean", 1e-12);
    book::close(&mle, "hw.cov0_mle", 1e-12);
    book::close(&covariance(&table, 1).1, "hw.cov1", 1e-12);
}
