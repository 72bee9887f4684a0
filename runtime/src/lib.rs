//! Samples diffusion models from one `.gguf` file, on the CPU, with or without `std`, or on a GPU.
//!
//! The core is `#![no_std]` with `alloc`; the feature `std` (default) adds memory-mapped files and a thread pool, and
//! changes no result. What a program without `std` brings is told in `docs/bare-metal.md`. The feature `gpu` adds the module
//! `gpu` and `model::Device::Gpu`, for which models are loaded as they are for `model::Device::Cpu`; everything else stays
//! as it is.
#![no_std]
#![deny(unsafe_code)]
// A browser's objects stay on their thread; elsewhere all of this can be sent.
#![cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod cpu;
pub mod dist;
pub mod error;
pub mod gguf;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod graph;
pub mod guidance;
pub mod layout;
pub mod model;
pub mod nn;
pub mod plan;
pub mod quant;
pub mod rng;
pub mod sampler;
pub mod schedule;
pub mod sync;
pub mod text;

pub use error::Error;
pub use model::{Device, Model, Picture};

#[cfg(doctest)]
#[doc = include_str!("../../docs/bare-metal.md")]
struct BareMetal;

/// The README's example is compiled with the tests.
#[cfg(all(doctest, feature = "gpu"))]
#[doc = include_str!("../../README.md")]
struct Readme;
