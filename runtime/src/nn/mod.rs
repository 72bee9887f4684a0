//! Builders: from a configuration to a [`crate::graph::Graph`], with the names that the trainer writes.

pub mod book_unet;
mod mlp;
pub mod mlp_hvae;
pub mod mlp_vae;
pub mod noisy_classifier;

pub use book_unet::{BookUnet, NetworkError};
pub use mlp_hvae::MlpHvae;
pub use mlp_vae::MlpVae;
pub use noisy_classifier::NoisyClassifier;

/// `found`, if it lies in `min..=max`.
fn range(field: &'static str, found: usize, min: usize, max: usize) -> Result<(), NetworkError> {
    if (min..=max).contains(&found) { Ok(()) } else { Err(NetworkError::Range { field, found, min, max }) }
}
