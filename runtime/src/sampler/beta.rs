//! Quantiles of the symmetric beta distribution, for the beta schedule of sigmas (Lee et al. 2024, "Beta Sampling Is
//! All You Need").

/// The x in [0, 1] below which a share `p` of Beta(a, a) lies, by bisection.
pub(super) fn quantile(a: f64, p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return p.clamp(0.0, 1.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if cumulative(a, middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The regularized incomplete beta function I_x(a, a), by its continued fraction (DLMF 8.17.22), which converges fast
/// below the middle; above it by symmetry.
fn cumulative(a: f64, x: f64) -> f64 {
    if x > 0.5 {
        return 1.0 - cumulative(a, 1.0 - x);
    }
    // x^a (1 - x)^a / (a B(a, a)).
    let log_beta = 2.0 * libm::lgamma(a) - libm::lgamma(2.0 * a);
    let front = libm::exp(a * (libm::log(x) + libm::log(1.0 - x)) - log_beta) / a;
    let mut fraction = 1.0;
    for m in (0..60).rev() {
        let m = f64::from(m);
        let odd = -(a + m) * (2.0 * a + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let next = m + 1.0;
        let even = next * (a - next) * x / ((a + 2.0 * next - 1.0) * (a + 2.0 * next));
        fraction = 1.0 + odd / (1.0 + even / fraction);
    }
    front / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the closed forms; Beta(0.6, 0.6) is in the schedulers' cases with scipy's. Seen red with `a + m` for
    /// `2 a + m` in the fraction.
    #[test]
    fn quantiles_have_their_closed_forms() {
        assert!((quantile(0.6, 0.5) - 0.5).abs() < 1e-12);
        // Beta(1, 1) is uniform, Beta(1/2, 1/2) the arcsine law.
        for p in [0.05, 0.3, 0.77] {
            assert!((quantile(1.0, p) - p).abs() < 1e-12);
            let sine = libm::sin(core::f64::consts::FRAC_PI_2 * p);
            assert!((quantile(0.5, p) - sine * sine).abs() < 1e-12);
        }
    }
}
