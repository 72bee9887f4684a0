//! Samplers: from noise to a picture, one level at a time. The caller owns the loop.
//!
//! A run is worked out beforehand, in f64, into [`Calls`]: plain numbers, one [`Call`] of the network after the other.
//! Each solver is one file that makes them; what becomes of an answer is the same few lines for every solver and on
//! every backend ([`SamplerState::accept`]):
//!
//! ```
//! use nijimi_runtime::sampler::{Calls, SamplerState, SolverSettings, Sigmas, Solver};
//! use nijimi_runtime::{raw::rng, schedule::Schedule};
//! let schedule = Schedule::scaled_linear(0.00085, 0.012, 1000)?;
//! let solver = Solver::from_name("dpm++2m").unwrap();
//! let calls = Calls::new(&schedule, &SolverSettings { sigmas: Sigmas::Karras, ..SolverSettings::new(solver, 20) })?;
//! let mut state = SamplerState::new(calls.calls(), 8); // allocates once
//! let (mut x, mut input) = ([0f32; 8], [0f32; 8]);
//! rng::normal_fill(7, 0, &mut x);
//! x.iter_mut().for_each(|x| *x *= calls.init_noise_sigma());
//! for call in calls.calls() {
//!     call.scale_input(&x, &mut input)?;
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
mod edm;
mod error;
mod euler;
mod euler_a;
mod flow_euler;
mod flow_heun;
mod heun;
mod ladder;
mod lcm;
mod levels;
mod lms;
mod pndm;
mod prediction;
mod settings;
mod solver;
mod tcd;
mod unipc;

pub use call::{Call, Mix, SLOTS, SamplerState};
pub use class::class_of;
pub use diffusers::{Field, from_diffusers, is_edm, is_flow};
pub use edm::Edm;
pub use error::SamplerError;
pub use prediction::Prediction;
pub use settings::{Dpm, FinalSigma, Sigmas, Solver, SolverSettings, Variance};
pub use solver::Calls;
pub(crate) use solver::steps;

#[cfg(test)]
mod tests;
