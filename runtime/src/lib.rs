//! Draws from diffusion models: a weight file, a seed and a few words become a picture, on the CPU, with or without `std`, or on
//! a GPU.
//!
//! ```no_run
//! use nijimi_runtime::{Device, Error, Model};
//!
//! fn main() -> Result<(), Error> {
//!     let model = Model::open("weights/emoji-q8_0.gguf", &Device::Cpu)?; // on a GPU: &Device::gpu()?
//!     let picture = model.draw("a red apple", 1)?;
//!     println!("{} x {}: {} bytes", picture.width, picture.height, picture.to_rgb().len());
//!     Ok(())
//! }
//! ```
//!
//! | to ... | look at |
//! |---|---|
//! | open any weight file, and draw | [`Model`], [`Picture`] |
//! | draw step by step, with progress, preview, cancelling | [`model::TextToImage::run`] (prompts), [`model::Diffusion::session`] (labels), [`model::Run`] |
//! | say size, steps, solver, guidance, init image, mask | [`model::LatentRequest`], [`model::Request`], [`sampler::Calls`] |
//! | draw many, without planning and allocating again | [`model::LatentSession`], [`model::Session`] |
//! | know the memory before a run, and limit it | [`model::LatentPlan`], [`model::SessionOptions`] |
//! | draw on a GPU, on a device of your own, into your texture | the feature `gpu`: `gpu::Gpu`, `model::Run::draw_into` |
//! | know what a file is | [`gguf::File`], [`model::ModelKind`] |
//! | know whose fault an error is | [`Error::fault`] |
//! | read published models, and LoRAs | the crate `nijimi-import` |
//!
//! The core is `#![no_std]` with `alloc`; the feature `std` (default) adds memory-mapped files and a thread pool, and
//! changes no result. What a program without `std` brings is told in `docs/bare-metal.md`. The feature `language` (default) adds
//! the models whose texts a language model reads. The feature `gpu` adds the module `gpu` and `model::Device::Gpu`, for which models are
//! loaded as they are for `model::Device::Cpu`; everything else stays as it is.
#![no_std]
#![deny(unsafe_code)]
// A browser's objects stay on their thread; elsewhere all of this can be sent.
#![cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod cpu;
mod dist;
pub mod error;
pub mod gguf;
#[cfg(feature = "gpu")]
pub mod gpu;
mod graph;
mod guidance;
mod layout;
pub mod model;
mod nn;
mod order;
mod plan;
pub mod quant;
mod resample;
mod rng;
pub mod sampler;
pub mod schedule;
pub mod sync;
mod text;

/// What networks, plans, kernels and tokenizers are made of: for what builds on the runtime, such as this project's trainer and
/// importer. Who draws pictures needs nothing of it, and what is in it may change with any version.
pub mod raw {
    /// The kernels of the CPU, and what executes plans with them.
    pub mod cpu {
        pub use crate::cpu::*;
    }
    /// Distributions: normal, mixture, Irwin-Hall.
    pub mod dist {
        pub use crate::dist::*;
    }
    /// Networks as graphs of operations.
    pub mod graph {
        pub use crate::graph::*;
    }
    /// Classifier-free guidance and its rescaling.
    pub mod guidance {
        pub use crate::guidance::*;
    }
    /// Orders of the numbers in memory.
    pub mod layout {
        pub use crate::layout::*;
    }
    /// The networks, as builders of graphs.
    pub mod nn {
        pub use crate::nn::*;
    }
    /// What of a graph is executed when, and where in memory.
    pub mod plan {
        pub use crate::plan::*;
    }
    /// Pictures of another size.
    pub mod resample {
        pub use crate::resample::*;
    }
    /// Random numbers, the same everywhere.
    pub mod rng {
        pub use crate::rng::*;
    }
    /// CLIP's tokenizer and weighted prompts.
    pub mod text {
        pub use crate::text::*;
    }
}

pub use error::Error;
pub use model::{Device, Model, Picture};

#[cfg(doctest)]
#[doc = include_str!("../../docs/bare-metal.md")]
struct BareMetal;

/// The README's example is compiled with the tests.
#[cfg(all(doctest, feature = "gpu"))]
#[doc = include_str!("../../README.md")]
struct Readme;
