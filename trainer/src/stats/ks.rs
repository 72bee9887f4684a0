//! The Kolmogorov-Smirnov test of one sample against a known law.

/// Distance and probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KsTest {
    /// Greatest distance of the sample's distribution function from the law's.
    pub distance: f64,
    /// Probability of a distance at least as great if the sample has that law.
    pub p_value: f64,
}

/// Tests a sample against a continuous distribution function. The probability is Kolmogorov's limit, with the correction
/// of Stephens (1970) for the sample's size.
///
/// # Panics
/// If there are no values.
#[must_use]
pub fn ks_test(values: &[f64], cdf: impl Fn(f64) -> f64) -> KsTest {
    assert!(!values.is_empty(), "a sample of at least one value");
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len() as f64;
    let apart = |(i, v): (usize, &f64)| {
        let f = cdf(*v);
        (f - i as f64 / n).max((i + 1) as f64 / n - f)
    };
    let distance = values.iter().enumerate().map(apart).fold(0.0, f64::max);
    KsTest { distance, p_value: kolmogorov_survival(distance * (n.sqrt() + 0.12 + 0.11 / n.sqrt())) }
}

/// `Q(x) = 2 sum_{j>=1} (-1)^(j-1) exp(-2 j^2 x^2)`, or its dual (theta) series where that converges faster.
fn kolmogorov_survival(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x < 0.2 {
        // Less than 1e-12 is missing from 1.
        return 1.0;
    }
    let q = if x < 1.18 {
        let term = |j: i32| (-f64::from((2 * j - 1).pow(2)) * PI * PI / (8.0 * x * x)).exp();
        1.0 - (2.0 * PI).sqrt() / x * (1..=5).map(term).sum::<f64>()
    } else {
        let term = |j: i32| f64::from(1 - 2 * ((j + 1) % 2)) * (-2.0 * f64::from(j * j) * x * x).exp();
        2.0 * (1..=5).map(term).sum::<f64>()
    };
    q.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tabulated values of the limit (scipy.special.kolmogorov).
    #[test]
    fn the_limit_is_kolmogorovs() {
        for (x, q) in [(0.5, 0.963_945_243_664_875_1), (1.0, 0.269_999_671_677_355_9), (1.5, 0.022_217_962_616_525_5)] {
            assert!((kolmogorov_survival(x) - q).abs() < 1e-12, "{x}: {} {q}", kolmogorov_survival(x));
        }
        let (below, above) = (kolmogorov_survival(1.18 - 1e-12), kolmogorov_survival(1.18 + 1e-12));
        assert!((below - above).abs() < 1e-11, "{below} {above}");
    }
}
