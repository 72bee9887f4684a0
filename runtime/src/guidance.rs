//! Guidance: how two answers of the network, with and without the condition, become one.

use core::ops::{Add, Mul, Sub};

/// Two answers of different lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the conditional answer (or the classifier's gradient) has {conditional} values, the unconditional answer \
         {unconditional}: they must be equal"
)]
pub struct GuidanceError {
    /// Values in the conditional answer, or in the gradient.
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

/// Guidance by a text and by a picture in place: `eps = eps_u + guidance_scale * (eps_c - eps_i) + image_guidance_scale *
/// (eps_i - eps_u)`, where `eps_c` is told of both, `eps_i` of the picture alone, and `eps`, which receives the guided answer,
/// holds `eps_u`, of neither.
///
/// Brooks et al. 2023, "InstructPix2Pix", eq. 3. For answers of one picture or many.
///
/// # Errors
/// Lengths that differ; `eps` is then untouched.
pub fn text_and_image(
    guidance_scale: f32,
    image_guidance_scale: f32,
    [eps_c, eps_i]: [&[f32]; 2],
    eps: &mut [f32],
) -> Result<(), GuidanceError> {
    same_len(eps_c, eps)?;
    same_len(eps_i, eps)?;
    for ((u, c), i) in eps.iter_mut().zip(eps_c).zip(eps_i) {
        *u = *u + guidance_scale * (*c - *i) + image_guidance_scale * (*i - *u);
    }
    Ok(())
}

/// Classifier guidance in place: `eps -= gamma * sqrt(1 - alpha_bar) * gradient`, `gradient` that of `log p(y|x_t, t)`
/// with respect to x_t; 0 leaves eps. What the network answers is taken for epsilon; `sigma` is `sqrt(1 - alpha_bar)`.
///
/// Dhariwal and Nichol 2021, algorithm 2; "Deep Learning from Scratch 5", step 10.3. One picture or many of one level.
///
/// # Errors
/// Lengths that differ; `eps` is then untouched.
pub fn classifier<F>(gamma: F, sigma: F, gradient: &[F], eps: &mut [F]) -> Result<(), GuidanceError>
where
    F: Copy + Sub<Output = F> + Mul<Output = F>,
{
    same_len(gradient, eps)?;
    for (eps, gradient) in eps.iter_mut().zip(gradient) {
        *eps = *eps - gamma * sigma * *gradient;
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

/// Shortens a guided answer in place to `limit` times the conditional one's length, if it is longer: Z-Image's way against the
/// contrast of a large `guidance_scale` (diffusers' `cfg_normalization`; 1 is usual).
///
/// For **one** picture: the lengths are over all its values.
///
/// # Errors
/// Lengths that differ; `guided` is then untouched.
pub fn normalize(limit: f32, eps_c: &[f32], guided: &mut [f32]) -> Result<(), GuidanceError> {
    same_len(eps_c, guided)?;
    let (most, found) = (f64::from(limit) * length(eps_c), length(guided));
    if found > most {
        let factor = (most / found) as f32;
        guided.iter_mut().for_each(|v| *v *= factor);
    }
    Ok(())
}

fn length(x: &[f32]) -> f64 {
    libm::sqrt(x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>())
}

fn std_dev(x: &[f32]) -> f64 {
    let n = x.len().max(1) as f64;
    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    libm::sqrt(x.iter().map(|&v| (f64::from(v) - mean) * (f64::from(v) - mean)).sum::<f64>() / n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;
    use alloc::format;
    use serde_json::Value;

    const REFERENCE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/guidance.json"));

    /// Weight, mean, standard deviation of the reference's one-dimensional data; component 1 is label 1.
    const MIXTURE: [(f64, f64, f64); 2] = [(0.3, -1.0, 0.5), (0.7, 2.0, 0.8)];

    /// Exact epsilons of the noised mixture: unconditional, per label, and the gradient of log p(label | x).
    fn exact(alpha_bar: f64, x: f64) -> (f64, [f64; 2], [f64; 2]) {
        let noise = libm::sqrt(1.0 - alpha_bar);
        let parts = MIXTURE.map(|(weight, mean, std)| {
            let (mean, variance) = (libm::sqrt(alpha_bar) * mean, alpha_bar * std * std + 1.0 - alpha_bar);
            let density = libm::exp(-(x - mean) * (x - mean) / (2.0 * variance)) / libm::sqrt(variance);
            (weight * density, (mean - x) / variance)
        });
        let total = parts[0].0 + parts[1].0;
        let score = (parts[0].0 * parts[0].1 + parts[1].0 * parts[1].1) / total;
        (-noise * score, parts.map(|p| -noise * p.1), parts.map(|p| p.1 - score))
    }

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{got} {want}");
    }

    /// With exact epsilons, classifier-free guidance is classifier guidance. Seen red with `guidance_scale - 1`, and
    /// with the roles of the two answers exchanged; without gamma.
    #[test]
    fn classifier_free_is_classifier_guidance_on_a_mixture() {
        let reference: Value = serde_json::from_str(REFERENCE).unwrap();
        let schedule = Schedule::linear(1e-4, 0.02, 1000).unwrap();
        for t in [100usize, 300, 500] {
            let want = &reference[format!("toy.t{t}.x0.3")];
            let (eps_u, eps_c, gradient) = exact(schedule.alpha_bar(t), 0.3);
            close(eps_u, want["E_eps"].as_f64().unwrap());
            for label in [0, 1] {
                close(eps_c[label], want["eps_cond"][label].as_f64().unwrap());
                close(gradient[label], want["grad_log_p_y_given_x"][label].as_f64().unwrap());
                for scale in [0.0, 1.0, 3.0, 7.5] {
                    let mut guided = [eps_u];
                    classifier_free(scale, &eps_c[label..=label], &mut guided).unwrap();
                    let mut led = [eps_u];
                    classifier(scale, schedule.forward(t).1, &gradient[label..=label], &mut led).unwrap();
                    close(guided[0], led[0]);
                    if (scale, label) == (3.0, 1) {
                        close(guided[0], want["eps_guided_gamma3_y1"].as_f64().unwrap());
                        close(guided[0], want["eps_classifier_guided_gamma3_y1"].as_f64().unwrap());
                    }
                }
            }
        }
    }

    /// Seen red with the ratio upside down.
    #[test]
    fn rescale_mixes_towards_the_conditional_spread() {
        let (eps_c, guided) = ([1.0f32, -1.0, 1.0, -1.0], [4.0f32, 0.0, 4.0, 0.0]);
        for (phi, want) in [(0.0, guided), (1.0, [2.0, 0.0, 2.0, 0.0]), (0.5, [3.0, 0.0, 3.0, 0.0])] {
            let mut out = guided;
            rescale(phi, &eps_c, &mut out).unwrap();
            assert_eq!(out, want);
        }
        let mut flat = [2.0f32; 4];
        rescale(0.7, &eps_c, &mut flat).unwrap();
        assert_eq!(flat, [2.0; 4]);
        rescale(0.7, &[], &mut []).unwrap();
    }

    #[test]
    fn different_lengths_are_refused() {
        let mut eps = [1.0f32, 2.0];
        let refused = Err(GuidanceError { conditional: 1, unconditional: 2 });
        assert_eq!(classifier_free(3.0, &[5.0], &mut eps), refused);
        assert_eq!(rescale(0.7, &[5.0], &mut eps), refused);
        assert_eq!(classifier(1.0, 1.0, &[5.0], &mut eps), refused);
        assert_eq!(eps, [1.0, 2.0]);
    }
}
