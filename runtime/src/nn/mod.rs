//! Builders: from a configuration to a [`crate::graph::Graph`], with the names that the trainer writes.

pub mod autoencoder;
pub mod autoencoder_kl;
pub mod autoencoder_tiny;
pub mod book_unet;
mod clip_layer;
pub mod clip_text;
pub mod clip_vision;
pub mod control_net;
pub mod denoiser;
pub mod flux2;
pub mod ip_adapter;
mod mlp;
pub mod mlp_hvae;
pub mod mlp_vae;
pub mod mmdit;
pub mod noisy_classifier;
mod patches;
pub mod pixel_unet;
pub mod qwen3;
mod resnet;
pub mod rrdb_net;
pub mod sd_unet;
pub mod t2i_adapter;
pub mod t5_encoder;
pub mod timestep;
mod transformer;
mod unshuffle;
pub mod z_image;

pub use autoencoder::Autoencoder;
pub use autoencoder_kl::AutoencoderKl;
pub use autoencoder_tiny::AutoencoderTiny;
pub use book_unet::{BookUnet, NetworkError};
pub use clip_text::{ClipText, TextStates};
pub use clip_vision::{ClipVision, VisionStates};
pub use control_net::ControlNet;
pub use denoiser::Denoiser;
pub use flux2::Flux2;
pub use ip_adapter::{IpAdapter, IpProjection};
pub use mlp_hvae::MlpHvae;
pub use mlp_vae::MlpVae;
pub use mmdit::Mmdit;
pub use noisy_classifier::NoisyClassifier;
pub use pixel_unet::PixelUnet;
pub use qwen3::Qwen3;
pub use rrdb_net::RrdbNet;
pub use sd_unet::{SdAdded, SdCache, SdLevel, SdMiddle, SdRequest, SdUnet};
pub use t2i_adapter::{T2iAdapter, T2iKind};
pub use t5_encoder::T5Encoder;
pub use timestep::TimeCode;
pub use z_image::ZImage;

/// `found`, if it lies in `min..=max`.
pub(crate) fn range(field: &'static str, found: usize, min: usize, max: usize) -> Result<(), NetworkError> {
    if (min..=max).contains(&found) { Ok(()) } else { Err(NetworkError::Range { field, found, min, max }) }
}
