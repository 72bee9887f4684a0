//! Latent diffusion (Rombach et al. 2022; book step 10.5): Stable Diffusion 1.x, 2.x and SDXL, from a prompt to pictures.
//!
//! ```no_run
//! use nijimi_runtime::{Error, gguf, model::{LatentDiffusion, LatentRequest}};
//!
//! fn draw(bytes: &[u8]) -> Result<Vec<u8>, Error> {
//!     let model = LatentDiffusion::load(&gguf::File::new_checked(bytes)?)?;
//!     let calls = model.calls(None, &[], 20)?;
//!     let mut run = model.run(&LatentRequest::new("an astronaut riding a horse", 42, [512, 512], &calls))?;
//!     while let Some(step) = run.step()? {
//!         eprintln!("{} of {}", step.index + 1, step.total);
//!     }
//!     run.to_u8()
//! }
//! ```

mod conditions;
mod info;
mod run;
mod tiling;

pub use info::{LatentInfo, TextInfo};
pub use run::{LatentRequest, LatentRun};
pub use tiling::{Blend, Tile, Tiling};

use super::network::Network;
use crate::Error;
use crate::gguf::File;
use crate::graph::Graph;
use crate::nn::SdRequest;
use crate::sampler::{Calls, Field, Settings, Sigmas, Solver, from_diffusers};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// A loaded model, immutable; clones share it.
#[derive(Clone)]
pub struct LatentDiffusion {
    info: Arc<LatentInfo>,
    texts: Arc<[Network]>,
    unet: Arc<Network>,
    decoder: Arc<Network>,
}

/// What the decoder reads of the file.
const DECODER: [&str; 2] = ["vae.decoder.", "vae.post_quant_conv."];

impl LatentDiffusion {
    /// Loads a model for the CPU.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or of
    /// another shape than the networks'.
    pub fn load(file: &File<'_>) -> Result<Self, Error> {
        Self::place(file, |parts, graph| Network::load_part(file, parts, graph, &[]))
    }

    /// As [`Self::load`], into a device's memory.
    ///
    /// # Errors
    /// As [`Self::load`], and what the device has against it.
    #[cfg(feature = "gpu")]
    pub fn load_on(gpu: &crate::gpu::Gpu, file: &File<'_>) -> Result<Self, Error> {
        Self::place(file, |parts, graph| Network::load_part_on(gpu, file, parts, graph, &[]))
    }

    fn place(file: &File<'_>, network: impl Fn(&[&str], Graph) -> Result<Network, Error>) -> Result<Self, Error> {
        let info = LatentInfo::read(file)?;
        let mut texts = Vec::new();
        for text in &info.texts {
            let graph = text.network.graph(text.prefix, [1, text.network.positions], text.states)?;
            texts.push(network(&[text.prefix], graph)?);
        }
        // Of any size: only the weights count here.
        let side = 1 << info.unet.levels.len().min(16);
        let request = SdRequest { batch: 1, height: side, width: side, tokens: 1, control: false };
        let unet = network(&["unet."], info.unet.graph("unet.", &request)?)?;
        let decoder = network(&DECODER, info.autoencoder.decoder("vae.", 1, [1, 1])?)?;
        Ok(Self { info: info.into(), texts: texts.into(), unet: unet.into(), decoder: decoder.into() })
    }

    /// What the file says of the model.
    pub fn info(&self) -> &LatentInfo {
        &self.info
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(Network::weight_bytes).sum();
        texts + self.unet.weight_bytes() + self.decoder.weight_bytes()
    }

    /// The calls of `steps` steps of another solver, or other noise levels, than the model's own scheduler has. A solver
    /// brings the spacing that published pipelines use with it.
    ///
    /// # Errors
    /// Settings that do not fit each other.
    pub fn calls_by(&self, solver: Option<Solver>, sigmas: Option<Sigmas>, steps: usize) -> Result<Calls, Error> {
        let fields = self.fields(&[]);
        let (schedule, mut settings) = from_diffusers(&self.info.scheduler, &fields, steps)?;
        if let Some(solver) = solver {
            settings = Settings { answer: settings.answer, clip: settings.clip, ..Settings::new(solver, steps) };
        }
        if let Some(sigmas) = sigmas {
            settings.sigmas = sigmas;
        }
        Ok(Calls::new(&schedule, &settings)?)
    }

    /// The calls of `steps` steps of the model's own scheduler, or of another class of diffusers' with its settings, of
    /// which `changed` take the place.
    ///
    /// # Errors
    /// A class or a setting that is not known, or does not fit.
    pub fn calls(&self, class: Option<&str>, changed: &[(&str, Field)], steps: usize) -> Result<Calls, Error> {
        let fields = self.fields(changed);
        let (schedule, settings) = from_diffusers(class.unwrap_or(&self.info.scheduler), &fields, steps)?;
        Ok(Calls::new(&schedule, &settings)?)
    }

    /// The scheduler's settings, `changed` in place of those of the same names.
    fn fields<'a>(&'a self, changed: &[(&'a str, Field)]) -> Vec<(&'a str, Field)> {
        let own = self.info.settings.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        own.map(|(name, field)| (name.as_str(), field.clone())).chain(changed.iter().cloned()).collect()
    }

    /// How many times a picture's side is that of its latents.
    pub fn factor(&self) -> usize {
        self.info.autoencoder.factor()
    }

    /// The name, for errors.
    pub(super) fn name(&self) -> String {
        self.info.name.clone()
    }
}

impl core::fmt::Debug for LatentDiffusion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LatentDiffusion").field("info", self.info()).finish_non_exhaustive()
    }
}

/// `(n, c, h, w)` to `(n, h, w, c)`, `pixels` being `h * w`.
fn channels_last(planes: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    let mut out = vec![0.0; planes.len()];
    let pictures = out.chunks_exact_mut(channels * pixels).zip(planes.chunks_exact(channels * pixels));
    for (out, planes) in pictures {
        for (i, value) in out.iter_mut().enumerate() {
            *value = planes[i % channels * pixels + i / channels];
        }
    }
    out
}
