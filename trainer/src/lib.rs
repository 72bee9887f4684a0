//! The trainer: fits models with dfdx and writes the files that `nijimi` samples.
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
pub mod checkpoint;
pub mod cli;
pub mod data;
pub mod error;
pub mod eval;
pub mod export;
pub mod finetune;
pub mod fingerprint;
pub mod fit;
mod fit_command;
pub mod import;
pub mod launch;
pub mod log;
pub use nijimi_runtime::raw::rng::mt19937;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod param;
pub mod plot;
pub mod preview;
pub mod progress;
pub mod quantize;
pub mod report;
pub mod say;
pub mod stats;
pub mod systems;
pub mod target;
pub mod tensor;
pub mod text;
pub mod world;
