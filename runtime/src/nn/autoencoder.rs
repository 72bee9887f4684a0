//! What makes latents of pictures and pictures of latents, of either kind that pipelines have.

use super::{AutoencoderKl, AutoencoderTiny, NetworkError};
use crate::graph::Graph;

/// The first stage of latent diffusion.
#[derive(Clone, PartialEq, Debug)]
pub enum Autoencoder {
    /// That of Stable Diffusion (`AutoencoderKL`), whose pictures are in [-1, 1].
    Kl(AutoencoderKl),
    /// A small one (`AutoencoderTiny`), as SDXS has it, whose pictures are in [0, 1].
    Tiny(AutoencoderTiny),
}

impl From<AutoencoderKl> for Autoencoder {
    fn from(network: AutoencoderKl) -> Self {
        Self::Kl(network)
    }
}

impl Autoencoder {
    /// The name of the pictures, `(n, h, w, channels)`: the encoder's input, the decoder's output.
    pub const PICTURE: &'static str = AutoencoderKl::PICTURE;
    /// The name of the latents, `(n, h / f, w / f, latent_channels)`: the decoder's input.
    pub const LATENTS: &'static str = AutoencoderKl::LATENTS;

    /// That of Stable Diffusion's kind, if it is one.
    pub fn kl(&self) -> Option<&AutoencoderKl> {
        if let Self::Kl(network) = self { Some(network) } else { None }
    }

    /// Whether it is a small one.
    pub fn is_tiny(&self) -> bool {
        matches!(self, Self::Tiny(_))
    }

    /// Channels of the picture that is encoded.
    pub fn in_channels(&self) -> usize {
        match self {
            Self::Kl(network) => network.in_channels,
            Self::Tiny(network) => network.in_channels,
        }
    }

    /// Channels of the picture that is decoded.
    pub fn out_channels(&self) -> usize {
        match self {
            Self::Kl(network) => network.out_channels,
            Self::Tiny(network) => network.out_channels,
        }
    }

    /// Channels of the latents.
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(network) => network.latent_channels,
            Self::Tiny(network) => network.latent_channels,
        }
    }

    /// How many times a picture's side is that of its latents.
    pub fn factor(&self) -> usize {
        match self {
            Self::Kl(network) => network.factor(),
            Self::Tiny(network) => network.factor(),
        }
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        match self {
            Self::Kl(network) => network.validate(),
            Self::Tiny(network) => network.validate(),
        }
    }

    /// The encoder of `batch` pictures of that height and width, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network; sides that cannot be halved often enough.
    pub fn encoder(&self, prefix: &str, batch: usize, size: [usize; 2]) -> Result<Graph, NetworkError> {
        match self {
            Self::Kl(network) => network.encoder(prefix, batch, size),
            Self::Tiny(network) => network.encoder(prefix, batch, size),
        }
    }

    /// The decoder of `batch` latents of that height and width, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network, or activations that exceed what can be addressed.
    pub fn decoder(&self, prefix: &str, batch: usize, size: [usize; 2]) -> Result<Graph, NetworkError> {
        match self {
            Self::Kl(network) => network.decoder(prefix, batch, size),
            Self::Tiny(network) => network.decoder(prefix, batch, size),
        }
    }
}
