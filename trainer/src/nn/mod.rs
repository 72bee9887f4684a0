//! The networks; parameter names equal those of the runtime's builders.
pub mod autoencoder_kl;
pub mod book_unet;
pub mod clip_text;
pub mod hvae;
pub mod judge;
pub mod layers;
pub mod matcher;
pub mod mlp;
pub mod noisy_classifier;
pub mod resnet;
pub mod sd_unet;
pub mod text2image;
pub mod tokens;
pub mod transformer;
pub mod vae;
