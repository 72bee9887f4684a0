//! The upscaler of ESRGAN and Real-ESRGAN: `RRDBNet`, residual-in-residual dense blocks, then what doubles the sides (Wang et
//! al. 2018, "ESRGAN"; BasicSR's `rrdbnet_arch.py`).

use super::unshuffle::pixel_unshuffle;
use super::{NetworkError, range};
use crate::graph::{Activation, Graph, GraphError, Shape, ValueId};
use alloc::format;

/// The upscaler's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RrdbNet {
    /// Channels of a picture (`num_in_ch`, `num_out_ch`).
    pub channels: usize,
    /// Channels between the blocks (`num_feat`).
    pub features: usize,
    /// Channels that each convolution of a dense block adds (`num_grow_ch`).
    pub growth: usize,
    /// Blocks (`num_block`), of three dense blocks each.
    pub blocks: usize,
    /// How many times the sides double after the blocks: 2 of the published ones.
    pub doublings: usize,
    /// Side of the squares of pixels that the network takes as one (`pixel_unshuffle`): 1, or 2 of the x2 models.
    pub unshuffle: usize,
}

/// Dense blocks of a block, and convolutions of a dense block.
const DENSE: usize = 3;
const LAYERS: usize = 5;

impl RrdbNet {
    /// The name of the input, in [0, 1], `(n, h, w, channels unshuffle²)`: pictures, or, with squares of pixels, those of each
    /// channel side by side, row by row ([`Self::unshuffled`]).
    pub const PICTURE: &'static str = "picture";
    /// The name of the output, `(n, h f, w f, channels)` in about [0, 1], f being 2 to the power of `doublings`.
    pub const UPSCALED: &'static str = "upscaled";

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("channels", self.channels, 1, 1024)?;
        range("features", self.features, 1, 16384)?;
        range("growth", self.growth, 1, 16384)?;
        range("blocks", self.blocks, 1, 256)?;
        range("doublings", self.doublings, 0, 5)?;
        range("unshuffle", self.unshuffle, 1, 1 << self.doublings)?;
        // What is a multiple of the sides alone.
        if !self.unshuffle.is_power_of_two() {
            let (field, found) = ("unshuffle", self.unshuffle);
            return Err(NetworkError::Range { field, found, min: 1, max: 1 });
        }
        Ok(())
    }

    /// How many times the side of a picture the side of the upscaled one is.
    pub const fn factor(&self) -> usize {
        (1 << self.doublings) / self.unshuffle
    }

    /// How far a pixel of the picture has an influence, in pixels: what lies farther from a tile changes nothing in it.
    pub const fn reach(&self) -> usize {
        // One pixel of the input a 3 x 3 convolution; after the doublings all of them together less than two.
        (1 + self.blocks * DENSE * LAYERS + 1 + 2) * self.unshuffle
    }

    /// A picture `(h, w, channels)` as the network takes it: `(h / u, w / u, channels u²)`, where the squares of u x u pixels of
    /// each channel lie side by side, row by row (PyTorch's `pixel_unshuffle`).
    pub fn unshuffled(&self, picture: &[f32], width: usize) -> alloc::vec::Vec<f32> {
        pixel_unshuffle(picture, width, self.channels, self.unshuffle)
    }

    /// The network for `batch` pictures of which the input has `height` rows and `width` columns, its tensors' names after
    /// `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network, or activations that exceed what can be addressed.
    pub fn graph(&self, prefix: &str, batch: usize, [height, width]: [usize; 2]) -> Result<Graph, NetworkError> {
        self.validate()?;
        let g = &mut Graph::new();
        let name = |part: &str| format!("{prefix}{part}");
        let inputs = self.channels * self.unshuffle * self.unshuffle;
        let picture = g.input(Self::PICTURE, Shape::new(batch, height, width, inputs))?;
        let first = conv(g, &name("conv_first"), picture, self.features)?;
        let mut x = first;
        for i in 0..self.blocks {
            let block = x;
            for dense in 1..=DENSE {
                x = self.dense(g, &format!("{prefix}body.{i}.rdb{dense}"), x)?;
            }
            x = scaled_add(g, &format!("{prefix}body.{i}"), x, block)?;
        }
        x = conv(g, &name("conv_body"), x, self.features)?;
        x = g.add(&name("body.add"), x, first)?;
        for i in 1..=self.doublings {
            let at = format!("{prefix}conv_up{i}");
            x = g.upsample_nearest2(&format!("{at}.upsample"), x)?;
            x = conv(g, &at, x, self.features)?;
            x = leaky(g, &at, x)?;
        }
        x = conv(g, &name("conv_hr"), x, self.features)?;
        x = leaky(g, &name("conv_hr"), x)?;
        x = conv(g, &name("conv_last"), x, self.channels)?;
        g.output(Self::UPSCALED, x)?;
        Ok(core::mem::take(g))
    }

    /// A dense block: each convolution reads what all before it made, and the last one's result is scaled and added.
    fn dense(&self, g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let mut all = x;
        for layer in 1..LAYERS {
            let at = format!("{name}.conv{layer}");
            let y = conv(g, &at, all, self.growth)?;
            let y = leaky(g, &at, y)?;
            all = g.concat(&format!("{name}.concat{layer}"), all, y)?;
        }
        let y = conv(g, &format!("{name}.conv{LAYERS}"), all, self.features)?;
        scaled_add(g, name, y, x)
    }
}

fn conv(g: &mut Graph, name: &str, x: ValueId, out: usize) -> Result<ValueId, GraphError> {
    g.conv2d(name, x, out, [3, 1, 1], true)
}

fn leaky(g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
    g.activate(&format!("{name}.lrelu"), x, Activation::LeakyRelu)
}

/// `0.2 y + x`.
fn scaled_add(g: &mut Graph, name: &str, y: ValueId, x: ValueId) -> Result<ValueId, GraphError> {
    let y = g.activate(&format!("{name}.scale"), y, Activation::ResidualScale)?;
    g.add(&format!("{name}.add"), y, x)
}
