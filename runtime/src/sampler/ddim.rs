//! DDIM: implicit sampling (Song, Meng, Ermon 2021, eq. 12 with the sigma of eq. 16).

use super::{Levels, Prediction, SamplerError, Shares};

/// x_next = sqrt(alpha_bar_next) * x_0 + sqrt(1 - alpha_bar_next - sigma^2) * epsilon + sigma * noise. Epsilon is the
/// network's, also where the estimate of x_0 was clipped; or, with `epsilon_from_x0`, the one that leads from the
/// (clipped) estimate to x.
pub(super) fn shares(
    levels: &Levels,
    eta: f64,
    prediction: Prediction,
    epsilon_from_x0: bool,
) -> Result<Shares, SamplerError> {
    // Eq. 16.
    let variance = (1.0 - levels.next) / (1.0 - levels.now) * (1.0 - levels.now / levels.next);
    let sigma = eta * libm::sqrt(f64::max(variance, 0.0));
    let left = 1.0 - levels.next - sigma * sigma;
    if !(eta >= 0.0 && left >= 0.0) {
        return Err(SamplerError::Eta(eta));
    }
    // Eq. 12: the estimate, the direction that points to x, and the noise.
    let direction = libm::sqrt(left);
    // Read as the network's answer, the estimate gives the epsilon that belongs to it.
    let answer = if epsilon_from_x0 { Prediction::Sample } else { prediction };
    let (epsilon_from_x, epsilon_from_answer) = answer.epsilon(levels.now);
    let (from_x0, from_out) = if epsilon_from_x0 { (epsilon_from_answer, 0.0) } else { (0.0, epsilon_from_answer) };
    Ok(Shares {
        x_from_x: direction * epsilon_from_x,
        x_from_x0: libm::sqrt(levels.next) + direction * from_x0,
        x_from_out: direction * from_out,
        sigma,
    })
}
