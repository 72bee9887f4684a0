//! Integrals of smooth functions, for expectations under a density.

use super::DistError;

/// Beyond this the weights of [`integral`] are below f64's resolution.
const REACH: f64 = 3.2;
/// Halvings of the step at most, and at least: coarse levels may agree by chance, where they miss a narrow peak.
const LEVELS: i32 = 13;
const LEAST_LEVELS: i32 = 7;

/// The integral of `f` from `from` to `to` by the double-exponential rule (Takahasi and Mori 1974): x = tanh(pi/2 sinh t),
/// trapezoids in t, the step halved until the sum changes by less than 1e-13 of the sum of magnitudes.
///
/// `f` is smooth between the ends, and is never asked for the ends themselves. A peak narrower than about a 500th of the
/// range can be missed: integrate around it.
///
/// # Errors
/// Bounds that are not finite and rising; a sum that does not settle.
pub fn integral(from: f64, to: f64, f: impl Fn(f64) -> f64) -> Result<f64, DistError> {
    if !(from < to && from.is_finite() && to.is_finite()) {
        return Err(DistError::Bounds { from, to });
    }
    let half = 0.5 * (to - from);
    let term = |t: f64| {
        let u = core::f64::consts::FRAC_PI_2 * libm::sinh(t);
        let cosh = libm::cosh(u);
        // half * (1 - |tanh u|), which keeps its digits where tanh rounds to 1.
        let to_end = half * libm::exp(-u.abs()) / cosh;
        let x = if u < 0.0 { from + to_end } else { to - to_end };
        if x <= from || x >= to {
            return 0.0;
        }
        half * core::f64::consts::FRAC_PI_2 * libm::cosh(t) / (cosh * cosh) * f(x)
    };
    let (mut sum, mut magnitude, mut points) = (0.0, 0.0, 0);
    let (mut before, mut change) = (f64::NAN, f64::NAN);
    for level in 0..LEVELS {
        let step = libm::ldexp(0.5, -level);
        let count = libm::floor(REACH / step) as i32;
        // After the first level only the new points, the odd multiples.
        for i in (-count..=count).filter(|i| level == 0 || i % 2 != 0) {
            let value = term(f64::from(i) * step);
            sum += value;
            magnitude += value.abs();
            points += 1;
        }
        change = (sum * step - before).abs();
        before = sum * step;
        if level >= LEAST_LEVELS && change <= 1e-13 * magnitude * step {
            return Ok(before);
        }
    }
    Err(DistError::NotSettled { change, points })
}
