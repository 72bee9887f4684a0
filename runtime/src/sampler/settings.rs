//! What a sampling run is: which solver, on which levels, with what kind of network.

use super::{Edm, Prediction};
use crate::schedule::Spacing;

/// How the sigmas of a run are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sigmas {
    /// Those of the timesteps, which [`Spacing`] chooses.
    #[default]
    Discrete,
    /// Even in sigma^(1/7) (Karras et al. 2022, eq. 5).
    Karras,
    /// Even in log sigma.
    Exponential,
    /// Even in lambda (Lu et al. 2022, DPM-Solver); timesteps rounded where exponential ones are not.
    Lu,
    /// By the quantiles of Beta(0.6, 0.6) (Lee et al. 2024).
    Beta,
    /// Every so manieth trained level, from the noisiest.
    Simple,
    /// Even timesteps down to, and without, 0 (Stability's `sgm`).
    SgmUniform,
    /// Even in arctan sigma (Sabour et al. 2024, eq. 12 of "Align Your Steps": optimal for a normal distribution).
    KlOptimal,
    /// Of rectified flow, sigma in (0, 1], moved to the noisy side by `shift` (Esser et al. 2024, eq. 23).
    Flow {
        /// 1 leaves them even.
        shift: f64,
        /// From 1 to the last step's share, as the pipelines of Z-Image and FLUX give them, and not to the least trained level.
        even: bool,
    },
}

impl Sigmas {
    /// By the names of `--scheduler`: those of stable-diffusion.cpp, and "lu", "beta".
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "discrete" | "default" => Self::Discrete,
            "karras" => Self::Karras,
            "exponential" => Self::Exponential,
            "lu" => Self::Lu,
            "beta" => Self::Beta,
            "simple" => Self::Simple,
            "sgm_uniform" => Self::SgmUniform,
            "kl_optimal" => Self::KlOptimal,
            _ => return None,
        })
    }

    /// The name by which [`from_name`](Self::from_name) knows it; none of those with numbers of their own.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.split(", ").find(|name| Self::from_name(name) == Some(self))
    }

    /// Every name that [`from_name`](Self::from_name) knows, for messages.
    pub const NAMES: &str = "discrete, karras, exponential, simple, sgm_uniform, kl_optimal, beta, lu";
}

/// Where a run ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinalSigma {
    /// At the clean picture.
    #[default]
    Zero,
    /// At the first trained level, nearly clean.
    SigmaMin,
}

/// Which form of DPM-Solver (Lu et al. 2022).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dpm {
    /// In epsilon (DPM-Solver).
    Noise,
    /// In x_0 (DPM-Solver++).
    #[default]
    Data,
    /// In epsilon, of the reverse SDE.
    NoiseSde,
    /// In x_0, of the reverse SDE (SDE-DPM-Solver++).
    DataSde,
}

impl Dpm {
    /// Fresh noise in every step.
    #[must_use]
    pub fn is_random(self) -> bool {
        matches!(self, Self::NoiseSde | Self::DataSde)
    }
}

/// A solver of the reverse process, with what is its own.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Solver {
    /// Ancestral sampling (Ho et al. 2020): noise in every step but the last.
    Ddpm {
        /// Variance of that noise.
        variance: Variance,
    },
    /// Implicit sampling (Song et al. 2021).
    Ddim {
        /// 0: deterministic; 1: as much noise as DDPM.
        eta: f64,
        /// The last step goes to the clean level, alpha_bar 1; otherwise to level 1, as Stable Diffusion's settings say
        /// (`set_alpha_to_one` of `diffusers`).
        set_alpha_to_one: bool,
    },
    /// Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds".
    Pndm {
        /// Begin with linear multistep (PLMS) and not with Runge-Kutta.
        skip_prk: bool,
        /// The last step goes to the clean level; otherwise to level 1.
        set_alpha_to_one: bool,
    },
    /// Karras et al. 2022, Algorithm 2 without churn and correction.
    Euler,
    /// Euler to a lower level and back up with fresh noise (k-diffusion).
    EulerAncestral,
    /// Karras et al. 2022, Algorithm 2 without churn.
    Heun,
    /// Linear multistep of order 4 at most (Adams-Bashforth on uneven levels).
    Lms,
    /// Midpoint in log sigma (DPM-Solver-2, Lu et al. 2022, as in Karras et al. 2022).
    Dpm2,
    /// The same with fresh noise.
    Dpm2Ancestral,
    /// DPM-Solver++ 2S in sigma with fresh noise (k-diffusion's `sample_dpmpp_2s_ancestral`).
    Dpm2sAncestral,
    /// DPM-Solver, multistep (Lu et al. 2022).
    DpmMulti {
        /// In what it is written.
        form: Dpm,
        /// 1, 2 or 3.
        order: usize,
        /// Second-order terms by Heun's rule and not by the midpoint's.
        heun: bool,
    },
    /// DPM-Solver, several calls a step; every call counts as a step.
    DpmSingle {
        /// In what it is written.
        form: Dpm,
        /// 1, 2 or 3.
        order: usize,
        /// Second-order terms by Heun's rule and not by the midpoint's.
        heun: bool,
    },
    /// Zhao et al. 2023, "UniPC".
    UniPc {
        /// 1 to 4.
        order: usize,
        /// In x_0 and not in epsilon.
        predict_x0: bool,
        /// B(h) = exp(h) - 1 and not h.
        bh2: bool,
    },
    /// Zhang and Chen 2023, log-rho DEIS.
    Deis {
        /// 1, 2 or 3.
        order: usize,
    },
    /// Luo et al. 2023, "Latent Consistency Models".
    Lcm {
        /// Levels that the distillation used.
        original_steps: usize,
        /// Scale of the timestep in the boundary condition.
        timestep_scaling: f64,
    },
    /// Zheng et al. 2024, "Trajectory Consistency Distillation".
    Tcd {
        /// Levels that the distillation used.
        original_steps: usize,
        /// How much fresh noise, 0 to 1: the paper's gamma.
        eta: f64,
    },
    /// Euler on rectified flow (Esser et al. 2024).
    FlowEuler {
        /// Fresh noise in every step, in place of what was there.
        random: bool,
    },
    /// Heun on rectified flow.
    FlowHeun,
}

/// Its name, or that of diffusers' class where its numbers are its own.
impl core::fmt::Display for Solver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Ddpm { .. } => "ddpm",
            Self::Ddim { .. } => "ddim",
            other => other.name().or_else(|| Some(super::class_of(other)?.0)).unwrap_or("flow_euler"),
        })
    }
}

impl Default for Solver {
    /// Deterministic DDIM.
    fn default() -> Self {
        Self::ddim(0.0)
    }
}

impl Solver {
    /// DDPM with the posterior's variance, as in the book.
    #[must_use]
    pub fn ddpm() -> Self {
        Self::Ddpm { variance: Variance::default() }
    }

    /// DDIM that ends at the clean picture; `eta` is its share of fresh noise, 0 to 1.
    #[must_use]
    pub fn ddim(eta: f64) -> Self {
        Self::Ddim { eta, set_alpha_to_one: true }
    }

    /// DDPM or DDIM, which take the trained levels one by one and know how to follow a clipped estimate.
    pub(super) fn is_simple(&self) -> bool {
        matches!(self, Self::Ddpm { .. } | Self::Ddim { .. })
    }

    /// By the names of `--sampling-method`: those of stable-diffusion.cpp and of web interfaces.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let multi = |form, order| Self::DpmMulti { form, order, heun: false };
        Some(match name {
            "ddpm" => Self::ddpm(),
            "ddim" => Self::ddim(0.0),
            "pndm" => Self::Pndm { skip_prk: false, set_alpha_to_one: false },
            "plms" => Self::Pndm { skip_prk: true, set_alpha_to_one: false },
            "euler" => Self::Euler,
            "euler_a" => Self::EulerAncestral,
            "heun" => Self::Heun,
            "lms" => Self::Lms,
            "dpm2" => Self::Dpm2,
            "dpm2_a" => Self::Dpm2Ancestral,
            "dpm++2s" => Self::DpmSingle { form: Dpm::Data, order: 2, heun: false },
            "dpm++2s_a" => Self::Dpm2sAncestral,
            "dpm++2m" => multi(Dpm::Data, 2),
            "dpm++2m_sde" => multi(Dpm::DataSde, 2),
            "dpm++3m" => multi(Dpm::Data, 3),
            "dpm++3m_sde" => multi(Dpm::DataSde, 3),
            "unipc" => Self::UniPc { order: 2, predict_x0: true, bh2: true },
            "deis" => Self::Deis { order: 2 },
            "lcm" => Self::Lcm { original_steps: 50, timestep_scaling: 10.0 },
            "tcd" => Self::Tcd { original_steps: 50, eta: 0.3 },
            "flow_euler" => Self::FlowEuler { random: false },
            "flow_heun" => Self::FlowHeun,
            _ => return None,
        })
    }

    /// The name by which [`from_name`](Self::from_name) knows it; none of those with other numbers than the named ones.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        Self::NAMES.split(", ").find(|name| Self::from_name(name) == Some(*self))
    }

    /// Of rectified flow: its network answers with a flow, and its sigmas are those of flow.
    #[must_use]
    pub fn is_flow(&self) -> bool {
        matches!(self, Self::FlowEuler { .. } | Self::FlowHeun)
    }

    /// Whether [`Sigmas`] spread its noise levels; the others go by timesteps alone, as diffusers' classes of them do.
    #[must_use]
    pub fn takes_sigmas(&self) -> bool {
        !(self.is_simple() || matches!(self, Self::Pndm { .. } | Self::Lcm { .. } | Self::Tcd { .. }))
    }

    /// Whether it goes along sigmas of flow where the network answers with one, as well as along those of noise.
    #[must_use]
    pub fn solves_flow(&self) -> bool {
        matches!(self, Self::DpmMulti { .. } | Self::DpmSingle { .. } | Self::UniPc { .. } | Self::Deis { .. })
    }

    /// The same solver with another share of fresh noise; none of a solver that has no such share.
    #[must_use]
    pub fn with_eta(self, eta: f64) -> Option<Self> {
        match self {
            Self::Ddim { set_alpha_to_one, .. } => Some(Self::Ddim { eta, set_alpha_to_one }),
            Self::Tcd { original_steps, .. } => Some(Self::Tcd { original_steps, eta }),
            _ => None,
        }
    }

    /// Every name that [`from_name`](Self::from_name) knows, for messages.
    pub const NAMES: &str = "ddpm, ddim, pndm, plms, euler, euler_a, heun, lms, dpm2, dpm2_a, dpm++2s, dpm++2s_a, dpm++2m, \
                             dpm++2m_sde, dpm++3m, dpm++3m_sde, unipc, deis, lcm, tcd, flow_euler, flow_heun";
}

/// All settings of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SolverSettings {
    /// Which solver.
    pub solver: Solver,
    /// How many steps: 1 to the number of levels trained.
    pub steps: usize,
    /// The first step taken, 0 for all: picture to picture starts in the middle.
    pub start: usize,
    /// Which levels are visited.
    pub spacing: Spacing,
    /// Added to every timestep of [`Spacing::Leading`].
    pub steps_offset: usize,
    /// How the sigmas are spread.
    pub sigmas: Sigmas,
    /// Noise levels of a model that knows sigmas and no timesteps, in place of the schedule's.
    pub edm: Option<Edm>,
    /// Where the run ends.
    pub final_sigma: FinalSigma,
    /// What the network answers.
    pub prediction: Prediction,
    /// Clamp the estimate of the clean picture to `[low, high]`.
    pub clip: Option<[f32; 2]>,
    /// Of DDIM: with a clipped estimate, take the direction of the step from it too, and not from the network's answer
    /// (`use_clipped_model_output` of `diffusers`): the two then belong together.
    pub epsilon_from_x0: bool,
    /// Of solvers with a history: lower the order in the last steps, where there are fewer than 15.
    pub lower_order_final: bool,
    /// The last step of DPM-Solver is of order 1.
    pub euler_at_final: bool,
    /// Timesteps of karras sigmas are rounded down and not to the nearest, as the reference does on cosine schedules.
    pub floor_timesteps: bool,
}

impl SolverSettings {
    /// What published Stable Diffusion pipelines use with this solver: leading for DDIM, PNDM and the distilled ones,
    /// linspace for the others; offset 1; epsilon.
    #[must_use]
    pub fn new(solver: Solver, steps: usize) -> Self {
        let leading = !solver.takes_sigmas();
        let flow = solver.is_flow();
        Self {
            solver,
            steps,
            start: 0,
            spacing: if leading { Spacing::Leading } else { Spacing::Linspace },
            steps_offset: 1,
            sigmas: if flow { Sigmas::Flow { shift: 1.0, even: false } } else { Sigmas::Discrete },
            edm: None,
            final_sigma: if matches!(solver, Solver::Deis { .. }) { FinalSigma::SigmaMin } else { FinalSigma::Zero },
            prediction: if flow { Prediction::Flow } else { Prediction::Epsilon },
            clip: None,
            epsilon_from_x0: false,
            lower_order_final: true,
            euler_at_final: false,
            floor_timesteps: false,
        }
    }

    /// x_0 = first * x + second * answer.
    pub(super) fn x0(&self, alpha: f64, sigma: f64) -> (f64, f64) {
        self.edm.map_or_else(|| self.prediction.x0(alpha, sigma), |edm| edm.x0(self.prediction, sigma))
    }

    /// The same, from the step at which a picture has so much noise: `strength` 1 are all steps, 0.5 the second half (the
    /// `strength` of diffusers' picture-to-picture pipelines, whose count this is: of flow it rounds up). 0 leaves no step, which
    /// [`super::Calls`] refuses.
    #[must_use]
    pub fn from_strength(self, strength: f64) -> Self {
        let taken = self.steps as f64 * strength.clamp(0.0, 1.0);
        let flow = matches!(self.sigmas, Sigmas::Flow { .. });
        let taken = if flow { libm::ceil(taken) } else { libm::floor(taken) } as usize;
        Self { start: self.steps - taken.min(self.steps), ..self }
    }

    /// DDPM with the given variance.
    #[must_use]
    pub fn ddpm(variance: Variance, steps: usize) -> Self {
        Self { steps_offset: 0, ..Self::new(Solver::Ddpm { variance }, steps) }
    }
}

/// Variance of the noise that a DDPM step adds (Ho et al. 2020, section 3.2; no difference in theory's two extremes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variance {
    /// The posterior's, `beta * (1 - alpha_bar_next) / (1 - alpha_bar)`: right for data that is one point.
    #[default]
    FixedSmall,
    /// The forward step's, `beta`: right for data that is a standard normal.
    FixedLarge,
}

impl Variance {
    /// By the name `diffusers` gives it: "fixed_small" (or "fixed_small_log", the same number), "fixed_large".
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "fixed_small" | "fixed_small_log" => Some(Self::FixedSmall),
            "fixed_large" => Some(Self::FixedLarge),
            _ => None,
        }
    }
}
