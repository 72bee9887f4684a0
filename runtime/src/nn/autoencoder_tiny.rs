//! The tiny autoencoder of Stable Diffusion's latents (TAESD; diffusers' `AutoencoderTiny`), encoder and decoder apart.

use super::{NetworkError, range};
use crate::graph::{Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// The tiny autoencoder's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AutoencoderTiny {
    /// Channels of the picture that is encoded.
    pub in_channels: usize,
    /// Channels of the picture that is decoded.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels (`encoder_block_out_channels`, all equal) of encoder and decoder.
    pub channels: usize,
    /// Residual blocks of each level of the encoder (`num_encoder_blocks`). Between levels, sides halve.
    pub encoder_blocks: Vec<usize>,
    /// Residual blocks of each level of the decoder (`num_decoder_blocks`).
    pub decoder_blocks: Vec<usize>,
    /// Whether the blocks of the coarsest level, where latents are, begin with a branch that sees the whole picture through group
    /// norms: FLUX.2's (TAEF2; taesd.py's `use_midblock_gn`).
    pub pooled: bool,
}

/// Of the branch that sees the whole picture: how many times as wide as the block, in how many groups, and the norm's epsilon.
const POOL_WIDTH: usize = 4;
const POOL_GROUPS: usize = 4;
const POOL_EPS: f32 = 1e-5;

impl AutoencoderTiny {
    /// The name of the pictures, in [0, 1], `(n, h, w, channels)`: the encoder's input, the decoder's output.
    pub const PICTURE: &'static str = "picture";
    /// The name of the latents, `(n, h / f, w / f, latent_channels)`: the encoder's output and, held to
    /// [-3, 3] ([`Self::hold`]), the decoder's input. They need no scaling factor.
    pub const LATENTS: &'static str = "latents";

    /// Holds latents to [-3, 3], smoothly, as the decoder expects them: `3 tanh(x / 3)`.
    pub fn hold(latents: &mut [f32]) {
        latents.iter_mut().for_each(|x| *x = 3.0 * libm::tanhf(*x / 3.0));
    }

    /// How many times a picture's side is that of its latents.
    pub fn factor(&self) -> usize {
        1 << self.decoder_blocks.len().saturating_sub(1).min(16)
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("in_channels", self.in_channels, 1, 1024)?;
        range("out_channels", self.out_channels, 1, 1024)?;
        range("latent_channels", self.latent_channels, 1, 1024)?;
        range("channels", self.channels, 1, 16384)?;
        for blocks in [&self.encoder_blocks, &self.decoder_blocks] {
            range("number of levels", blocks.len(), 1, 12)?;
            for &count in blocks {
                range("residual blocks", count, 0, 64)?;
            }
        }
        Ok(())
    }

    /// The encoder of `batch` pictures of `height` x `width` pixels, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network; sides that cannot be halved often enough.
    pub fn encoder(&self, prefix: &str, batch: usize, [height, width]: [usize; 2]) -> Result<Graph, NetworkError> {
        self.validate()?;
        let halvings = self.encoder_blocks.len() - 1;
        let multiple = 1 << halvings;
        if height % multiple != 0 || width % multiple != 0 {
            return Err(NetworkError::Sides { height, width, halvings, multiple });
        }
        let g = &mut Graph::new();
        let mut layers = Layers { prefix: format!("{prefix}encoder.layers"), next: 0 };
        let mut x = g.input(Self::PICTURE, Shape::new(batch, height, width, self.in_channels))?;
        for (i, &blocks) in self.encoder_blocks.iter().enumerate() {
            x = g.conv2d(&layers.name(), x, self.channels, [3, if i == 0 { 1 } else { 2 }, 1], i == 0)?;
            for _ in 0..blocks {
                x = block(g, &layers.name(), x, self.pooled && i == halvings)?;
            }
        }
        x = g.conv2d(&layers.name(), x, self.latent_channels, [3, 1, 1], true)?;
        g.output(Self::LATENTS, x)?;
        Ok(core::mem::take(g))
    }

    /// The decoder of `batch` latents of `height` x `width`, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network, or activations that exceed what can be addressed.
    pub fn decoder(&self, prefix: &str, batch: usize, [height, width]: [usize; 2]) -> Result<Graph, NetworkError> {
        self.validate()?;
        let g = &mut Graph::new();
        let mut layers = Layers { prefix: format!("{prefix}decoder.layers"), next: 0 };
        let mut x = g.input(Self::LATENTS, Shape::new(batch, height, width, self.latent_channels))?;
        x = g.conv2d(&layers.name(), x, self.channels, [3, 1, 1], true)?;
        x = g.relu(&layers.name(), x)?;
        let last = self.decoder_blocks.len() - 1;
        for (i, &blocks) in self.decoder_blocks.iter().enumerate() {
            for _ in 0..blocks {
                x = block(g, &layers.name(), x, self.pooled && i == 0)?;
            }
            if i < last {
                x = g.upsample_nearest2(&layers.name(), x)?;
            }
            let out = if i == last { self.out_channels } else { self.channels };
            x = g.conv2d(&layers.name(), x, out, [3, 1, 1], i == last)?;
        }
        g.output(Self::PICTURE, x)?;
        Ok(core::mem::take(g))
    }
}

/// The layers of a sequence, numbered.
struct Layers {
    prefix: alloc::string::String,
    next: usize,
}

impl Layers {
    fn name(&mut self) -> alloc::string::String {
        self.next += 1;
        format!("{}.{}", self.prefix, self.next - 1)
    }
}

/// diffusers' `AutoencoderTinyBlock`: three convolutions beside a shortcut, then ReLU. Before them, if it is `pooled`, what a wider
/// layer makes of a norm over the whole picture is added.
fn block(g: &mut Graph, name: &str, mut x: ValueId, pooled: bool) -> Result<ValueId, GraphError> {
    let c = g.shape(x).c;
    if pooled {
        let mut y = g.conv2d(&format!("{name}.pool.0"), x, c * POOL_WIDTH, [1, 1, 0], false)?;
        y = g.group_norm(&format!("{name}.pool.1"), y, POOL_GROUPS, POOL_EPS)?;
        y = g.relu(&format!("{name}.pool.2"), y)?;
        y = g.conv2d(&format!("{name}.pool.3"), y, c, [1, 1, 0], false)?;
        x = g.add(&format!("{name}.pool"), y, x)?;
    }
    let mut y = g.conv2d(&format!("{name}.conv.0"), x, c, [3, 1, 1], true)?;
    y = g.relu(&format!("{name}.conv.1"), y)?;
    y = g.conv2d(&format!("{name}.conv.2"), y, c, [3, 1, 1], true)?;
    y = g.relu(&format!("{name}.conv.3"), y)?;
    y = g.conv2d(&format!("{name}.conv.4"), y, c, [3, 1, 1], true)?;
    y = g.add(&format!("{name}.add"), y, x)?;
    g.relu(&format!("{name}.fuse"), y)
}
