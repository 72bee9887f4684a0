//! Variational autoencoders as weight files: linear layers only, as PyTorch has them.
use super::{begin, linear, pictures};
use crate::error::Result;
use crate::fit::Record;
use crate::nn::vae::VaeConfig;
use crate::param::State;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::quant::DType;

/// What a file says of itself, beside its tensors.
#[derive(Clone, Debug)]
pub struct Description {
    /// `general.name`.
    pub name: String,
    /// Picture height and width in pixels.
    pub size: (usize, usize),
    /// `nijimi.system`: vae or hvae.
    pub system: &'static str,
    /// `nijimi.network`.
    pub network: &'static str,
    /// The linear layers, in the file's order.
    pub layers: &'static [&'static str],
    /// What the divergence was multiplied by in training.
    pub beta: f64,
}

/// The bytes of a weight file for a network with the tensors of `state` (names as in [`crate::param::state`] with an empty
/// prefix). `docs/format.md` describes the keys.
///
/// # Errors
/// If a tensor is missing or a value does not fit its type.
pub fn autoencoder(
    state: &State,
    config: &VaeConfig,
    about: &Description,
    record: &Record,
    dtype: DType,
) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    begin(&mut w, &about.name, dtype, about.system)?;
    w.meta("nijimi.network", about.network)?;
    w.meta("nijimi.vae.hidden", config.hidden as u32)?;
    w.meta("nijimi.vae.latent", config.latent as u32)?;
    pictures(&mut w, about.size, 1)?;
    super::record(&mut w, record)?;
    w.meta("nijimi.train.beta", about.beta)?;
    for layer in about.layers {
        linear(&mut w, state, layer, dtype)?;
    }
    Ok(w.finish())
}
