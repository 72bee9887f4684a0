//! What takes noise away from latents, whichever network does it.

use super::patches::PATCH;
use super::{Flux2, Mmdit, NetworkError, SdRequest, SdUnet, ZImage, range};
use crate::graph::Graph;
use alloc::vec::Vec;

/// The network of a latent diffusion model that takes noise away.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Denoiser {
    /// Stable Diffusion's 1.x, 2.x and XL.
    Unet(SdUnet),
    /// Stable Diffusion's 3 and 3.5.
    Mmdit(Mmdit),
    /// Z-Image's.
    ZImage(ZImage),
    /// FLUX.2-klein's.
    Flux2(Flux2),
}

impl From<SdUnet> for Denoiser {
    fn from(network: SdUnet) -> Self {
        Self::Unet(network)
    }
}

impl From<Mmdit> for Denoiser {
    fn from(network: Mmdit) -> Self {
        Self::Mmdit(network)
    }
}

impl From<ZImage> for Denoiser {
    fn from(network: ZImage) -> Self {
        Self::ZImage(network)
    }
}

impl From<Flux2> for Denoiser {
    fn from(network: Flux2) -> Self {
        Self::Flux2(network)
    }
}

impl Denoiser {
    /// The name of the latents' input, `(n, h, w, channels)`.
    pub const LATENTS: &'static str = SdUnet::LATENTS;
    /// The name of the input of the timestep's code ([`Self::write_time`]), `(n, 1, 1, time_width)`.
    pub const TIME: &'static str = SdUnet::TIME;
    /// The name of the text's states, `(n, 1, tokens, text_width)`.
    pub const TEXT: &'static str = SdUnet::TEXT;
    /// The name of what is told beside them, `(n, 1, 1, added_width)`: the pooled state, and perhaps sizes.
    pub const ADDED: &'static str = SdUnet::ADDED;
    /// The name of the angles of the tokens' places ([`Self::angles`]), of whom has them.
    pub const ANGLES: &'static str = ZImage::ANGLES;
    /// The name of the code of the distilled guidance scale, `(n, 1, 1, guidance_code)`.
    pub const GUIDANCE: &'static str = SdUnet::GUIDANCE;
    /// The name of the output, `(n, h, w, channels)`.
    pub const OUTPUT: &'static str = SdUnet::OUTPUT;

    /// What it is, in a word or two.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unet(_) => "U-Net",
            Self::Mmdit(_) | Self::ZImage(_) | Self::Flux2(_) => "transformer",
        }
    }

    /// What its tensors' names begin with.
    pub const fn prefix(&self) -> &'static str {
        match self {
            Self::Unet(_) => "unet.",
            Self::Mmdit(_) | Self::ZImage(_) | Self::Flux2(_) => "transformer.",
        }
    }

    /// The U-Net, if it is one.
    pub const fn unet(&self) -> Option<&SdUnet> {
        if let Self::Unet(network) = self { Some(network) } else { None }
    }

    /// The U-Net, if it is one, to be changed.
    pub const fn unet_mut(&mut self) -> Option<&mut SdUnet> {
        if let Self::Unet(network) = self { Some(network) } else { None }
    }

    /// Channels of what it reads, and of its answer.
    pub const fn channels(&self) -> [usize; 2] {
        match self {
            Self::Unet(network) => [network.in_channels, network.out_channels],
            Self::Mmdit(network) => [network.channels; 2],
            Self::ZImage(network) => [network.channels; 2],
            Self::Flux2(network) => [network.channels; 2],
        }
    }

    /// What sides of latents must be multiples of: patches.
    pub const fn multiple(&self) -> usize {
        match self {
            // Of FLUX.2 the latents are packed.
            Self::Unet(_) | Self::Flux2(_) => 1,
            Self::Mmdit(_) | Self::ZImage(_) => PATCH,
        }
    }

    /// The longest side of latents that it knows.
    pub const fn longest(&self) -> usize {
        match self {
            Self::Unet(_) => SdUnet::LONGEST,
            Self::Mmdit(network) => PATCH * network.positions,
            Self::ZImage(network) => network.longest(),
            Self::Flux2(_) => Flux2::LONGEST,
        }
    }

    /// Width of the text's states.
    pub const fn text_width(&self) -> usize {
        match self {
            Self::Unet(network) => network.text_width,
            Self::Mmdit(network) => network.text_width,
            Self::ZImage(network) => network.text_width,
            Self::Flux2(network) => network.text_width,
        }
    }

    /// States of zeros that follow a text's where no third text encoder is: Stable Diffusion 3 attends to them.
    pub const fn zero_states(&self) -> usize {
        match self {
            Self::Unet(_) | Self::ZImage(_) | Self::Flux2(_) => 0,
            Self::Mmdit(_) => Mmdit::THIRD_STATES,
        }
    }

    /// What the number of a text's states is filled up to a multiple of, where a language model reads alone.
    pub const fn text_multiple(&self) -> Option<usize> {
        match self {
            Self::Unet(_) | Self::Mmdit(_) => None,
            Self::ZImage(_) => Some(ZImage::MULTIPLE),
            Self::Flux2(_) => Some(Flux2::TOKENS),
        }
    }

    /// Whether the published pipelines give the noise's shares themselves, evenly from 1 to one step's, before they are shifted
    /// ([`Sigmas::Flow`](crate::sampler::Sigmas::Flow)).
    pub const fn even_sigmas(&self) -> bool {
        matches!(self, Self::ZImage(_) | Self::Flux2(_))
    }

    /// How many numbers it is told beside the text's states: pooled state and sizes; 0 for none.
    pub fn added_width(&self) -> usize {
        match self {
            Self::Unet(network) => network.added.map_or(0, |added| added.width),
            Self::Mmdit(network) => network.pooled_width,
            Self::ZImage(_) | Self::Flux2(_) => 0,
        }
    }

    /// Length of the code of a distilled guidance scale; 0 for none.
    pub const fn guidance_code(&self) -> usize {
        match self {
            Self::Unet(network) => network.guidance_code,
            Self::Mmdit(_) | Self::ZImage(_) | Self::Flux2(_) => 0,
        }
    }

    /// Length of the timestep's code.
    pub fn time_width(&self) -> usize {
        match self {
            Self::Unet(network) => network.time_width(),
            Self::Mmdit(_) => Mmdit::TIME_WIDTH,
            Self::ZImage(_) => ZImage::TIME_WIDTH,
            Self::Flux2(_) => Flux2::TIME_WIDTH,
        }
    }

    /// Writes the timestep's code for each picture of a batch; `out` is `(n, time_width)`.
    pub fn write_time(&self, timestep: f64, out: &mut [f32]) {
        match self {
            Self::Unet(network) => network.write_time(timestep, out),
            Self::Mmdit(_) => Mmdit::write_time(timestep, out),
            Self::ZImage(network) => network.write_time(timestep, out),
            Self::Flux2(_) => Flux2::write_time(timestep, out),
        }
    }

    /// What the network's inputs of ids are given, of a transformer: the patches' places, or which tokens of texts of so many are
    /// there.
    ///
    /// # Errors
    /// As [`Self::graph`]; a text longer than the request's.
    pub fn ids(&self, request: &SdRequest, lengths: &[usize]) -> Result<Vec<Option<u32>>, NetworkError> {
        match self {
            Self::Unet(_) | Self::Flux2(_) => Ok(Vec::new()),
            Self::Mmdit(network) => {
                let places = network.places([request.height, request.width])?;
                Ok(places.repeat(request.batch).into_iter().map(Some).collect())
            }
            Self::ZImage(network) => network.ids(request, lengths),
        }
    }

    /// The values of [`Self::ANGLES`], of texts of so many tokens, and of pictures that are looked at, whose latents have these
    /// sizes; none of networks that are not told places so.
    ///
    /// # Errors
    /// As [`Self::ids`]; pictures that are looked at which are not the request's.
    pub fn angles(
        &self,
        request: &SdRequest,
        lengths: &[usize],
        references: &[[usize; 2]],
    ) -> Result<Vec<f32>, NetworkError> {
        match self {
            Self::Unet(_) | Self::Mmdit(_) => Ok(Vec::new()),
            Self::ZImage(network) => network.angles(request, lengths),
            Self::Flux2(network) => network.angles(request, references),
        }
    }

    /// The smallest request that the network can have, for where its weights alone count.
    pub fn smallest(&self) -> SdRequest {
        match self {
            Self::Unet(network) => network.smallest(),
            Self::Mmdit(_) => SdRequest::new(1, [PATCH; 2], 1),
            Self::ZImage(_) => SdRequest::new(1, [PATCH; 2], ZImage::MULTIPLE),
            Self::Flux2(_) => SdRequest::new(1, [1; 2], 1),
        }
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        match self {
            Self::Unet(network) => network.validate(),
            Self::Mmdit(network) => network.validate(),
            Self::ZImage(network) => network.validate(),
            Self::Flux2(network) => network.validate(),
        }
    }

    /// The network, for three texts of each picture, whose last leaves out the blocks `skipped` (skip-layer guidance).
    ///
    /// # Errors
    /// As [`Self::graph`]; blocks that there are not, as in a U-Net.
    pub fn graph_skipping(&self, prefix: &str, request: &SdRequest, skipped: &[usize]) -> Result<Graph, NetworkError> {
        match self {
            Self::Unet(network) => {
                range("blocks of a transformer in a U-Net", skipped.len(), 0, 0)?;
                network.graph(prefix, request)
            }
            Self::Mmdit(network) => network.graph_skipping(prefix, request, skipped),
            Self::ZImage(network) => {
                range("skipped blocks of this transformer", skipped.len(), 0, 0)?;
                network.graph(prefix, request)
            }
            Self::Flux2(network) => {
                range("skipped blocks of this transformer", skipped.len(), 0, 0)?;
                network.graph(prefix, request)
            }
        }
    }

    /// The network, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network; latents of a size that it cannot have; of a transformer, what it does not know:
    /// residuals, features, a cache.
    pub fn graph(&self, prefix: &str, request: &SdRequest) -> Result<Graph, NetworkError> {
        match self {
            Self::Unet(network) => network.graph(prefix, request),
            Self::Mmdit(network) => network.graph(prefix, request),
            Self::ZImage(network) => network.graph(prefix, request),
            Self::Flux2(network) => network.graph(prefix, request),
        }
    }
}
