//! Statistics against numpy's figures on the book's data.
#[allow(dead_code)]
#[path = "common/book.rs"]
mod book;

use nijimi_runtime::raw::dist::{IrwinHall, Normal};
use nijimi_runtime::raw::rng::Stream;
use nijimi_trainer::stats::{Histogram, Moments, covariance, ks_test, quantile, sum, uniform_means, uniform_sums};

/// Seen red with the variance divided by n - 1.
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

/// Seen red with the wider of the two widths.
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
///
/// Seen red without the look at the left edge, and with a bin too few.
#[test]
fn bins_hold_their_left_edge_and_the_last_its_right_one() {
    let h = Histogram::with_bins(&[0.0, 0.1, 0.2, 0.3, 0.7, 1.0], 10);
    assert_eq!(h.counts, [1, 1, 2, 0, 0, 0, 1, 0, 0, 1]);
    let one = Histogram::auto(&[3.0; 7]);
    assert_eq!((one.counts, one.edges), (vec![7], vec![2.5, 3.5]));
}

/// Each edge is the first value of its bin, whatever rounding makes of its place; the last bin has two.
///
/// Seen red without the look at the right edge.
#[test]
fn edges_decide_where_rounding_does_not() {
    for (least, greatest, bins) in [(0.0, 1.0, 49), (0.1, 0.7, 1000), (-3.3, 1e3, 777), (153.107034, 190.888112, 85)] {
        let edges = Histogram::with_bins(&[least, greatest], bins).edges;
        let mut expected = vec![1; bins];
        expected[bins - 1] = 2;
        assert_eq!(Histogram::with_bins(&edges, bins).counts, expected, "{bins} bins from {least} to {greatest}");
    }
}

/// numpy: `np.quantile([4, 1, 2], [0, .2, .5, .9, 1])`.
///
/// Seen red with either neighbour taken alone.
#[test]
fn quantiles_lie_between_order_statistics() {
    let of = |p| quantile(&[4.0, 1.0, 2.0], p);
    assert_eq!([of(0.0), of(0.2), of(0.5), of(0.9), of(1.0)], [1.0, 1.4, 2.0, 3.6, 4.0]);
}

/// Seen red with sums divided by the root of n.
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

/// Seen red with one side of the distance left out, and with 1 for the 2 in the exponent.
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

/// Seen red with sums 1 % too large, and with one uniform more.
#[test]
fn sums_of_five_uniforms_are_irwin_hall_and_not_normal() {
    let (exact, limit) = (IrwinHall::new(5).expect("a law"), Normal::new(2.5, (5.0f64 / 12.0).sqrt()).expect("a law"));
    let mut rejected = 0;
    for seed in 0..40 {
        rejected += usize::from(ks_test(&uniform_sums(5, 10_000, seed), |x| exact.cdf(x)).p_value < 0.05);
    }
    assert!(rejected <= 6, "{rejected} of 40 rejected at 5 %");
    // The laws are 0.0057 apart: seen only in a larger sample.
    let many = uniform_sums(5, 300_000, 1);
    assert!(ks_test(&many, |x| exact.cdf(x)).p_value > 0.01);
    let normal = ks_test(&many, |x| limit.cdf(x));
    assert!(normal.p_value < 1e-6 && (normal.distance - 0.005713).abs() < 0.003, "{normal:?}");
}

/// Seen red with the compensation subtracted.
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

/// Seen red with n for n - ddof.
#[test]
fn covariances_of_heights_and_weights() {
    let Some(table) = book::table("height_weight.txt") else { return };
    let (mean, mle) = covariance(&table, 0);
    book::close(&mean, "hw.mean", 1e-12);
    book::close(&mle, "hw.cov0_mle", 1e-12);
    book::close(&covariance(&table, 1).1, "hw.cov1", 1e-12);
}
