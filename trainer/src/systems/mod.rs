//! One file a system.
pub mod autoencoder;
pub mod autoencoder_kl;
pub mod book;
pub mod classic;
pub mod classifier;
pub mod ddpm;
pub mod descent;
pub mod distill;
pub mod hvae;
pub mod judge;
pub mod matcher;
pub mod mixture;
pub mod mvn;
pub mod normal;
pub mod regression;
pub mod text2image;
pub mod vae;
