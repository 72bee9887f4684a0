//! Networks that take noise from pictures of one size: the book's U-Net, and DDPM's as it is published.

use super::book_unet::{BookUnet, NetworkError};
use super::range;
use super::sd_unet::{SdRequest, SdUnet};
use crate::graph::Graph;

/// The network of a model of pixels.
#[derive(Clone, PartialEq, Debug)]
pub enum PixelUnet {
    /// The book's, which may be told labels.
    Book(BookUnet),
    /// diffusers' `UNet2DModel`: Stable Diffusion's without a text, of pictures of this height and width.
    Sd(SdUnet, [usize; 2]),
}

impl PixelUnet {
    /// What the tensors' names of a published one begin with.
    pub const PREFIX: &'static str = "unet.";

    /// Height and width of the pictures.
    pub fn size(&self) -> [usize; 2] {
        match self {
            Self::Book(unet) => [unet.height, unet.width],
            Self::Sd(_, size) => *size,
        }
    }

    /// Channels of the pictures.
    pub fn channels(&self) -> usize {
        match self {
            Self::Book(unet) => unet.in_channels,
            Self::Sd(unet, _) => unet.in_channels,
        }
    }

    /// Number of labels that it can be told; 0 of what is told none.
    pub fn label_count(&self) -> usize {
        match self {
            Self::Book(unet) => unet.label_count,
            Self::Sd(..) => 0,
        }
    }

    /// Whether the configuration is a network that is told the pictures and the noise level, and maybe labels, alone.
    ///
    /// # Errors
    /// The first field that is out of its range; sides that cannot be halved often enough.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let (unet, [height, width]) = match self {
            Self::Book(unet) => return unet.validate(),
            Self::Sd(unet, size) => (unet, *size),
        };
        unet.validate()?;
        range("text_width", unet.text_width, 0, 0)?;
        range("out_channels", unet.out_channels, unet.in_channels, unet.in_channels)?;
        range("width of the added condition", unet.added.map_or(0, |added| added.width), 0, 0)?;
        range("guidance_code", unet.guidance_code, 0, 0)?;
        // Validated: there are 1 to 12 levels.
        let halvings = unet.levels.len() - 1;
        let multiple = 1 << halvings;
        for (field, side) in [("height", height), ("width", width)] {
            range(field, side, 1, 16384)?;
            if side % multiple != 0 {
                return Err(NetworkError::Sides { height, width, halvings, multiple });
            }
        }
        Ok(())
    }

    /// The network for `batch` pictures.
    ///
    /// # Errors
    /// A configuration that is no network, or one whose activations exceed what can be addressed.
    pub fn graph(&self, batch: usize) -> Result<Graph, NetworkError> {
        self.validate()?;
        match self {
            Self::Book(unet) => unet.graph(batch),
            Self::Sd(unet, [height, width]) => {
                let request = SdRequest::new(batch, [*height, *width], 0);
                unet.graph(Self::PREFIX, &request)
            }
        }
    }

    /// The names of the graph's inputs of pictures and of the noise level, and of its output.
    pub(crate) fn ports(&self) -> [&'static str; 3] {
        match self {
            Self::Book(_) => [BookUnet::PICTURE, BookUnet::TIME, BookUnet::PICTURE],
            Self::Sd(..) => [SdUnet::LATENTS, SdUnet::TIME, SdUnet::OUTPUT],
        }
    }
}
