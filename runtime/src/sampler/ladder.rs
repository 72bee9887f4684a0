//! The noise levels that a solver visits: timesteps and their sigmas, worked out beforehand as `diffusers` does.

use super::settings::{FinalSigma, Sigmas, SolverSettings};
use super::{Edm, SamplerError, beta};
use crate::schedule::{Schedule, ScheduleError, Spacing};
use alloc::vec;
use alloc::vec::Vec;

/// Every trained level's sigma, `sqrt((1 - alpha_bar) / alpha_bar)`, and its logarithm; index is the 0-based timestep.
///
/// Rounded to f32 where the reference is: whether a sigma lies above or below a level decides its timestep.
pub(super) struct Trained {
    pub(super) sigmas: Vec<f64>,
    logs: Vec<f64>,
}

impl Trained {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let mut alpha_bar = 1.0;
        let sigma = |&beta: &f64| {
            alpha_bar *= f64::from(1.0 - beta as f32);
            // A level of pure noise has no finite sigma; the reference takes alpha_bar 2^-24, sigma 4096.
            let a = if alpha_bar > 0.0 { alpha_bar as f32 } else { 1.0 / (1u32 << 24) as f32 };
            f64::from(libm::sqrtf((1.0 - a) / a))
        };
        let sigmas: Vec<f64> = schedule.betas().iter().map(sigma).collect();
        let logs = sigmas.iter().map(|&s| f64::from(libm::log(s) as f32)).collect();
        Self { sigmas, logs }
    }

    fn max(&self) -> f64 {
        self.sigmas[self.sigmas.len() - 1]
    }

    /// Sigma at a timestep between levels, linear.
    fn sigma(&self, t: f64) -> f64 {
        let last = self.sigmas.len() - 1;
        let low = (t.max(0.0) as usize).min(last);
        let high = (low + 1).min(last);
        self.sigmas[low] + (t - low as f64).clamp(0.0, 1.0) * (self.sigmas[high] - self.sigmas[low])
    }

    /// The timestep of a sigma, linear in its logarithm (k-diffusion's `sigma_to_t`).
    pub(super) fn timestep(&self, sigma: f64) -> f64 {
        let last = self.logs.len() - 1;
        let log = libm::log(sigma.max(1e-10));
        let low = self.logs.iter().rposition(|&l| l <= log).unwrap_or(0).min(last.saturating_sub(1));
        let high = (low + 1).min(last);
        let gap = self.logs[low] - self.logs[high];
        let w = if gap == 0.0 { 0.0 } else { ((self.logs[low] - log) / gap).clamp(0.0, 1.0) };
        (1.0 - w) * low as f64 + w * high as f64
    }
}

/// Timesteps, noisiest first, and sigmas, one more than timesteps: the last is where the run ends.
pub(super) struct Ladder {
    pub(super) timesteps: Vec<f64>,
    pub(super) sigmas: Vec<f64>,
}

impl Ladder {
    /// Of the samplers that live in sigma space (k-diffusion): `steps` levels, timesteps between trained ones.
    pub(super) fn of_sigmas(schedule: &Schedule, trained: &Trained, s: &SolverSettings) -> Result<Self, SamplerError> {
        let levels = check(schedule, s.steps)?;
        let timesteps: Vec<f64> = match s.spacing {
            Spacing::Linspace => {
                let gap = (levels - 1) as f64 / (s.steps.max(2) - 1) as f64;
                (0..s.steps).rev().map(|i| f64::from((i as f64 * gap) as f32)).collect()
            }
            spacing => spacing.timesteps(levels, s.steps, s.steps_offset)?.iter().map(|&t| t as f64).collect(),
        };
        let sigmas: Vec<f64> = timesteps.iter().map(|&t| trained.sigma(t)).collect();
        let ends = (sigmas[0], sigmas[s.steps - 1]);
        Ok(Self { timesteps, sigmas }.spread(trained, s, ends, |t| t))
    }

    /// Of the samplers whose sample keeps its variance (DPM-Solver, UniPC, DEIS): whole timesteps, and for the even
    /// spacings one more level than steps, so that the last step does not end on the first level.
    pub(super) fn of_levels(schedule: &Schedule, trained: &Trained, s: &SolverSettings) -> Result<Self, SamplerError> {
        let levels = check(schedule, s.steps)?;
        let ratio = levels / (s.steps + 1);
        let gap = (levels - 1) as f64 / s.steps as f64;
        let timesteps: Vec<f64> = match s.spacing {
            Spacing::Linspace => (1..=s.steps).rev().map(|i| libm::rint(i as f64 * gap)).collect(),
            Spacing::Leading => (1..=s.steps).rev().map(|i| (i * ratio + s.steps_offset) as f64).collect(),
            Spacing::Trailing => s.spacing.timesteps(levels, s.steps, 0)?.iter().map(|&t| t as f64).collect(),
        };
        if timesteps[0] >= levels as f64 {
            let (timestep, offset) = (timesteps[0] as usize, s.steps_offset);
            return Err(ScheduleError::Offset { timestep, offset, levels }.into());
        }
        let sigmas = timesteps.iter().map(|&t| trained.sigma(t)).collect();
        let rounded = matches!(s.sigmas, Sigmas::Karras | Sigmas::Lu) && !s.floor_timesteps;
        let round = move |t| if rounded { libm::rint(t) } else { libm::floor(t) };
        let ladder = Self { timesteps, sigmas };
        Ok(match s.sigmas {
            Sigmas::Flow { shift, .. } => ladder.flow_levels(levels, s, shift),
            _ => ladder.spread(trained, s, (trained.max(), trained.sigmas[0]), round),
        })
    }

    /// Of rectified flow: sigma is the share of noise, 1 to 0, and the timestep is sigma times the levels. The reference
    /// shifts the ends and then all sigmas once more, unless it is given them.
    pub(super) fn of_flow(
        schedule: &Schedule,
        s: &SolverSettings,
        shift: f64,
        given: bool,
    ) -> Result<Self, SamplerError> {
        let levels = check(schedule, s.steps)? as f64;
        let shifted = |sigma: f64| shift * sigma / (1.0 + (shift - 1.0) * sigma);
        let last = if given { 1.0 / s.steps as f64 } else { shifted(1.0 / levels) };
        let even = linspace(1.0, last, s.steps);
        let mut sigmas: Vec<f64> = even.iter().map(|&sigma| shifted(sigma)).collect();
        let timesteps = sigmas.iter().map(|sigma| sigma * levels).collect();
        sigmas.push(0.0);
        Ok(Self { timesteps, sigmas })
    }

    /// Of EDM: sigmas between its ends. What the network is told of each is for the point to say.
    pub(super) fn of_edm(schedule: &Schedule, s: &SolverSettings, edm: &Edm) -> Result<Self, SamplerError> {
        check(schedule, s.steps)?;
        let even = spread(s.sigmas, edm.rho, (edm.sigma_max, edm.sigma_min), s.steps);
        let needs = "sigmas between their ends: karras, exponential, kl_optimal, beta or lu";
        let mut sigmas = even.ok_or(SamplerError::Edm(needs))?;
        sigmas.push(if s.final_sigma == FinalSigma::Zero { 0.0 } else { edm.sigma_min });
        Ok(Self { timesteps: vec![0.0; s.steps], sigmas })
    }

    fn flow_levels(mut self, levels: usize, s: &SolverSettings, shift: f64) -> Self {
        let shifted = |sigma: f64| shift * sigma / (1.0 + (shift - 1.0) * sigma);
        let even = linspace(1.0, 1.0 / levels as f64, s.steps + 1);
        self.sigmas = if matches!(s.solver, super::Solver::UniPc { .. }) {
            even[..s.steps].iter().map(|&sigma| shifted(sigma)).collect()
        } else {
            (1..=s.steps).rev().map(|i| shifted(1.0 - even[i])).collect()
        };
        // Pure noise says nothing of the picture.
        self.sigmas[0] = self.sigmas[0].min(1.0 - 1e-6);
        self.timesteps = self.sigmas.iter().map(|sigma| libm::floor(sigma * levels as f64)).collect();
        self.sigmas.push(if s.final_sigma == FinalSigma::Zero { 0.0 } else { self.sigmas[s.steps - 1] });
        self
    }

    /// Exchanges the sigmas for those that `settings` ask for, and adds the last.
    fn spread(mut self, trained: &Trained, s: &SolverSettings, ends: (f64, f64), round: impl Fn(f64) -> f64) -> Self {
        let chosen = match s.sigmas {
            Sigmas::Simple => {
                let stride = trained.sigmas.len() as f64 / s.steps as f64;
                let index = |i: usize| trained.sigmas.len() - 1 - (i as f64 * stride) as usize;
                Some((0..s.steps).map(|i| trained.sigmas[index(i)]).collect())
            }
            Sigmas::SgmUniform => {
                let even = linspace((trained.sigmas.len() - 1) as f64, 0.0, s.steps + 1);
                Some(even[..s.steps].iter().map(|&t| trained.sigma(t)).collect())
            }
            sigmas => spread(sigmas, KARRAS_RHO, ends, s.steps),
        };
        if let Some(sigmas) = chosen {
            self.timesteps = sigmas.iter().map(|&sigma| round(trained.timestep(sigma))).collect();
            self.sigmas = sigmas;
        }
        self.sigmas.push(if s.final_sigma == FinalSigma::Zero { 0.0 } else { trained.sigmas[0] });
        self
    }
}

fn check(schedule: &Schedule, steps: usize) -> Result<usize, SamplerError> {
    let levels = schedule.steps();
    if steps == 0 || steps > levels { Err(ScheduleError::Steps { steps, levels }.into()) } else { Ok(levels) }
}

fn linspace(a: f64, b: f64, n: usize) -> Vec<f64> {
    let gap = (b - a) / (n.max(2) - 1) as f64;
    (0..n).map(|i| if i > 0 && i + 1 == n { b } else { a + i as f64 * gap }).collect()
}

/// Karras et al. 2022, eq. 5.
const KARRAS_RHO: f64 = 7.0;

/// `n` sigmas from `first` down to `last`; none where the spacing of the timesteps decides.
fn spread(sigmas: Sigmas, rho: f64, (first, last): (f64, f64), n: usize) -> Option<Vec<f64>> {
    let even = |a: f64, b: f64| linspace(a, b, n).into_iter();
    match sigmas {
        Sigmas::Karras => {
            let root = |x: f64| libm::pow(x, 1.0 / rho);
            let (a, b) = (root(first), root(last));
            Some(even(0.0, 1.0).map(|ramp| libm::pow(a + ramp * (b - a), rho)).collect())
        }
        // Even in the logarithm, which is also Lu et al. 2022's even lambda.
        Sigmas::Exponential | Sigmas::Lu => Some(even(libm::log(first), libm::log(last)).map(libm::exp).collect()),
        Sigmas::KlOptimal => Some(even(libm::atan(first), libm::atan(last)).map(libm::tan).collect()),
        Sigmas::Beta => Some(even(1.0, 0.0).map(|p| last + beta::quantile(0.6, p) * (first - last)).collect()),
        Sigmas::Discrete | Sigmas::Simple | Sigmas::SgmUniform | Sigmas::Flow { .. } => None,
    }
}
