//! The sinusoidal code of a timestep, as diffusers computes it. The caller computes it, once a step: a few hundred
//! numbers.

/// How a number is coded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TimeCode {
    /// Cosines first, then sines (`flip_sin_to_cos`); all of Stable Diffusion.
    pub cosine_first: bool,
    /// Taken from the number of frequencies (`freq_shift`; 0 in all of Stable Diffusion).
    pub shift: f64,
}

impl Default for TimeCode {
    fn default() -> Self {
        Self { cosine_first: true, shift: 0.0 }
    }
}

impl TimeCode {
    /// Writes the code of `t`: half of `out` sines, half cosines, of `t 10000^(-i / (half - shift))` (Vaswani et al. 2017,
    /// section 3.5; diffusers' `get_timestep_embedding`). The last element of an odd length is 0.
    pub fn write(&self, t: f64, out: &mut [f32]) {
        let half = out.len() / 2;
        out.fill(0.0);
        for i in 0..half {
            let exponent = -libm::log(10000.0) * i as f64 / (half as f64 - self.shift);
            let angle = t * libm::exp(exponent);
            let (first, second) = if self.cosine_first { (half, 0) } else { (0, half) };
            out[first + i] = libm::sin(angle) as f32;
            out[second + i] = libm::cos(angle) as f32;
        }
    }
}

/// Writes the code of a guidance scale, for networks into which guidance was distilled (Meng et al. 2023, "On Distillation of
/// Guided Diffusion Models"; Luo et al. 2023, "Latent Consistency Models"): as diffusers' `get_guidance_scale_embedding`
/// of `guidance_scale - 1`, thousandfold, sines first.
pub fn write_guidance_code(guidance_scale: f64, out: &mut [f32]) {
    TimeCode { cosine_first: false, shift: 1.0 }.write((guidance_scale - 1.0) * 1000.0, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand, for 6 elements: frequencies 1, 10000^(-1/3), 10000^(-2/3). Seen red with sines first, and with the shift
    /// left out.
    #[test]
    fn the_code_is_the_formula() {
        let f = [1.0, 0.046_415_888_336_127_79, 0.002_154_434_690_031_884];
        let mut out = [9.0f32; 6];
        TimeCode::default().write(500.0, &mut out);
        for (i, f) in f.into_iter().enumerate() {
            assert!((f64::from(out[i]) - libm::cos(500.0 * f)).abs() < 1e-6);
            assert!((f64::from(out[3 + i]) - libm::sin(500.0 * f)).abs() < 1e-6);
        }
        // With a shift of 1, the last frequency is 1 / 10000.
        let mut odd = [9.0f32; 7];
        TimeCode { cosine_first: false, shift: 1.0 }.write(2000.0, &mut odd);
        assert!((f64::from(odd[2]) - libm::sin(0.2)).abs() < 1e-6);
        assert!((f64::from(odd[5]) - libm::cos(0.2)).abs() < 1e-6);
        assert_eq!(odd[6], 0.0);
    }
}
