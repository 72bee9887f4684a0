//! The U-Net of Stable Diffusion 1.x, 2.x and XL (diffusers' `UNet2DConditionModel`), its inpainting, guidance-distilled and
//! smaller forms (BK-SDM, SSD-1B and their kin), and what ControlNets, T2I-Adapters and IP-Adapters add, as inputs; and that of DDPM,
//! which reads no text (`UNet2DModel`).

use super::resnet::{Norm, resnet};
use super::t2i_adapter::adapted;
use super::timestep::TimeCode;
use super::transformer::{Transformer, attention_block};
use super::{NetworkError, range};
use crate::graph::{Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// One level of the U-Net, used on the way down and on the way up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SdLevel {
    /// Channels (`block_out_channels`).
    pub channels: usize,
    /// Heads of its transformers. Published configurations call this number `attention_head_dim`.
    pub heads: usize,
    /// Its residual blocks on the way down: for each, the blocks of the transformer behind it
    /// (`transformer_layers_per_block`), 0 where there is none (`DownBlock2D`). Without a text 1 is plain attention
    /// (`AttnDownBlock2D`).
    pub down: Vec<usize>,
    /// The same on the way up, where there is one more.
    pub up: Vec<usize>,
}

impl SdLevel {
    /// A level of so many residual blocks on the way down, all with transformers of `depth` blocks, or, for 0, with none.
    pub fn new(channels: usize, heads: usize, layers_per_block: usize, depth: usize) -> Self {
        Self { channels, heads, down: vec![depth; layers_per_block], up: vec![depth; layers_per_block + 1] }
    }

    /// Whether it has a transformer on the way down (`CrossAttnDownBlock2D`).
    pub fn attends(&self) -> bool {
        self.down.iter().any(|&depth| depth > 0)
    }

    /// Blocks of its transformers, where all have as many.
    pub fn depth(&self) -> Option<usize> {
        let first = self.down.first().copied()?;
        self.down.iter().chain(&self.up).all(|&depth| depth == first).then_some(first)
    }
}

/// What is between the way down and the way up, with the last level's channels and heads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SdMiddle {
    /// Nothing: `mid_block_type` null, as in BK-SDM-small and -tiny.
    None,
    /// One residual block: `UNetMidBlock2D`, as in SSD-1B and Segmind-Vega.
    Resnet,
    /// Two residual blocks with a transformer of so many blocks between them: `UNetMidBlock2DCrossAttn`. Without a text it is
    /// plain attention, or, for 0, nothing (`UNetMidBlock2D`).
    Transformer(usize),
}

/// SDXL's second condition: the text's pooled state, and sizes (`addition_embed_type` `text_time`); or the pooled state
/// alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SdAdded {
    /// Length of the code of each size (`addition_time_embed_dim`); 0 for no sizes.
    pub code: usize,
    /// Length of the pooled state and of all the sizes' codes (`projection_class_embeddings_input_dim`).
    pub width: usize,
}

/// The U-Net's configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct SdUnet {
    /// Channels that it reads: 4; 9 for inpainting.
    pub in_channels: usize,
    /// Channels of its answer: 4.
    pub out_channels: usize,
    /// The levels, the largest picture first.
    pub levels: Vec<SdLevel>,
    /// What is between the way down and the way up.
    pub middle: SdMiddle,
    /// Width of the text's states (`cross_attention_dim`). 0: it reads no text, and in the transformers' place pixels attend to
    /// one another alone.
    pub text_width: usize,
    /// Ranges of channels of each group normalization.
    pub norm_groups: usize,
    /// Added to variances.
    pub norm_eps: f32,
    /// The transformers' projections are linear layers (SD 2.x and SDXL), not 1x1 convolutions.
    pub linear_projection: bool,
    /// What halves has a line of zeros below and right alone (`downsample_padding` 0), not on all sides.
    pub pads_below: bool,
    /// How the timestep is coded.
    pub time_code: TimeCode,
    /// SDXL's second condition.
    pub added: Option<SdAdded>,
    /// Length of the code of the guidance scale in networks into which guidance was distilled (`time_cond_proj_dim`), else
    /// 0.
    pub guidance_code: usize,
}

/// What of a U-Net's graph depends on the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SdRequest {
    /// Number of latents, and of texts.
    pub batch: usize,
    /// Rows of the latents.
    pub height: usize,
    /// Columns of the latents.
    pub width: usize,
    /// States of a text: 77 for each window.
    pub tokens: usize,
    /// Whether a ControlNet's residuals are added, as inputs ([`SdUnet::residual`]).
    pub control: bool,
    /// How many features of a T2I-Adapter are added, as inputs ([`SdUnet::ADAPTER`]).
    pub adapter: usize,
    /// Tokens of an IP-Adapter's pictures, whose keys and values are inputs ([`SdUnet::image_keys`]); 0 without one.
    pub image: usize,
    /// What is done with the deep features.
    pub cache: SdCache,
}

/// The deep features: what the last residual block on the way up is given, beside the first convolution's result. They change
/// little from step to step, and are most of the work (Ma, Fang and Wang 2024, "DeepCache: Accelerating Diffusion Models for
/// Free", with `cache_branch_id` 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SdCache {
    /// They are made.
    #[default]
    Off,
    /// They are made, and are an output, [`SdUnet::FEATURES`].
    Write,
    /// They are an input of that name, and only what comes after them is evaluated.
    Read,
}

/// The parts that all residual blocks and transformers of one graph share.
pub(super) struct Conditions {
    pub time: ValueId,
    pub text: Option<ValueId>,
    /// Tokens of an IP-Adapter's pictures, and the attentions' names in its order, if there is one.
    image: Option<(usize, Vec<String>)>,
}

impl Conditions {
    /// An image's keys and values for the attention of that name, of so many channels.
    pub fn image(&self, g: &mut Graph, name: &str, channels: usize) -> Result<Option<[ValueId; 2]>, GraphError> {
        let Some((tokens, names)) = &self.image else { return Ok(None) };
        let Some(i) = names.iter().position(|known| known == name) else { return Ok(None) };
        let shape = Shape::new(g.shape(self.time).n, 1, *tokens, channels);
        Ok(Some([g.input(&SdUnet::image_keys(i), shape)?, g.input(&SdUnet::image_values(i), shape)?]))
    }
}

impl SdRequest {
    /// For that many latents of that height and width, each with so many states of a text, and nothing added.
    pub const fn new(batch: usize, [height, width]: [usize; 2], tokens: usize) -> Self {
        Self { batch, height, width, tokens, control: false, adapter: 0, image: 0, cache: SdCache::Off }
    }
}

impl SdUnet {
    /// The name of the latents' input, `(n, h, w, in_channels)`.
    pub const LATENTS: &'static str = "latents";
    /// The name of the input of the timestep's code ([`Self::write_time`]), `(n, 1, 1, time_width)`.
    pub const TIME: &'static str = "time";
    /// The name of the text's states, `(n, 1, tokens, text_width)`; absent if `text_width` is 0.
    pub const TEXT: &'static str = "text";
    /// The name of SDXL's second condition ([`Self::write_added`]), `(n, 1, 1, width)`.
    pub const ADDED: &'static str = "added";
    /// The name of the code of the distilled guidance scale ([`super::timestep::write_guidance_code`]).
    pub const GUIDANCE: &'static str = "guidance";
    /// The name of the deep features, `(n, h, w, channels)`: see [`SdCache`].
    pub const FEATURES: &'static str = "features";
    /// The longest side of latents.
    pub const LONGEST: usize = 16384;
    /// The name of the output, `(n, h, w, out_channels)`.
    pub const OUTPUT: &'static str = "out";

    /// The name of the input that is added to skip `i` (`None`: to the middle's output).
    pub fn residual(i: Option<usize>) -> String {
        i.map_or_else(|| "control.mid".into(), |i| format!("control.{i}"))
    }

    /// The smallest request that the network can have, for where its weights alone count.
    pub fn smallest(&self) -> SdRequest {
        let side = 1 << self.levels.len().min(16);
        SdRequest::new(1, [side, side], 1)
    }

    /// Residual blocks of a level on the way down; on the way up there is one more.
    pub fn layers_per_block(&self) -> usize {
        self.levels.first().map_or(0, |level| level.down.len())
    }

    /// Length of the timestep's code: the first level's channels.
    pub fn time_width(&self) -> usize {
        self.levels.first().map_or(0, |level| level.channels)
    }

    /// Writes the timestep's code for each picture of a batch; `out` is `(n, time_width)`.
    pub fn write_time(&self, timestep: f64, out: &mut [f32]) {
        out.chunks_mut(self.time_width().max(1)).for_each(|row| self.time_code.write(timestep, row));
    }

    /// Writes one picture's row of SDXL's second condition: the pooled state, then the codes of `sizes` (original
    /// height and width, crop's top and left, target height and width). `out` has `added.width` elements.
    ///
    /// # Errors
    /// Pooled state and sizes that do not make up that length, or a network without this condition.
    pub fn write_added(&self, pooled: &[f32], sizes: &[f64], out: &mut [f32]) -> Result<(), NetworkError> {
        let added = self.added.unwrap_or(SdAdded { code: 0, width: 0 });
        range("pooled state and sizes", pooled.len() + sizes.len() * added.code, added.width, added.width)?;
        range("row of the added condition", out.len(), added.width, added.width)?;
        let (first, codes) = out.split_at_mut(pooled.len());
        first.copy_from_slice(pooled);
        codes.chunks_mut(added.code.max(1)).zip(sizes).for_each(|(row, &size)| self.time_code.write(size, row));
        Ok(())
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("in_channels", self.in_channels, 1, 1024)?;
        range("out_channels", self.out_channels, 1, 1024)?;
        range("number of levels", self.levels.len(), 1, 12)?;
        // Attention without a text has no layers.
        let most = if self.text_width == 0 { 1 } else { 64 };
        for level in &self.levels {
            range("channels", level.channels, 1, 16384)?;
            range("heads", level.heads, 1, 1024)?;
            let layers = self.layers_per_block();
            range("layers_per_block", layers, 1, 16)?;
            range("residual blocks of a level on the way down", level.down.len(), layers, layers)?;
            range("residual blocks of a level on the way up", level.up.len(), layers + 1, layers + 1)?;
            for &depth in level.down.iter().chain(&level.up) {
                range("transformer layers", depth, 0, most)?;
            }
        }
        if let SdMiddle::Transformer(depth) = self.middle {
            range("transformer layers of the middle", depth, 0, most)?;
        }
        range("text_width", self.text_width, 0, 16384)?;
        range("norm_groups", self.norm_groups, 1, 16384)?;
        range("guidance_code", self.guidance_code, 0, 16384)?;
        if let Some(added) = self.added {
            range("width of the added condition", added.width, 1, 65536)?;
            range("code of the added condition", added.code, 0, 16384)?;
        }
        Ok(())
    }

    /// The network, its tensors' names after `prefix` (`unet.`, or nothing).
    ///
    /// # Errors
    /// A configuration that is no network; latents without a pixel, or with more than a side of 16384.
    pub fn graph(&self, prefix: &str, request: &SdRequest) -> Result<Graph, NetworkError> {
        self.validate()?;
        sides(request)?;
        let g = &mut Graph::new();
        let (x, conditions) = self.inputs(g, prefix, request)?;
        let mut x = g.conv2d(&format!("{prefix}conv_in"), x, self.time_width(), [3, 1, 1], true)?;
        range("features of a T2I-Adapter", request.adapter, 0, self.adapter_places().len())?;
        let mut skips = self.down(g, prefix, x, &conditions, request.adapter)?;
        if let Some(&last) = skips.last() {
            x = self.mid(g, prefix, last, &conditions)?;
            if request.adapter > self.levels.len() {
                x = adapted(g, self.levels.len(), x, &mut [])?;
            }
        }
        if request.control {
            for (i, skip) in skips.iter_mut().enumerate() {
                let (name, shape) = (Self::residual(Some(i)), g.shape(*skip));
                let residual = g.input(&name, shape)?;
                *skip = g.add(&name, *skip, residual)?;
            }
            let (name, shape) = (Self::residual(None), g.shape(x));
            let residual = g.input(&name, shape)?;
            x = g.add(&name, x, residual)?;
        }
        x = self.up(g, prefix, x, skips, (&conditions, request.cache))?;
        x = g.group_norm(&format!("{prefix}conv_norm_out"), x, self.norm_groups, self.norm_eps)?;
        x = g.silu(&format!("{prefix}conv_act"), x)?;
        x = g.conv2d(&format!("{prefix}conv_out"), x, self.out_channels, [3, 1, 1], true)?;
        g.output(Self::OUTPUT, x)?;
        Ok(core::mem::take(g))
    }

    /// The inputs: latents, and the conditions' states.
    pub(super) fn inputs(
        &self,
        g: &mut Graph,
        prefix: &str,
        request: &SdRequest,
    ) -> Result<(ValueId, Conditions), GraphError> {
        let n = request.batch;
        let x = g.input(Self::LATENTS, Shape::new(n, request.height, request.width, self.in_channels))?;
        let text = match self.text_width {
            0 => None,
            width => Some(g.input(Self::TEXT, Shape::new(n, 1, request.tokens, width))?),
        };
        let code = self.time_width();
        let mut time = g.input(Self::TIME, Shape::vector(n, code))?;
        let name = format!("{prefix}time_embedding");
        if self.guidance_code > 0 {
            let guidance = g.input(Self::GUIDANCE, Shape::vector(n, self.guidance_code))?;
            let v = g.linear(&format!("{name}.cond_proj"), guidance, code, false)?;
            time = g.add(&format!("{name}.add"), v, time)?;
        }
        let mut time = embedding(g, &name, time, 4 * code)?;
        if let Some(added) = self.added {
            let added = g.input(Self::ADDED, Shape::vector(n, added.width))?;
            let v = embedding(g, &format!("{prefix}add_embedding"), added, 4 * code)?;
            time = g.add(&format!("{prefix}add_embedding.add"), v, time)?;
        }
        // Every residual block applies SiLU to it first.
        let time = g.silu(&format!("{name}.nonlinearity"), time)?;
        let names = || self.text_attentions().into_iter().map(|(name, _)| format!("{prefix}{name}")).collect();
        let image = (request.image > 0).then(|| (request.image, names()));
        Ok((x, Conditions { time, text, image }))
    }

    const fn norm(&self) -> Norm {
        Norm { groups: self.norm_groups, eps: self.norm_eps }
    }

    /// All that the way up reads, from `x`, the first convolution's result, on, with so many features of a T2I-Adapter.
    pub(super) fn down(
        &self,
        g: &mut Graph,
        prefix: &str,
        mut x: ValueId,
        conditions: &Conditions,
        adapter: usize,
    ) -> Result<Vec<ValueId>, GraphError> {
        let mut skips = vec![x];
        for (i, level) in self.levels.iter().enumerate() {
            let name = format!("{prefix}down_blocks.{i}");
            for (j, &depth) in level.down.iter().enumerate() {
                x = self.pair(g, (&name, j), x, (level, depth), conditions)?;
                skips.push(x);
            }
            let halves = i + 1 < self.levels.len();
            // Of a level with transformers behind the last one; without, behind what halves.
            let before = level.attends() || !halves;
            if i < adapter && before {
                x = adapted(g, i, x, &mut skips)?;
            }
            if halves {
                let (name, pad) = (format!("{name}.downsamplers.0.conv"), usize::from(!self.pads_below));
                x = g.conv2d_padded(&name, x, level.channels, [3, 2, pad, 1], true)?;
                skips.push(x);
                if i < adapter && !before {
                    x = adapted(g, i, x, &mut skips)?;
                }
            }
        }
        Ok(skips)
    }

    pub(super) fn mid(
        &self,
        g: &mut Graph,
        prefix: &str,
        x: ValueId,
        conditions: &Conditions,
    ) -> Result<ValueId, GraphError> {
        let Some(last) = self.levels.last() else { return Ok(x) };
        let name = &format!("{prefix}mid_block");
        match self.middle {
            SdMiddle::None => Ok(x),
            SdMiddle::Resnet => self.pair(g, (name, 0), x, (last, 0), conditions),
            SdMiddle::Transformer(depth) => {
                let mut x = self.resnet(g, (name, 0), x, last, conditions)?;
                if depth > 0 || self.text_width > 0 {
                    x = self.transformer(g, (name, 0), x, (last, depth), conditions)?;
                }
                self.resnet(g, (name, 1), x, last, conditions)
            }
        }
    }

    fn up(
        &self,
        g: &mut Graph,
        prefix: &str,
        mut x: ValueId,
        mut skips: Vec<ValueId>,
        (conditions, cache): (&Conditions, SdCache),
    ) -> Result<ValueId, GraphError> {
        let last = self.levels.len() - 1;
        for (i, level) in self.levels.iter().rev().enumerate() {
            let name = format!("{prefix}up_blocks.{i}");
            for (j, &depth) in level.up.iter().enumerate() {
                if i == last && j + 1 == level.up.len() {
                    match cache {
                        SdCache::Off => {}
                        SdCache::Write => g.output(Self::FEATURES, x)?,
                        // What made them stays in the graph for its tensors, and no plan runs it.
                        SdCache::Read => x = g.input(Self::FEATURES, g.shape(x))?,
                    }
                }
                if let Some(skip) = skips.pop() {
                    x = g.concat(&format!("{name}.concat.{j}"), x, skip)?;
                }
                x = self.pair(g, (&name, j), x, (level, depth), conditions)?;
            }
            if i < last {
                // As large as what it is joined with: of odd sides a row or a column less than twice as many.
                let to = skips.last().map_or(g.shape(x), |&skip| g.shape(skip));
                x = g.upsample_nearest(&format!("{name}.upsamplers.0"), x, [to.h, to.w])?;
                x = g.conv2d(&format!("{name}.upsamplers.0.conv"), x, level.channels, [3, 1, 1], true)?;
            }
        }
        Ok(x)
    }

    /// A residual block and, where it has one, its transformer.
    fn pair(
        &self,
        g: &mut Graph,
        at: (&str, usize),
        x: ValueId,
        (level, depth): (&SdLevel, usize),
        conditions: &Conditions,
    ) -> Result<ValueId, GraphError> {
        let x = self.resnet(g, at, x, level, conditions)?;
        if depth == 0 { Ok(x) } else { self.transformer(g, at, x, (level, depth), conditions) }
    }

    fn resnet(
        &self,
        g: &mut Graph,
        (name, j): (&str, usize),
        x: ValueId,
        level: &SdLevel,
        conditions: &Conditions,
    ) -> Result<ValueId, GraphError> {
        resnet(g, &format!("{name}.resnets.{j}"), x, level.channels, self.norm(), Some(conditions.time))
    }

    fn transformer(
        &self,
        g: &mut Graph,
        (name, j): (&str, usize),
        x: ValueId,
        (level, layers): (&SdLevel, usize),
        conditions: &Conditions,
    ) -> Result<ValueId, GraphError> {
        let name = format!("{name}.attentions.{j}");
        let Some(text) = conditions.text else {
            return attention_block(g, &name, x, level.heads, self.norm());
        };
        let (groups, linear_projection) = (self.norm_groups, self.linear_projection);
        let transformer = Transformer { heads: level.heads, layers, groups, linear_projection };
        transformer.build(g, &name, x, text, conditions)
    }
}

/// Whether latents have sides that can be. Odd ones are halved to the larger half.
pub(super) fn sides(request: &SdRequest) -> Result<(), NetworkError> {
    range("height of the latents", request.height, 1, SdUnet::LONGEST)?;
    range("width of the latents", request.width, 1, SdUnet::LONGEST)
}

/// diffusers' `TimestepEmbedding`.
fn embedding(g: &mut Graph, name: &str, x: ValueId, width: usize) -> Result<ValueId, GraphError> {
    let x = g.linear(&format!("{name}.linear_1"), x, width, true)?;
    let x = g.silu(&format!("{name}.act"), x)?;
    g.linear(&format!("{name}.linear_2"), x, width, true)
}
