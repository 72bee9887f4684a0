//! T2I-Adapter (Mou et al. 2023, "T2I-Adapter: Learning Adapters to Dig out More Controllable Ability for Text-to-Image Diffusion
//! Models"; diffusers' `T2IAdapter`): a small network that looks at a picture once, and whose features are added to a U-Net's way
//! down at every call.

use super::sd_unet::{SdMiddle, SdRequest, SdUnet};
use super::unshuffle::pixel_unshuffle;
use super::{ControlNet, NetworkError, range};
use crate::graph::{Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// Which of the published architectures it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum T2iKind {
    /// Of Stable Diffusion 1.x: each block but the first halves.
    Full,
    /// Of SDXL: the third block alone halves.
    FullXl,
    /// Narrow blocks, as of the color adapter: a block more than `channels` says, all but the first halving.
    Light,
}

impl T2iKind {
    /// All of them, by diffusers' names (`adapter_type`).
    pub const ALL: [(&'static str, Self); 3] =
        [("full_adapter", Self::Full), ("full_adapter_xl", Self::FullXl), ("light_adapter", Self::Light)];

    /// diffusers' name.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// By diffusers' name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }
}

/// A T2I-Adapter's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct T2iAdapter {
    /// Its architecture.
    pub kind: T2iKind,
    /// Channels of the picture (`in_channels`): 3, or 1 of those that read lines.
    pub picture_channels: usize,
    /// Channels of its blocks' features (`channels`).
    pub channels: Vec<usize>,
    /// Residual blocks of a block (`num_res_blocks`).
    pub layers: usize,
    /// Side of the squares of pixels that it takes as one (`downscale_factor`): 8, or 16 of SDXL.
    pub unshuffle: usize,
}

/// Of a narrow block, how many times as wide its features are.
const NARROW: usize = 4;

impl T2iAdapter {
    /// The blocks: channels of their features, and how often the sides of squares of pixels are halved in them.
    pub fn features(&self) -> Vec<(usize, usize)> {
        let again = self.channels.last().filter(|_| self.kind == T2iKind::Light);
        let channels = self.channels.iter().chain(again).copied();
        let halvings = |i: usize| if self.kind == T2iKind::FullXl { usize::from(i >= 2) } else { i };
        channels.enumerate().map(|(i, channels)| (channels, halvings(i))).collect()
    }

    /// How many times the latents' side is that of the picture. SDXL's first level halves before anything is added.
    pub fn factor(&self) -> usize {
        if self.kind == T2iKind::FullXl { self.unshuffle / 2 } else { self.unshuffle }
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("channels of the picture", self.picture_channels, 1, 1024)?;
        range("blocks of the adapter", self.channels.len(), 1, SdUnet::ADAPTER.len() - 1)?;
        let least = if self.kind == T2iKind::Light { NARROW } else { 1 };
        for &channels in &self.channels {
            range("channels", channels, least, 16384)?;
        }
        range("num_res_blocks", self.layers, 1, 16)?;
        range("downscale_factor", self.unshuffle, 1, 64)?;
        if self.kind == T2iKind::FullXl {
            let even = self.unshuffle.next_multiple_of(2);
            range("downscale_factor", self.unshuffle, even, even)?;
        }
        if let (T2iKind::FullXl, Some(rest)) = (self.kind, self.channels.get(2..)) {
            // Nothing is there that would make one of the other.
            for pair in rest.windows(2) {
                range("channels of a block after the third", pair[1], pair[0], pair[0])?;
            }
        }
        Ok(())
    }

    /// The smallest request that the network can have, for where its weights alone count.
    pub fn smallest(&self) -> SdRequest {
        SdRequest::new(1, [2, 2], 1)
    }

    /// A picture `(h, w, picture_channels)` of `width` columns as the graph takes it.
    pub fn unshuffled(&self, picture: &[f32], width: usize) -> Vec<f32> {
        pixel_unshuffle(picture, width, self.picture_channels, self.unshuffle)
    }

    /// The network for the latents' size of a request, for one picture whatever the request says; its tensors' names after
    /// `prefix`. The input is [`ControlNet::PICTURE`], in [0, 1], [unshuffled](Self::unshuffled); the outputs have the names of the
    /// U-Net's inputs ([`SdUnet::ADAPTER`]), which take them times the adapter's strength.
    ///
    /// # Errors
    /// A configuration that is no network; of SDXL's, latents of odd sides.
    pub fn graph(&self, prefix: &str, request: &SdRequest) -> Result<Graph, NetworkError> {
        self.validate()?;
        let halved = self.unshuffle / self.factor();
        for (field, found) in [("height of the latents", request.height), ("width of the latents", request.width)] {
            range(field, found, 1, 16384)?;
            let even = found.next_multiple_of(halved);
            range(field, found, even, even)?;
        }
        let g = &mut Graph::new();
        let inputs = self.picture_channels * self.unshuffle * self.unshuffle;
        let mut x = g.input(Self::PICTURE, Shape::new(1, request.height / halved, request.width / halved, inputs))?;
        if self.kind != T2iKind::Light {
            let first = self.channels.first().copied().unwrap_or(1);
            x = g.conv2d(&format!("{prefix}conv_in"), x, first, [3, 1, 1], true)?;
        }
        let mut halvings = 0;
        for (i, (channels, halved)) in self.features().into_iter().enumerate() {
            let name = format!("{prefix}body.{i}");
            if halved > halvings {
                x = g.avg_pool2(&format!("{name}.downsample"), x)?;
                halvings = halved;
            }
            x = self.block(g, &name, x, channels)?;
            g.output(SdUnet::ADAPTER[i], x)?;
        }
        Ok(core::mem::take(g))
    }

    /// The name of the input.
    pub const PICTURE: &'static str = ControlNet::PICTURE;

    /// diffusers' `AdapterBlock`, or `LightAdapterBlock`.
    fn block(&self, g: &mut Graph, name: &str, mut x: ValueId, channels: usize) -> Result<ValueId, GraphError> {
        let light = self.kind == T2iKind::Light;
        let inner = if light { channels / NARROW } else { channels };
        let point = |g: &mut Graph, at: &str, x, c| g.conv2d(&format!("{name}.{at}"), x, c, [1, 1, 0], true);
        if light || g.shape(x).c != inner {
            x = point(g, "in_conv", x, inner)?;
        }
        for i in 0..self.layers {
            let at = format!("{name}.resnets.{i}");
            let y = g.conv2d(&format!("{at}.block1"), x, inner, [3, 1, 1], true)?;
            let y = g.relu(&format!("{at}.act"), y)?;
            let second = if light { [3, 1, 1] } else { [1, 1, 0] };
            let y = g.conv2d(&format!("{at}.block2"), y, inner, second, true)?;
            x = g.add(&format!("{at}.add"), y, x)?;
        }
        if light { point(g, "out_conv", x, channels) } else { Ok(x) }
    }
}

/// What of a T2I-Adapter a U-Net knows.
impl SdUnet {
    /// The names of the inputs of a T2I-Adapter's features, of as many levels as there can be, then of the middle; each has the
    /// shape of what it is added to.
    pub const ADAPTER: [&'static str; 13] = [
        "adapter.0",
        "adapter.1",
        "adapter.2",
        "adapter.3",
        "adapter.4",
        "adapter.5",
        "adapter.6",
        "adapter.7",
        "adapter.8",
        "adapter.9",
        "adapter.10",
        "adapter.11",
        "adapter.12",
    ];

    /// Where a T2I-Adapter's features are added, in their order: channels, and how often the latents' sides are halved there. Of a
    /// level with transformers that is behind the last of them; of one without, behind what halves; then behind the middle.
    pub fn adapter_places(&self) -> Vec<(usize, usize)> {
        let last = self.levels.len().saturating_sub(1);
        let halvings = |i: usize, attends: bool| if attends { i } else { (i + 1).min(last) };
        let levels = self.levels.iter().enumerate().map(|(i, level)| (level.channels, halvings(i, level.attends())));
        let middle = self.levels.last().filter(|_| self.middle != SdMiddle::None).map(|level| (level.channels, last));
        levels.chain(middle).collect()
    }
}

/// Adds feature `i` to `x`, and so to the last of the skips: the reference's addition is in place.
pub(super) fn adapted(g: &mut Graph, i: usize, x: ValueId, skips: &mut [ValueId]) -> Result<ValueId, GraphError> {
    let (name, shape) = (SdUnet::ADAPTER[i], g.shape(x));
    let feature = g.input(name, shape)?;
    let x = g.add(name, x, feature)?;
    if let Some(last) = skips.last_mut() {
        *last = x;
    }
    Ok(x)
}
