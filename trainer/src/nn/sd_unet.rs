//! The U-Net of latent diffusion (diffusers' `UNet2DConditionModel`; Rombach et al. 2022, section 3.3): the twin of the
//! runtime's `nn/sd_unet.rs`, under the same names.
use super::layers::{Conv2d, Downsample, GroupNorm, Linear, Norm};
use super::resnet::ResnetBlock;
use super::transformer::{Sizes, Transformer};
use crate::error::{Error, Result};
use crate::ops::{Activation, Kit, Precision};
use crate::param::{Module, Visitor};
use crate::tensor::{T2, T3, T4, Tp};
use dfdx::prelude::*;
pub use nijimi_runtime::raw::nn::SdUnet as SdUnetConfig;
use nijimi_runtime::raw::nn::{SdLevel, SdMiddle};

/// What every part is made with.
struct Make<'a, D> {
    device: &'a D,
    seed: u64,
    config: &'a SdUnetConfig,
    precision: Precision,
}

impl<D: Kit> Make<'_, D> {
    fn norm(&self) -> Norm {
        Norm { groups: self.config.norm_groups, eps: self.config.norm_eps }
    }

    fn conv(&self, name: &str, input: usize, output: usize) -> Conv2d<D> {
        Conv2d::new(self.device, self.seed, name, input, output, 3).with_precision(self.precision)
    }

    fn embedding(&self, name: &str, input: usize, width: usize) -> Embedding<D> {
        let linear = |part: &str, from| self.linear(&format!("{name}.{part}"), from, width);
        Embedding { linear_1: linear("linear_1", input), linear_2: linear("linear_2", width) }
    }

    fn linear(&self, name: &str, input: usize, output: usize) -> Linear<D> {
        Linear::new(self.device, self.seed, name, input, output)
    }

    fn resnet(&self, name: &str, sides: [usize; 2]) -> ResnetBlock<D> {
        let time = Some(4 * self.config.time_width());
        ResnetBlock::new(self.device, self.seed, name, sides, self.norm(), time, self.precision)
    }

    fn transformer(&self, name: &str, level: &SdLevel, layers: usize) -> Transformer<D> {
        let sizes = Sizes {
            channels: level.channels,
            heads: level.heads,
            layers,
            text_width: self.config.text_width,
            groups: self.config.norm_groups,
            linear_projection: self.config.linear_projection,
        };
        Transformer::new(self.device, self.seed, name, &sizes, self.precision)
    }

    /// A residual block and, where it has one, its transformer of so many blocks.
    fn pair(&self, name: &str, j: usize, input: usize, (level, depth): (&SdLevel, usize)) -> Pair<D> {
        Pair {
            resnet: self.resnet(&format!("{name}.resnets.{j}"), [input, level.channels]),
            transformer: (depth > 0).then(|| self.transformer(&format!("{name}.attentions.{j}"), level, depth)),
        }
    }

    fn middle(&self, level: &SdLevel) -> Vec<Pair<D>> {
        let (name, sides) = ("mid_block", [level.channels; 2]);
        let pair =
            |j: usize, transformer| Pair { resnet: self.resnet(&format!("{name}.resnets.{j}"), sides), transformer };
        match self.config.middle {
            SdMiddle::None => vec![],
            SdMiddle::Resnet => vec![pair(0, None)],
            SdMiddle::Transformer(depth) => {
                vec![pair(0, Some(self.transformer(&format!("{name}.attentions.0"), level, depth))), pair(1, None)]
            }
        }
    }
}

/// A residual block and, where its level has them, a transformer.
#[derive(Clone)]
struct Pair<D: Kit> {
    resnet: ResnetBlock<D>,
    transformer: Option<Transformer<D>>,
}

/// The vector of the time, SiLU applied, and the states of the text; their tapes are part of the picture's.
struct Conditions<D: Kit> {
    time: T2<D>,
    text: T3<D>,
}

impl<D: Kit> Pair<D> {
    fn forward<T: Tp<D>>(&self, x: T4<D, T>, conditions: &Conditions<D>) -> T4<D, T> {
        let x = self.resnet.forward(x, Some(&conditions.time));
        match &self.transformer {
            Some(transformer) => transformer.forward(x, &conditions.text),
            None => x,
        }
    }
}

/// The pairs of one size of picture, and what changes the size behind them.
#[derive(Clone)]
struct Level<D: Kit, R> {
    pairs: Vec<Pair<D>>,
    resize: Option<R>,
}

fn visit<D: Kit>(pairs: &mut [Pair<D>], prefix: &str, v: &mut impl Visitor<D>) {
    for (j, pair) in pairs.iter_mut().enumerate() {
        pair.resnet.visit(&format!("{prefix}.resnets.{j}"), v);
        if let Some(transformer) = &mut pair.transformer {
            transformer.visit(&format!("{prefix}.attentions.{j}"), v);
        }
    }
}

impl<D: Kit, R: Module<D>> Level<D, R> {
    fn visit(&mut self, prefix: &str, resize: &str, v: &mut impl Visitor<D>) {
        visit(&mut self.pairs, prefix, v);
        if let Some(conv) = &mut self.resize {
            conv.visit(&format!("{prefix}.{resize}.0.conv"), v);
        }
    }
}

/// diffusers' `TimestepEmbedding`.
#[derive(Clone)]
struct Embedding<D: Kit> {
    linear_1: Linear<D>,
    linear_2: Linear<D>,
}

impl<D: Kit> Embedding<D> {
    fn forward<T: Tp<D>>(&self, x: T2<D, T>) -> T2<D, T> {
        self.linear_2.forward(D::silu(self.linear_1.forward(x)))
    }
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.linear_1.visit(&format!("{prefix}.linear_1"), v);
        self.linear_2.visit(&format!("{prefix}.linear_2"), v);
    }
}

/// The network.
#[derive(Clone)]
pub struct SdUnet<D: Kit> {
    config: SdUnetConfig,
    time_embedding: Embedding<D>,
    add_embedding: Option<Embedding<D>>,
    conv_in: Conv2d<D>,
    down_blocks: Vec<Level<D, Downsample<D>>>,
    mid_block: Vec<Pair<D>>,
    up_blocks: Vec<Level<D, Conv2d<D>>>,
    conv_norm_out: GroupNorm<D>,
    conv_out: Conv2d<D>,
}

impl<D: Kit> SdUnet<D> {
    /// A network with random weights, keyed by seed and name. The last layer of each residual branch, and the network's
    /// own, begin as zeros: its first answer is 0.
    ///
    /// # Errors
    /// A configuration that the runtime refuses; or one with SDXL's second condition, or a distilled guidance scale, which
    /// are not trained here.
    pub fn new(device: &D, seed: u64, config: &SdUnetConfig, precision: Precision) -> Result<Self> {
        check(config)?;
        let make = &Make { device, seed, config, precision };
        let (levels, time) = (&config.levels, config.time_width());
        // Channels of what the way up reads, in the order in which the way down leaves it.
        let (mut c, mut skips) = (levels[0].channels, vec![levels[0].channels]);
        let mut down_blocks = Vec::new();
        for (i, level) in levels.iter().enumerate() {
            let name = format!("down_blocks.{i}");
            let mut pairs = Vec::new();
            for (j, &depth) in level.down.iter().enumerate() {
                pairs.push(make.pair(&name, j, c, (level, depth)));
                c = level.channels;
                skips.push(c);
            }
            let resize = (i + 1 < levels.len()).then(|| {
                skips.push(c);
                Downsample::new(device, seed, &format!("{name}.downsamplers.0.conv"), c, 1).with_precision(precision)
            });
            down_blocks.push(Level { pairs, resize });
        }
        let mid_block = make.middle(&levels[levels.len() - 1]);
        let mut up_blocks = Vec::new();
        for (i, level) in levels.iter().rev().enumerate() {
            let name = format!("up_blocks.{i}");
            let mut pairs = Vec::new();
            for (j, &depth) in level.up.iter().enumerate() {
                pairs.push(make.pair(&name, j, c + skips.pop().unwrap_or(0), (level, depth)));
                c = level.channels;
            }
            let resize = (i + 1 < levels.len()).then(|| make.conv(&format!("{name}.upsamplers.0.conv"), c, c));
            up_blocks.push(Level { pairs, resize });
        }
        Ok(Self {
            config: config.clone(),
            time_embedding: make.embedding("time_embedding", time, 4 * time),
            add_embedding: config.added.map(|added| make.embedding("add_embedding", added.width, 4 * time)),
            conv_in: make.conv("conv_in", config.in_channels, time),
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: GroupNorm::new(device, c, make.norm()),
            conv_out: make.conv("conv_out", c, config.out_channels).zeroed(),
        })
    }

    /// The sizes.
    pub fn config(&self) -> &SdUnetConfig {
        &self.config
    }

    /// The codes of timesteps, one a picture: (n, time_width).
    pub fn time_codes(&self, device: &D, timesteps: &[f64]) -> T2<D> {
        let width = self.config.time_width();
        let mut codes = vec![0.0; timesteps.len() * width];
        for (row, t) in codes.chunks_exact_mut(width).zip(timesteps) {
            self.config.write_time(*t, row);
        }
        device.tensor_from_vec(codes, (timesteps.len(), width))
    }

    /// The answer (n, out_channels, h, w) to latents (n, in_channels, h, w), codes of time from [`Self::time_codes`], and
    /// states of a text (n, tokens, text_width), whose tape is followed too, as is that of `pooled`, its pooled states (n,
    /// width), if the network is told them. The sides of the latents are multiples of 2 to the number of halvings.
    pub fn forward<T: Tp<D>>(&self, x: T4<D, T>, time: &T2<D>, text: T3<D, T>, pooled: Option<T2<D, T>>) -> T4<D, T> {
        let mut time = self.time_embedding.forward(time.retaped::<T>());
        if let (Some(embedding), Some(pooled)) = (&self.add_embedding, pooled) {
            time = D::add(embedding.forward(pooled), time);
        }
        // Every residual block applies SiLU to it first.
        let (time, time_tape) = D::silu(time).split_tape();
        let (text, text_tape) = text.split_tape();
        let conditions = &Conditions { time, text };
        let (x, tape) = x.split_tape();
        let mut x = self.conv_in.forward(x.put_tape(tape.merge(time_tape).merge(text_tape)));
        let mut skips = Vec::new();
        let mut keep = |x: T4<D, T>| {
            let (x, tape) = x.split_tape();
            skips.push(x.clone());
            x.put_tape(tape)
        };
        x = keep(x);
        for level in &self.down_blocks {
            for pair in &level.pairs {
                x = keep(pair.forward(x, conditions));
            }
            if let Some(down) = &level.resize {
                x = keep(down.forward(x));
            }
        }
        for pair in &self.mid_block {
            x = pair.forward(x, conditions);
        }
        for level in &self.up_blocks {
            for pair in &level.pairs {
                if let Some(skip) = skips.pop() {
                    x = D::concat(x, skip.retaped::<T>());
                }
                x = pair.forward(x, conditions);
            }
            if let Some(conv) = &level.resize {
                x = conv.forward(D::upsample_nearest2(x));
            }
        }
        self.conv_out.forward(self.conv_norm_out.forward(x, Activation::Silu))
    }
}

/// Whether the runtime has such a network, and it can be trained.
fn check(config: &SdUnetConfig) -> Result<()> {
    let refuse = |what: String| Err(Error::Usage(format!("the U-Net: {what}")));
    // Building it checks all sizes, and that heads and groups divide the channels.
    if let Err(e) = config.graph("", &config.smallest()) {
        return refuse(e.to_string());
    }
    if config.added.is_some_and(|added| added.code > 0) {
        return refuse("one with sizes as a condition (SDXL) can be run, but not trained: leave them out".into());
    }
    if config.guidance_code > 0 {
        return refuse("one with guidance as a condition can be run, but not trained: set its code to 0".into());
    }
    Ok(())
}

impl<D: Kit> Module<D> for SdUnet<D> {
    /// `prefix` is empty, or ends with a dot: `unet.`.
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        let at = |part: &str| format!("{prefix}{part}");
        self.time_embedding.visit(&at("time_embedding"), v);
        if let Some(embedding) = &mut self.add_embedding {
            embedding.visit(&at("add_embedding"), v);
        }
        self.conv_in.visit(&at("conv_in"), v);
        for (i, level) in self.down_blocks.iter_mut().enumerate() {
            level.visit(&at(&format!("down_blocks.{i}")), "downsamplers", v);
        }
        visit(&mut self.mid_block, &at("mid_block"), v);
        for (i, level) in self.up_blocks.iter_mut().enumerate() {
            level.visit(&at(&format!("up_blocks.{i}")), "upsamplers", v);
        }
        self.conv_norm_out.visit(&at("conv_norm_out"), v);
        self.conv_out.visit(&at("conv_out"), v);
    }
}
