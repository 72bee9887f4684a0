//! Distributions over finitely many outcomes, and divergences (steps 1.1 and 5.1).

use super::{DistError, Normal, finite};

/// How far from 1 the sum of probabilities may be.
const SUM: f64 = 1e-9;

/// Checks that there are probabilities, and that they sum to 1 (to 1e-9).
///
/// # Errors
/// None at all, one outside 0 to 1, or another sum; `what` names them in the error.
pub fn probabilities(what: &'static str, p: &[f64]) -> Result<(), DistError> {
    if p.is_empty() {
        return Err(DistError::Empty { what });
    }
    if let Some(index) = p.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(DistError::Probability { what, index, value: p[index] });
    }
    let sum: f64 = p.iter().sum();
    if (sum - 1.0).abs() > SUM {
        return Err(DistError::ProbabilitySum { what, sum });
    }
    Ok(())
}

/// `E[x]` of outcomes `x` with probabilities `p`: 7/2 of a fair die.
///
/// # Errors
/// Lists of different lengths, outcomes that are not finite, or `p` that are no probabilities.
///
/// ```
/// use nijimi_runtime::raw::dist::discrete::{expectation, variance};
/// let (die, fair) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0 / 6.0; 6]);
/// assert!((expectation(&die, &fair)? - 3.5).abs() < 1e-15);
/// assert!((variance(&die, &fair)? - 35.0 / 12.0).abs() < 1e-14);
/// # Ok::<(), nijimi_runtime::raw::dist::DistError>(())
/// ```
pub fn expectation(x: &[f64], p: &[f64]) -> Result<f64, DistError> {
    probabilities("the probabilities", p)?;
    if x.len() != p.len() {
        return Err(DistError::Length { what: "the outcomes", found: x.len(), expected: p.len() });
    }
    finite("the outcomes", x)?;
    Ok(x.iter().zip(p).map(|(x, p)| x * p).sum())
}

/// `E[(x - E[x])^2]`: 35/12 of a fair die.
///
/// # Errors
/// As [`expectation`].
pub fn variance(x: &[f64], p: &[f64]) -> Result<f64, DistError> {
    let mean = expectation(x, p)?;
    Ok(x.iter().zip(p).map(|(x, p)| (x - mean) * (x - mean) * p).sum())
}

/// KL(p || q) = sum of p ln(p / q) in nats, with 0 ln 0 = 0; infinite where q is 0 and p is not.
///
/// # Errors
/// Lists of different lengths, or what are no probabilities.
pub fn kl(p: &[f64], q: &[f64]) -> Result<f64, DistError> {
    probabilities("p", p)?;
    probabilities("q", q)?;
    if p.len() != q.len() {
        return Err(DistError::Length { what: "q", found: q.len(), expected: p.len() });
    }
    Ok(p.iter().zip(q).map(|(p, q)| if *p == 0.0 { 0.0 } else { p * libm::log(p / q) }).sum())
}

/// KL(p || q) of two normals: ln(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2, in nats.
#[must_use]
pub fn kl_normal(p: &Normal, q: &Normal) -> f64 {
    let (ratio, shift) = (p.sigma() / q.sigma(), (p.mean() - q.mean()) / q.sigma());
    0.5 * (ratio * ratio + shift * shift - 1.0) - libm::log(ratio)
}

/// The outcome that a uniform number in [0, 1) chooses: the first whose cumulated weight exceeds it.
pub(super) fn pick(weights: &[f64], u: f64) -> usize {
    let mut cumulated = 0.0;
    let found = weights.iter().position(|w| {
        cumulated += w;
        u < cumulated
    });
    // A sum that rounding left below 1: the last outcome that can come at all.
    found.or_else(|| weights.iter().rposition(|w| *w > 0.0)).unwrap_or(0)
}
