//! Samplers: from noise to a picture, one level at a time. The caller owns the loop.
//!
//! A sampler is worked out beforehand into [`StepCoefficients`], plain numbers, one a step. A step is then two lines,
//! the same for every sampler here and on every backend:
//!
//! ```text
//! x0 = clamp(x0_from_x * x + x0_from_out * out, low, high)
//! x  = x_from_x * x + x_from_x0 * x0 + x_from_out * out + sigma * noise
//! ```
//!
//! ```
//! use nijimi_runtime::{rng, sampler, sampler::{Config, Method, Sampler}, schedule::Schedule};
//! let schedule = Schedule::linear(1e-4, 0.02, 1000)?;
//! let sampler = Sampler::new(&schedule, Method::default(), &Config { steps: 20, ..Config::default() })?;
//! let (mut x, mut x0) = ([0f32; 8], [0f32; 8]);
//! rng::normal_fill(7, 0, &mut x);
//! for c in sampler.steps() {
//!     let out = x; // the network's answer for x at timestep c.t
//!     sampler::step(c, &mut x, &out, &[], &mut x0)?; // x0 is the current estimate of the clean picture
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Solvers that need earlier answers or several calls a step are [`Calls`], taken by a [`SamplerState`]; DDPM and DDIM
//! can be had in this form too. A solver is one file, which works out weights in f64; the loop is the same for all:
//!
//! ```
//! use nijimi_runtime::sampler::{Calls, SamplerState, Settings, Sigmas, Solver};
//! use nijimi_runtime::{rng, schedule::Schedule};
//! let schedule = Schedule::scaled_linear(0.00085, 0.012, 1000)?;
//! let solver = Solver::from_name("dpm++2m").unwrap();
//! let calls = Calls::new(&schedule, &Settings { sigmas: Sigmas::Karras, ..Settings::new(solver, 20) })?;
//! let mut state = SamplerState::new(calls.calls(), 8); // allocates once
//! let (mut x, mut input) = ([0f32; 8], [0f32; 8]);
//! rng::normal_fill(7, 0, &mut x);
//! x.iter_mut().for_each(|x| *x *= calls.init_noise_sigma());
//! for call in calls.calls() {
//!     SamplerState::scale_input(call, &x, &mut input)?;
//!     let out = input; // the network's answer for its input at timestep call.t
//!     state.accept(call, &mut x, &out, &[])?; // noise is needed where call.noise is not 0
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod beta;
mod call;
mod class;
mod ddim;
mod ddpm;
mod deis;
mod diffusers;
mod dpm;
mod dpm2;
mod dpm2_a;
mod dpm_multi;
mod dpm_single;
mod dpmpp_2s_a;
mod error;
mod euler;
mod euler_a;
mod flow_euler;
mod flow_heun;
mod heun;
mod ladder;
mod lcm;
mod lms;
mod pndm;
mod settings;
mod solver;
mod tcd;
mod unipc;

use crate::schedule::{Schedule, Spacing};
use alloc::vec::Vec;
pub use call::{Call, Mix, SLOTS, SamplerState};
pub use class::class_of;
pub use ddpm::Variance;
pub use diffusers::{Field, from_diffusers};
pub use error::SamplerError;
pub use settings::{Answer, Dpm, FinalSigma, Settings, Sigmas, Solver};
pub use solver::Calls;
pub(crate) use solver::steps;

/// What the network answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prediction {
    /// The noise in x (Ho et al. 2020).
    #[default]
    Epsilon,
    /// `sqrt(alpha_bar) * noise - sqrt(1 - alpha_bar) * x_0` (Salimans and Ho 2022).
    V,
    /// The clean picture x_0.
    Sample,
}

impl Prediction {
    /// By the name `diffusers` and our weight files give it: "epsilon", "v_prediction", "sample".
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "epsilon" => Some(Self::Epsilon),
            "v_prediction" => Some(Self::V),
            "sample" => Some(Self::Sample),
            _ => None,
        }
    }

    /// x_0 = first * x + second * out at a level of this `alpha_bar`.
    fn x0(self, alpha_bar: f64) -> (f64, f64) {
        let (signal, noise) = (libm::sqrt(alpha_bar), libm::sqrt(1.0 - alpha_bar));
        match self {
            Self::Epsilon => (1.0 / signal, -noise / signal),
            Self::V => (signal, -noise),
            Self::Sample => (0.0, 1.0),
        }
    }

    /// epsilon = first * x + second * out at a level of this `alpha_bar`.
    pub(crate) fn epsilon(self, alpha_bar: f64) -> (f64, f64) {
        let (signal, noise) = (libm::sqrt(alpha_bar), libm::sqrt(1.0 - alpha_bar));
        match self {
            Self::Epsilon => (0.0, 1.0),
            Self::V => (noise, signal),
            Self::Sample => (1.0 / noise, -signal / noise),
        }
    }
}

/// Which sampler, with what is its own.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method {
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
}

impl Method {
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

    /// By the name that weight files and the command line use: "ddpm", "ddim" (with eta 0).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "ddpm" => Some(Self::ddpm()),
            "ddim" => Some(Self::default()),
            _ => None,
        }
    }

    /// That name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ddpm { .. } => "ddpm",
            Self::Ddim { .. } => "ddim",
        }
    }
}

impl Default for Method {
    /// Deterministic DDIM.
    fn default() -> Self {
        Self::ddim(0.0)
    }
}

/// What is common to all samplers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// How many steps: 1 to the number of levels trained.
    pub steps: usize,
    /// Which levels are visited.
    pub spacing: Spacing,
    /// Added to every timestep of [`Spacing::Leading`].
    pub steps_offset: usize,
    /// What the network answers.
    pub prediction: Prediction,
    /// Clamp the estimate of the clean picture to `[low, high]`.
    pub clip: Option<[f32; 2]>,
    /// With a clipped estimate, take the direction of DDIM's step from it too, and not from the network's answer
    /// (`use_clipped_model_output` of `diffusers`): the two then belong together.
    pub epsilon_from_x0: bool,
}

impl Default for Config {
    /// 50 steps, leading, no offset, epsilon, no clipping.
    fn default() -> Self {
        let (spacing, prediction) = (Spacing::Leading, Prediction::Epsilon);
        Self { steps: 50, spacing, steps_offset: 0, prediction, clip: None, epsilon_from_x0: false }
    }
}

/// All numbers of one step, f32, in the order in which a GPU gets them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepCoefficients {
    /// 0-based timestep of the level that the sample is at; the network is told `t + first_timestep`.
    pub t: usize,
    /// The estimate's share of the sample.
    pub x0_from_x: f32,
    /// The estimate's share of the network's output.
    pub x0_from_out: f32,
    /// The estimate is at least this; minus infinity where it is not clipped.
    pub low: f32,
    /// The estimate is at most this; infinity where it is not clipped.
    pub high: f32,
    /// The next sample's share of the sample.
    pub x_from_x: f32,
    /// The next sample's share of the estimate.
    pub x_from_x0: f32,
    /// The next sample's share of the network's output.
    pub x_from_out: f32,
    /// Standard deviation of the noise added; 0 for none.
    pub sigma: f32,
}

/// The steps of one sampler on one schedule, noisiest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler {
    steps: Vec<StepCoefficients>,
}

/// Where a step comes from and leads to, for a sampler to work out its shares.
struct Levels {
    /// `alpha_bar` of the sample's level.
    now: f64,
    /// `alpha_bar` of the level that the step leads to.
    next: f64,
}

/// A sampler's own part of a step, f64: see [`StepCoefficients`].
struct Shares {
    x_from_x: f64,
    x_from_x0: f64,
    x_from_out: f64,
    sigma: f64,
}

impl Sampler {
    /// Works out all steps of `method` with `config` on `schedule`.
    ///
    /// # Errors
    /// Steps or offset that do not fit the schedule, a clip range or an eta without meaning, or a network that predicts
    /// epsilon asked at a level of pure noise.
    pub fn new(schedule: &Schedule, method: Method, config: &Config) -> Result<Self, SamplerError> {
        let [low, high] = config.clip.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        if low.is_nan() || high.is_nan() || low >= high {
            return Err(SamplerError::Clip(low, high));
        }
        let timesteps = config.spacing.timesteps(schedule.steps(), config.steps, config.steps_offset)?;
        let stride = schedule.steps() / config.steps;
        let step = |(i, &t): (usize, &usize)| {
            let now = schedule.alpha_bar(t + 1);
            if now <= 0.0 && config.prediction == Prediction::Epsilon {
                return Err(SamplerError::NoSignal { timestep: t });
            }
            let shares = match method {
                Method::Ddpm { variance } => {
                    let next = timesteps.get(i + 1).map_or(1.0, |&t| schedule.alpha_bar(t + 1));
                    ddpm::shares(&Levels { now, next }, variance)
                }
                Method::Ddim { eta, set_alpha_to_one } => {
                    // By the stride and not the next timestep, as `diffusers` does; they differ where steps do not
                    // divide the levels.
                    let end = if set_alpha_to_one { 1.0 } else { schedule.alpha_bar(1) };
                    let next = t.checked_sub(stride).map_or(end, |t| schedule.alpha_bar(t + 1));
                    ddim::shares(&Levels { now, next }, eta, config.prediction, config.epsilon_from_x0)?
                }
            };
            let (x0_from_x, x0_from_out) = config.prediction.x0(now);
            Ok(StepCoefficients {
                t,
                x0_from_x: x0_from_x as f32,
                x0_from_out: x0_from_out as f32,
                low,
                high,
                x_from_x: shares.x_from_x as f32,
                x_from_x0: shares.x_from_x0 as f32,
                x_from_out: shares.x_from_out as f32,
                sigma: shares.sigma as f32,
            })
        };
        Ok(Self { steps: timesteps.iter().enumerate().map(step).collect::<Result<_, _>>()? })
    }

    /// The steps, noisiest first.
    #[must_use]
    pub fn steps(&self) -> &[StepCoefficients] {
        &self.steps
    }
}

/// Takes one step in place. `out` is the network's answer for `x`; `noise` is standard normal, and may be empty where
/// `sigma` is 0; `x0` receives the estimate of the clean picture. Nothing is allocated.
///
/// # Errors
/// Lengths that differ, or no noise where `sigma` is above 0; `x` is then untouched.
pub fn step(
    c: &StepCoefficients,
    x: &mut [f32],
    out: &[f32],
    noise: &[f32],
    x0: &mut [f32],
) -> Result<(), SamplerError> {
    let want = x.len();
    let noisy = c.sigma != 0.0;
    if noisy && noise.is_empty() && want > 0 {
        return Err(SamplerError::NoNoise { timestep: c.t, sigma: c.sigma });
    }
    let noise_len = if noise.is_empty() { want } else { noise.len() };
    for (what, got) in [("the network's output", out.len()), ("the noise", noise_len), ("the estimate", x0.len())] {
        if got != want {
            return Err(SamplerError::Length { what, got, want });
        }
    }
    for ((x0, x), out) in x0.iter_mut().zip(&*x).zip(out) {
        let estimate = c.x0_from_x * x + c.x0_from_out * out;
        // Not min and max: they would turn NaN into a number.
        *x0 = if estimate > c.high { c.high } else { estimate };
        *x0 = if *x0 < c.low { c.low } else { *x0 };
    }
    for ((x, x0), out) in x.iter_mut().zip(&*x0).zip(out) {
        *x = c.x_from_x * *x + c.x_from_x0 * x0 + c.x_from_out * out;
    }
    if noisy {
        for (x, noise) in x.iter_mut().zip(noise) {
            *x += c.sigma * noise;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
