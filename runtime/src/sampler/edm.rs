//! Noise levels and preconditioning of EDM (Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative
//! Models", table 1), as diffusers' `EDMEulerScheduler` and `EDMDPMSolverMultistepScheduler` have them.

use super::levels::Point;
use super::{Prediction, SamplerError, Solver};

/// What a network was trained by that knows sigmas and no timesteps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edm {
    /// Where a run ends, but for the clean picture.
    pub sigma_min: f64,
    /// Where it begins.
    pub sigma_max: f64,
    /// Standard deviation of the data.
    pub sigma_data: f64,
    /// How karras sigmas are spread: even in sigma^(1/rho).
    pub rho: f64,
}

impl Edm {
    /// That numbers, solver and network are such that a run can be made.
    pub(super) fn check(&self, solver: &Solver, prediction: Prediction) -> Result<(), SamplerError> {
        let Self { sigma_min, sigma_max, sigma_data, rho } = *self;
        let ordered = sigma_min > 0.0 && sigma_max > sigma_min && sigma_max.is_finite();
        if !(ordered && [sigma_data, rho].iter().all(|v| *v > 0.0 && v.is_finite())) {
            return Err(SamplerError::Edm("0 < sigma_min < sigma_max, sigma_data and rho above 0"));
        }
        if !matches!(prediction, Prediction::Epsilon | Prediction::V) {
            return Err(SamplerError::Edm("a network that predicts epsilon or v"));
        }
        match solver {
            Solver::Euler | Solver::EulerAncestral | Solver::Heun | Solver::Lms => Ok(()),
            Solver::DpmMulti { .. } | Solver::DpmSingle { .. } | Solver::UniPc { .. } | Solver::Deis { .. } => Ok(()),
            _ => Err(SamplerError::Edm(
                "a solver that goes by sigmas: euler, euler_a, heun, lms, dpm++2s, dpm++2m, dpm++3m, their sde forms, unipc \
                 or deis",
            )),
        }
    }

    /// c_noise and c_in: what the network is told of the noise, and what its input is multiplied by.
    pub(super) fn point(&self, sigma: f64) -> Point {
        let t = if sigma > 0.0 { 0.25 * libm::log(sigma) } else { 0.0 };
        Point::edm(t, sigma, 1.0 / libm::sqrt(sigma * sigma + self.sigma_data * self.sigma_data))
    }

    /// c_skip and c_out: x_0 = first * x + second * answer.
    pub(super) fn x0(&self, prediction: Prediction, sigma: f64) -> (f64, f64) {
        let variance = sigma * sigma + self.sigma_data * self.sigma_data;
        let out = sigma * self.sigma_data / libm::sqrt(variance);
        let sign = if prediction == Prediction::V { -1.0 } else { 1.0 };
        (self.sigma_data * self.sigma_data / variance, sign * out)
    }

    /// Standard deviation of a run's first samples.
    pub(super) fn init_noise_sigma(&self) -> f64 {
        libm::sqrt(self.sigma_max * self.sigma_max + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::{Calls, Sigmas, SolverSettings};
    use crate::schedule::Schedule;

    const EDM: Edm = Edm { sigma_min: 0.002, sigma_max: 80.0, sigma_data: 0.5, rho: 7.0 };

    fn settings(solver: Solver) -> SolverSettings {
        let sigmas = Sigmas::Karras;
        SolverSettings { edm: Some(EDM), sigmas, ..SolverSettings::new(solver, 10) }
    }

    /// A network that answers for data of one point, whatever the noise: every solver ends there. Of data without spread the
    /// answer is (x_0 - c_skip x) / c_out. Seen red with epsilon's sign for v.
    #[test]
    fn every_solver_finds_the_point() {
        let schedule = Schedule::linear(1e-4, 0.02, 1000).unwrap();
        let names = ["euler", "heun", "lms", "dpm++2s", "dpm++2m", "dpm++3m", "unipc"];
        for (name, prediction) in
            names.into_iter().flat_map(|name| [(name, Prediction::Epsilon), (name, Prediction::V)])
        {
            let s = SolverSettings { prediction, ..settings(Solver::from_name(name).unwrap()) };
            let calls = Calls::new(&schedule, &s).unwrap();
            assert_eq!(calls.init_noise_sigma(), libm::sqrt(80.0 * 80.0 + 1.0) as f32);
            let first = calls.calls()[0];
            assert!((f64::from(first.t) - 0.25 * libm::log(80.0)).abs() < 1e-6, "{name}");
            let mut state = crate::sampler::SamplerState::new(calls.calls(), 1);
            let mut x = [calls.init_noise_sigma()];
            for call in calls.calls() {
                let sigma = f64::from(call.sigma);
                let (skip, out) = (0.25 / (sigma * sigma + 0.25), sigma * 0.5 / libm::sqrt(sigma * sigma + 0.25));
                let out = if prediction == Prediction::V { -out } else { out };
                let mut input = [0.0];
                call.scale_input(&x, &mut input).unwrap();
                let given = f64::from(input[0]) * libm::sqrt(sigma * sigma + 0.25);
                let answer = (0.7 - skip * given) / out;
                state.accept(call, &mut x, &[answer as f32], &[]).unwrap();
            }
            assert!((x[0] - 0.7).abs() < 1e-3, "{name} {prediction:?}: {}", x[0]);
        }
    }

    /// Each by its own reason. Seen red with dpm2 let through, and tcd; with networks that predict samples; with sigmas spread
    /// evenly where they are asked for by timesteps; with a sigma of 0, with ends exchanged, and with data's deviation below 0.
    #[test]
    fn what_edm_cannot_be_is_refused() {
        let schedule = Schedule::linear(1e-4, 0.02, 1000).unwrap();
        let refused = |s: SolverSettings, needs: &str| match Calls::new(&schedule, &s) {
            Err(SamplerError::Edm(what)) => what.starts_with(needs),
            _ => false,
        };
        for name in ["ddim", "ddpm", "pndm", "lcm", "tcd", "dpm2", "dpm2_a", "dpm++2s_a"] {
            let s = SolverSettings { sigmas: Sigmas::Discrete, ..settings(Solver::from_name(name).unwrap()) };
            assert!(refused(s, "a solver that"), "{name}");
        }
        let euler = settings(Solver::Euler);
        assert!(refused(SolverSettings { prediction: Prediction::Sample, ..euler }, "a network that"));
        assert!(refused(SolverSettings { sigmas: Sigmas::Simple, ..euler }, "sigmas between"));
        for edm in [Edm { sigma_min: 0.0, ..EDM }, Edm { sigma_max: 0.001, ..EDM }, Edm { sigma_data: -1.0, ..EDM }] {
            assert!(refused(SolverSettings { edm: Some(edm), ..euler }, "0 < sigma_min"), "{edm:?}");
        }
    }
}
