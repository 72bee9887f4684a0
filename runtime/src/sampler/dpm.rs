//! What the forms of DPM-Solver have in common: the exponential integrals of a step (Lu et al. 2022, DPM-Solver, eq.
//! 3.4 to 3.7; DPM-Solver++, eq. 9 to 16).

use super::SamplerError;
use super::levels::Point;
use super::settings::Dpm;

/// x' = x * sample + d0 * D0 + d1 * D1 + d2 * D2 + noise * n, where D0 is the value at one level of the step and D1, D2
/// are its divided differences in lambda, in units of the step h.
pub(super) struct Weights {
    pub(super) x: f64,
    pub(super) d0: f64,
    /// By the midpoint's rule.
    pub(super) d1_midpoint: f64,
    /// By Heun's.
    pub(super) d1_heun: f64,
    pub(super) d2: f64,
    pub(super) noise: f64,
}

/// Of the step from `from` to `to`.
pub(super) fn weights(form: Dpm, from: &Point, to: &Point) -> Weights {
    let (alpha, sigma) = (to.alpha, to.sigma);
    // With h infinite, at the clean level, the terms in h have their limits.
    let h = to.lambda() - from.lambda();
    let over = |value: f64, h: f64| if h.is_finite() && h != 0.0 { value / h } else { 0.0 };
    match form {
        Dpm::Data => {
            let phi = libm::expm1(-h);
            let d2 = over(over(phi + h, h), h) - 0.5;
            let (d1_midpoint, d1_heun) = (-0.5 * alpha * phi, alpha * (over(phi, h) + 1.0));
            Weights { x: sigma / from.sigma, d0: -alpha * phi, d1_midpoint, d1_heun, d2: -alpha * d2, noise: 0.0 }
        }
        Dpm::DataSde => {
            let phi = -libm::expm1(-2.0 * h);
            let d2 = over(over(phi - 2.0 * h, 2.0 * h), 2.0 * h) - 0.5;
            Weights {
                x: sigma / from.sigma * libm::exp(-h),
                d0: alpha * phi,
                d1_midpoint: 0.5 * alpha * phi,
                d1_heun: alpha * (over(phi, -2.0 * h) + 1.0),
                d2: alpha * d2,
                noise: sigma * libm::sqrt(phi),
            }
        }
        Dpm::Noise | Dpm::NoiseSde => {
            let phi = libm::expm1(h);
            let twice = if form == Dpm::NoiseSde { 2.0 } else { 1.0 };
            Weights {
                x: alpha / from.alpha,
                d0: -twice * sigma * phi,
                d1_midpoint: -0.5 * twice * sigma * phi,
                d1_heun: -twice * sigma * (over(phi, h) - 1.0),
                d2: -sigma * (over(over(phi - h, h), h) - 0.5),
                noise: if form == Dpm::NoiseSde { sigma * libm::sqrt(libm::expm1(2.0 * h)) } else { 0.0 },
            }
        }
    }
}

/// The value that the form works with, as weights of sample, estimate and output.
pub(super) fn value(form: Dpm, point: &Point) -> [f32; 3] {
    match form {
        Dpm::Data | Dpm::DataSde => [0.0, 1.0, 0.0],
        Dpm::Noise | Dpm::NoiseSde => point.epsilon(),
    }
}

/// Order 1 to 3, and for the forms in epsilon a last level that is not clean.
pub(super) fn check(form: Dpm, order: usize, last: &Point) -> Result<(), SamplerError> {
    let most = if form == Dpm::NoiseSde { 2 } else { 3 };
    if order == 0 || order > most {
        return Err(SamplerError::Order { order, most });
    }
    if matches!(form, Dpm::Noise | Dpm::NoiseSde) && last.sigma == 0.0 {
        return Err(SamplerError::CleanEnd);
    }
    Ok(())
}
