//! The autoencoder of latent diffusion (diffusers' `AutoencoderKL`; Rombach et al. 2022, section 3.1): the twin of the
//! runtime's `nn/autoencoder_kl.rs`, under the same names.
use super::layers::{Conv2d, Downsample, GroupNorm, Norm};
use super::resnet::ResnetBlock;
use crate::error::{Error, Result};
use crate::ops::{Activation, Kit, Precision};
use crate::param::{Module, Visitor};
use crate::tensor::{T4, Tp};
pub use nijimi_runtime::raw::nn::AutoencoderKl as AutoencoderKlConfig;

/// diffusers' fixed epsilon of this network.
const EPS: f32 = 1e-6;

/// What every part is made with.
#[derive(Clone, Copy)]
struct Make<'a, D> {
    device: &'a D,
    seed: u64,
    norm: Norm,
    precision: Precision,
}

impl<D: Kit> Make<'_, D> {
    fn conv(&self, name: &str, input: usize, output: usize, kernel: usize) -> Conv2d<D> {
        Conv2d::new(self.device, self.seed, name, input, output, kernel).with_precision(self.precision)
    }
    fn resnet(&self, name: &str, sides: [usize; 2]) -> ResnetBlock<D> {
        ResnetBlock::new(self.device, self.seed, name, sides, self.norm, None, self.precision)
    }
    fn norm(&self, channels: usize) -> GroupNorm<D> {
        GroupNorm::new(self.device, channels, self.norm)
    }
}

/// The residual blocks of one size of picture, and what changes the size behind them.
#[derive(Clone)]
struct Level<D: Kit, R> {
    resnets: Vec<ResnetBlock<D>>,
    resize: Option<R>,
}

impl<D: Kit, R> Level<D, R> {
    fn blocks<T: Tp<D>>(&self, x: T4<D, T>) -> T4<D, T> {
        self.resnets.iter().fold(x, |x, block| block.forward(x, None))
    }
}

impl<D: Kit, R: Module<D>> Level<D, R> {
    fn visit(&mut self, prefix: &str, resize: &str, v: &mut impl Visitor<D>) {
        for (j, block) in self.resnets.iter_mut().enumerate() {
            block.visit(&format!("{prefix}.resnets.{j}"), v);
        }
        if let Some(conv) = &mut self.resize {
            conv.visit(&format!("{prefix}.{resize}.0.conv"), v);
        }
    }
}

/// Two residual blocks at the smallest size.
#[derive(Clone)]
struct Mid<D: Kit>([ResnetBlock<D>; 2]);

impl<D: Kit> Mid<D> {
    fn new(make: &Make<'_, D>, name: &str, c: usize) -> Self {
        Self([0, 1].map(|i| make.resnet(&format!("{name}.mid_block.resnets.{i}"), [c, c])))
    }
    fn forward<T: Tp<D>>(&self, x: T4<D, T>) -> T4<D, T> {
        self.0.iter().fold(x, |x, block| block.forward(x, None))
    }
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        for (i, block) in self.0.iter_mut().enumerate() {
            block.visit(&format!("{prefix}mid_block.resnets.{i}"), v);
        }
    }
}

/// A picture to the normal distribution of its latents.
#[derive(Clone)]
pub struct Encoder<D: Kit> {
    conv_in: Conv2d<D>,
    down_blocks: Vec<Level<D, Downsample<D>>>,
    mid_block: Mid<D>,
    conv_norm_out: GroupNorm<D>,
    conv_out: Conv2d<D>,
    quant_conv: Option<Conv2d<D>>,
}

impl<D: Kit> Encoder<D> {
    fn new(make: &Make<'_, D>, config: &AutoencoderKlConfig) -> Self {
        let (first, last, z) = (config.channels[0], config.channels[config.channels.len() - 1], config.latent_channels);
        let level = |(i, &c): (usize, &usize)| {
            let name = format!("encoder.down_blocks.{i}");
            let from = config.channels[i.saturating_sub(1)];
            let block = |j| make.resnet(&format!("{name}.resnets.{j}"), [if j == 0 { from } else { c }, c]);
            let down = || {
                let name = format!("{name}.downsamplers.0.conv");
                Downsample::new(make.device, make.seed, &name, c, 0).with_precision(make.precision)
            };
            Level {
                resnets: (0..config.layers_per_block).map(block).collect(),
                resize: (i + 1 < config.channels.len()).then(down),
            }
        };
        Self {
            conv_in: make.conv("encoder.conv_in", config.in_channels, first, 3),
            down_blocks: config.channels.iter().enumerate().map(level).collect(),
            mid_block: Mid::new(make, "encoder", last),
            conv_norm_out: make.norm(last),
            conv_out: make.conv("encoder.conv_out", last, 2 * z, 3),
            quant_conv: config.quant_conv.then(|| make.conv("quant_conv", 2 * z, 2 * z, 1)),
        }
    }

    /// Pictures `(n, in_channels, h, w)`, -1 to 1, to `(n, 2 latent_channels, h / f, w / f)`: means, then log variances.
    pub fn forward<T: Tp<D>>(&self, x: T4<D, T>) -> T4<D, T> {
        let mut x = self.conv_in.forward(x);
        for level in &self.down_blocks {
            x = level.blocks(x);
            if let Some(down) = &level.resize {
                x = down.forward(x);
            }
        }
        x = self.mid_block.forward(x);
        x = self.conv_out.forward(self.conv_norm_out.forward(x, Activation::Silu));
        match &self.quant_conv {
            Some(conv) => conv.forward(x),
            None => x,
        }
    }

    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        let at = |part: &str| format!("{prefix}encoder.{part}");
        self.conv_in.visit(&at("conv_in"), v);
        for (i, level) in self.down_blocks.iter_mut().enumerate() {
            level.visit(&at(&format!("down_blocks.{i}")), "downsamplers", v);
        }
        self.mid_block.visit(&at(""), v);
        self.conv_norm_out.visit(&at("conv_norm_out"), v);
        self.conv_out.visit(&at("conv_out"), v);
        if let Some(conv) = &mut self.quant_conv {
            conv.visit(&format!("{prefix}quant_conv"), v);
        }
    }
}

/// Latents to a picture.
#[derive(Clone)]
pub struct Decoder<D: Kit> {
    post_quant_conv: Option<Conv2d<D>>,
    conv_in: Conv2d<D>,
    mid_block: Mid<D>,
    up_blocks: Vec<Level<D, Conv2d<D>>>,
    conv_norm_out: GroupNorm<D>,
    conv_out: Conv2d<D>,
}

impl<D: Kit> Decoder<D> {
    fn new(make: &Make<'_, D>, config: &AutoencoderKlConfig) -> Self {
        let channels: Vec<usize> = config.channels.iter().rev().copied().collect();
        let (first, last, z) = (channels[0], channels[channels.len() - 1], config.latent_channels);
        let level = |(i, &c): (usize, &usize)| {
            let name = format!("decoder.up_blocks.{i}");
            let from = channels[i.saturating_sub(1)];
            let block = |j| make.resnet(&format!("{name}.resnets.{j}"), [if j == 0 { from } else { c }, c]);
            let up = || make.conv(&format!("{name}.upsamplers.0.conv"), c, c, 3);
            Level {
                resnets: (0..=config.layers_per_block).map(block).collect(),
                resize: (i + 1 < channels.len()).then(up),
            }
        };
        Self {
            post_quant_conv: config.post_quant_conv.then(|| make.conv("post_quant_conv", z, z, 1)),
            conv_in: make.conv("decoder.conv_in", z, first, 3),
            mid_block: Mid::new(make, "decoder", first),
            up_blocks: channels.iter().enumerate().map(level).collect(),
            conv_norm_out: make.norm(last),
            conv_out: make.conv("decoder.conv_out", last, config.out_channels, 3),
        }
    }

    /// Latents `(n, latent_channels, h, w)` to pictures `(n, out_channels, f h, f w)`, -1 to 1.
    pub fn forward<T: Tp<D>>(&self, z: T4<D, T>) -> T4<D, T> {
        let z = match &self.post_quant_conv {
            Some(conv) => conv.forward(z),
            None => z,
        };
        let mut x = self.mid_block.forward(self.conv_in.forward(z));
        for level in &self.up_blocks {
            x = level.blocks(x);
            if let Some(conv) = &level.resize {
                x = conv.forward(D::upsample_nearest2(x));
            }
        }
        self.conv_out.forward(self.conv_norm_out.forward(x, Activation::Silu))
    }

    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        let at = |part: &str| format!("{prefix}decoder.{part}");
        if let Some(conv) = &mut self.post_quant_conv {
            conv.visit(&format!("{prefix}post_quant_conv"), v);
        }
        self.conv_in.visit(&at("conv_in"), v);
        self.mid_block.visit(&at(""), v);
        for (i, level) in self.up_blocks.iter_mut().enumerate() {
            level.visit(&at(&format!("up_blocks.{i}")), "upsamplers", v);
        }
        self.conv_norm_out.visit(&at("conv_norm_out"), v);
        self.conv_out.visit(&at("conv_out"), v);
    }
}

/// Encoder and decoder.
#[derive(Clone)]
pub struct AutoencoderKl<D: Kit> {
    config: AutoencoderKlConfig,
    /// A picture to the normal distribution of its latents.
    pub encoder: Encoder<D>,
    /// Latents to a picture.
    pub decoder: Decoder<D>,
}

impl<D: Kit> AutoencoderKl<D> {
    /// A network with random weights, keyed by seed and name.
    ///
    /// # Errors
    /// A configuration that is no network, or has attention in its middle, which is not trained here.
    pub fn new(device: &D, seed: u64, config: &AutoencoderKlConfig, precision: Precision) -> Result<Self> {
        config.validate().map_err(|e| Error::Usage(format!("the autoencoder: {e}")))?;
        let groups = config.norm_groups;
        if let Some(c) = config.channels.iter().find(|c| !c.is_multiple_of(groups)) {
            return Err(Error::Usage(format!("--channels: {c} channels do not divide into {groups} groups")));
        }
        if config.mid_attention {
            return Err(Error::Usage("an autoencoder with attention in its middle can be run, but not trained".into()));
        }
        let make = Make { device, seed, norm: Norm { groups, eps: EPS }, precision };
        let (encoder, decoder) = (Encoder::new(&make, config), Decoder::new(&make, config));
        Ok(Self { config: config.clone(), encoder, decoder })
    }

    /// The sizes.
    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }
}

impl<D: Kit> Module<D> for AutoencoderKl<D> {
    /// `prefix` is empty, or ends with a dot: `vae.`.
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.encoder.visit(prefix, v);
        self.decoder.visit(prefix, v);
    }
}
