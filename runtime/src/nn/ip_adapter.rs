//! IP-Adapter (Ye et al. 2023, "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models"): what an image
//! encoder says of a picture becomes tokens beside those of the text, to which every attention of a U-Net to the text attends apart,
//! with keys and values of its own.
//!
//! Keys and values are the same for a whole run, so they are this network's outputs, and the U-Net's inputs. The tensors have the names
//! of the original code (tencent-ailab/IP-Adapter).

use super::clip_vision::VisionStates;
use super::sd_unet::{SdMiddle, SdUnet};
use super::{NetworkError, range};
use crate::graph::{Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// PyTorch's default, of all its layer norms.
const EPS: f32 = 1e-5;

/// How tokens are made of what the encoder says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpProjection {
    /// A linear layer makes this many of the state of the whole picture.
    Linear {
        /// Tokens of a picture: 4.
        tokens: usize,
    },
    /// Two linear layers make one of each patch's state (`full-face`).
    Perceptron,
    /// Queries that were learned attend to the patches' states (`plus`; Alayrac et al. 2022, "Flamingo", the perceiver resampler).
    Resampler {
        /// Tokens of a picture, which are its queries: 16.
        tokens: usize,
        /// Channels of the queries.
        width: usize,
        /// Blocks of attention and perceptron.
        layers: usize,
        /// Heads of attention.
        heads: usize,
        /// Channels of a head: 64.
        head_channels: usize,
        /// Features between the two linear layers of a perceptron.
        hidden: usize,
    },
}

/// An IP-Adapter's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IpAdapter {
    /// How tokens are made.
    pub projection: IpProjection,
    /// Width of the encoder's states that it reads.
    pub image_width: usize,
    /// Width of its tokens, which is that of the text's states (`cross_attention_dim`).
    pub text_width: usize,
    /// Channels of each attention to the text, in the order of [`SdUnet::text_attentions`].
    pub channels: Vec<usize>,
}

impl IpAdapter {
    /// The name of the input of the encoder's states, `(pictures, 1, states, image_width)`.
    pub const STATES: &'static str = "states";
    /// The name of the input to which a resampler's queries are added: zeros. Other projections have none.
    pub const QUERIES: &'static str = "queries";

    /// The states of the encoder that it reads.
    pub fn reads(&self) -> VisionStates {
        if matches!(self.projection, IpProjection::Linear { .. }) { VisionStates::Whole } else { VisionStates::Patches }
    }

    /// Tokens of a picture of which the encoder has so many states.
    pub fn tokens(&self, states: usize) -> usize {
        match self.projection {
            IpProjection::Linear { tokens } | IpProjection::Resampler { tokens, .. } => tokens,
            IpProjection::Perceptron => states,
        }
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("width of the image's states", self.image_width, 1, 65536)?;
        range("text_width", self.text_width, 1, 16384)?;
        range("attentions to the text", self.channels.len(), 1, 4096)?;
        self.channels.iter().try_for_each(|&channels| range("channels", channels, 1, 16384))?;
        match self.projection {
            IpProjection::Linear { tokens } => range("tokens of a picture", tokens, 1, 1024),
            IpProjection::Perceptron => Ok(()),
            IpProjection::Resampler { tokens, width, layers, heads, head_channels, hidden } => {
                range("tokens of a picture", tokens, 1, 1024)?;
                range("channels of the queries", width, 1, 16384)?;
                range("layers of the resampler", layers, 1, 64)?;
                range("heads of the resampler", heads, 1, 1024)?;
                range("channels of a head", head_channels, 1, 1024)?;
                range("features of a perceptron", hidden, 1, 1 << 20)
            }
        }
    }

    /// The network for that many pictures with so many states each ([`ClipVision::states`](super::ClipVision::states)), whose tokens follow one another; its
    /// tensors' names after `prefix`. Keys and values of an attention are the outputs [`SdUnet::image_keys`] and
    /// [`SdUnet::image_values`]. Its ids are those of [`Self::ids`].
    ///
    /// # Errors
    /// A configuration that is no network; no picture, or no state.
    pub fn graph(&self, prefix: &str, [pictures, states]: [usize; 2]) -> Result<Graph, NetworkError> {
        self.validate()?;
        range("pictures that lead", pictures, 1, 64)?;
        range("states of a picture", states, 1, 65536)?;
        let g = &mut Graph::new();
        let x = g.input(Self::STATES, Shape::new(pictures, 1, states, self.image_width))?;
        let name = format!("{prefix}image_proj");
        let tokens = self.tokens(states);
        let x = match self.projection {
            IpProjection::Linear { .. } => {
                let x = g.linear(&format!("{name}.proj"), x, tokens * self.text_width, true)?;
                let x = g.reshape(&name, x, Shape::new(pictures, 1, tokens, self.text_width))?;
                g.layer_norm(&format!("{name}.norm"), x, EPS)?
            }
            IpProjection::Perceptron => {
                let x = g.linear(&format!("{name}.proj.0"), x, self.image_width, true)?;
                let x = g.gelu(&format!("{name}.proj.1"), x)?;
                let x = g.linear(&format!("{name}.proj.2"), x, self.text_width, true)?;
                g.layer_norm(&format!("{name}.proj.3"), x, EPS)?
            }
            IpProjection::Resampler { .. } => self.resample(g, &name, x)?,
        };
        let x = g.reshape(&name, x, Shape::new(1, 1, pictures * tokens, self.text_width))?;
        for (i, &channels) in self.channels.iter().enumerate() {
            // Attentions of pixels to one another are counted as well, and come first.
            let name = format!("{prefix}ip_adapter.{}", 2 * i + 1);
            for (output, of) in [(SdUnet::image_keys(i), "to_k_ip"), (SdUnet::image_values(i), "to_v_ip")] {
                let y = g.linear(&format!("{name}.{of}"), x, channels, false)?;
                g.output(&output, y)?;
            }
        }
        Ok(core::mem::take(g))
    }

    /// The ids that an evaluation for that many pictures takes: of a resampler's queries.
    pub fn ids(&self, pictures: usize) -> Vec<Option<u32>> {
        let IpProjection::Resampler { tokens, .. } = self.projection else { return Vec::new() };
        (0..pictures).flat_map(|_| (0..tokens as u32).map(Some)).collect()
    }

    fn resample(&self, g: &mut Graph, name: &str, states: ValueId) -> Result<ValueId, GraphError> {
        let IpProjection::Resampler { tokens, width, layers, heads, head_channels, hidden } = self.projection else {
            return Ok(states);
        };
        let (pictures, inner) = (g.shape(states).n, heads * head_channels);
        let zeros = g.input(Self::QUERIES, Shape::vector(pictures * tokens, width))?;
        let ids = g.input_ids("queries", pictures * tokens);
        let x = g.embedding_add(&format!("{name}.latents"), zeros, ids, tokens)?;
        let mut x = g.reshape(name, x, Shape::new(pictures, 1, tokens, width))?;
        let states = g.linear(&format!("{name}.proj_in"), states, width, true)?;
        for i in 0..layers {
            let at = |part: &str| format!("{name}.layers.{i}.{part}");
            let seen = g.layer_norm(&at("0.norm1"), states, EPS)?;
            let own = g.layer_norm(&at("0.norm2"), x, EPS)?;
            // A query sees the others, too.
            let seen = g.join_tokens(&at("0.join"), seen, own)?;
            let q = g.linear(&at("0.to_q"), own, inner, false)?;
            let kv = g.linear(&at("0.to_kv"), seen, 2 * inner, false)?;
            let [k, v] = [0, inner].map(|from| g.slice(&at("0.to_kv.half"), kv, from, inner));
            let y = g.attention(&at("0"), q, k?, v?, heads, false)?;
            let y = g.linear(&at("0.to_out"), y, width, false)?;
            x = g.add(&at("0.add"), y, x)?;
            let y = g.layer_norm(&at("1.0"), x, EPS)?;
            let y = g.linear(&at("1.1"), y, hidden, false)?;
            let y = g.gelu(&at("1.2"), y)?;
            let y = g.linear(&at("1.3"), y, width, false)?;
            x = g.add(&at("1.add"), y, x)?;
        }
        let x = g.linear(&format!("{name}.proj_out"), x, self.text_width, true)?;
        g.layer_norm(&format!("{name}.norm_out"), x, EPS)
    }
}

/// What of an IP-Adapter a U-Net knows.
impl SdUnet {
    /// The attentions to the text, in the order in which diffusers' `attn_processors` and published IP-Adapters have them: those on
    /// the way down, those on the way up, those of the middle. Names without a prefix, and channels.
    pub fn text_attentions(&self) -> Vec<(String, usize)> {
        if self.text_width == 0 {
            return Vec::new();
        }
        let level = |way: &str, i: usize, depths: &[usize], channels: usize| -> Vec<(String, usize)> {
            let of = |(j, &depth): (usize, &usize)| {
                let name = format!("{way}.{i}.attentions.{j}.transformer_blocks");
                (0..depth).map(move |b| (format!("{name}.{b}.attn2"), channels)).collect::<Vec<_>>()
            };
            depths.iter().enumerate().flat_map(of).collect()
        };
        let down = self.levels.iter().enumerate().flat_map(|(i, l)| level("down_blocks", i, &l.down, l.channels));
        let up = self.levels.iter().rev().enumerate().flat_map(|(i, l)| level("up_blocks", i, &l.up, l.channels));
        let depth = if let SdMiddle::Transformer(depth) = self.middle { depth } else { 0 };
        let last = self.levels.last().map_or(0, |l| l.channels);
        let middle = (0..depth).map(|b| (format!("mid_block.attentions.0.transformer_blocks.{b}.attn2"), last));
        down.chain(up).chain(middle).collect()
    }

    /// The name of the input of the image tokens' keys of attention `i` of [`Self::text_attentions`], `(n, 1, tokens, channels)`.
    pub fn image_keys(i: usize) -> String {
        format!("image.{i}.k")
    }

    /// The same of the values, times the adapter's strength.
    pub fn image_values(i: usize) -> String {
        format!("image.{i}.v")
    }

    /// Whether an input is one of these.
    pub fn is_of_image(name: &str) -> bool {
        name.starts_with("image.")
    }
}
