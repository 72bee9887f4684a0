//! Guidance: how two answers of the network, with and without the condition, become one.

use core::ops::{Add, Mul, Sub};

/// Two answers of different lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the conditional answer has {conditional} values, the unconditional {unconditional}: they must be equal")]
pub struct GuidanceError {
    /// Values in the conditional answer.
    pub conditional: usize,
    /// Values in the unconditional, or guided, answer.
    pub unconditional: usize,
}

fn same_len<T>(conditional: &[T], unconditional: &[T]) -> Result<(), GuidanceError> {
    let (conditional, unconditional) = (conditional.len(), unconditional.len());
    if conditional == unconditional { Ok(()) } else { Err(GuidanceError { conditional, unconditional }) }
}

/// Classifier-free guidance in place: `eps = eps_u + guidance_scale * (eps_c - eps_u)`. `eps` holds the unconditional
/// answer and receives the guided one; 0 leaves it, 1 gives the conditional answer.
///
/// Ho and Salimans 2021, eq. 6, whose `w` is `guidance_scale - 1`. For answers of any prediction type, f32 or f64, of
/// one picture or many.
///
/// # Errors
/// Lengths that differ; `eps` is then untouched.
pub fn classifier_free<F>(guidance_scale: F, eps_c: &[F], eps: &mut [F]) -> Result<(), GuidanceError>
where
    F: Copy + Add<Output = F> + Sub<Output = F> + Mul<Output = F>,
{
    same_len(eps_c, eps)?;
    for (u, c) in eps.iter_mut().zip(eps_c) {
        *u = *u + guidance_scale * (*c - *u);
    }
    Ok(())
}

/// Rescales a guided answer in place towards the standard deviation of the conditional one, so that a large
/// `guidance_scale` does not overexpose (Lin et al. 2023, eq. 15 and 16; their phi is `rescale`, 0.7; 0 leaves it).
///
/// For **one** picture: the standard deviations are over all its values. A guided answer without any spread stays.
///
/// # Errors
/// Lengths that differ; `guided` is then untouched.
pub fn rescale(rescale: f32, eps_c: &[f32], guided: &mut [f32]) -> Result<(), GuidanceError> {
    same_len(eps_c, guided)?;
    let spread = std_dev(guided);
    if spread != 0.0 {
        // Eq. 15 multiplies by the ratio; eq. 16 mixes that with what was there.
        let factor = f64::from(rescale) * (std_dev(eps_c) / spread) + (1.0 - f64::from(rescale));
        guided.iter_mut().for_each(|v| *v *= factor as f32);
    }
    Ok(())
}

fn std_dev(x: &[f32]) -> f64 {
    let n = x.len().max(1) as f64;
    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    libm::sqrt(x.iter().map(|&v| (f64::from(v) - mean) * (f64::from(v) - mean)).sum::<f64>() / n)
}
