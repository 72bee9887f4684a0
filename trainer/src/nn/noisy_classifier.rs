//! A classifier of noised pictures that knows the time: what classifier guidance takes its gradient from (book step 10.3;
//! Dhariwal and Nichol 2021). Its blocks are those of the book's U-Net.
use super::book_unet::ConvBlock;
use super::layers::Linear;
use crate::ops::Kit;
use crate::param::{Module, Visitor};
use crate::tensor::{T2, T4, Tp};
use dfdx::prelude::*;

/// Length of the penultimate features.
pub const FEATURES: usize = 128;

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoisyClassifierConfig {
    /// Channels of a picture.
    pub in_channels: usize,
    /// Channels of the blocks; a 2x2 maximum follows each but the last.
    pub channels: Vec<usize>,
    /// Length of the time vector.
    pub time_dim: usize,
    /// Number of labels.
    pub label_count: usize,
    /// Picture height and width, multiples of 2 to the power of the maxima.
    pub size: (usize, usize),
}

impl NoisyClassifierConfig {
    /// Height and width of what the head sees.
    pub fn bottom(&self) -> (usize, usize) {
        let halvings = self.channels.len().saturating_sub(1);
        (self.size.0 >> halvings, self.size.1 >> halvings)
    }
}

/// The network: `x_t` and `t` to logits.
#[derive(Clone)]
pub struct NoisyClassifier<D: Kit> {
    config: NoisyClassifierConfig,
    blocks: Vec<ConvBlock<D>>,
    /// A convolution as large as what is left of the picture, that is a linear layer of it, (features, channels height width).
    head: Linear<D>,
    out: Linear<D>,
}

impl<D: Kit> NoisyClassifier<D> {
    /// A network with random weights, the same for the same seed on every device.
    pub fn new(device: &D, seed: u64, config: NoisyClassifierConfig) -> Self {
        let inputs = [config.in_channels].into_iter().chain(config.channels.iter().copied());
        let block = |(i, (from, to)): (usize, (usize, &usize))| {
            ConvBlock::new(device, seed, &format!("block{}", i + 1), from, *to, config.time_dim)
        };
        let blocks = inputs.zip(&config.channels).enumerate().map(block).collect();
        let (height, width) = config.bottom();
        let flat = config.channels.last().copied().unwrap_or(config.in_channels) * height * width;
        let head = Linear::new(device, seed, "head", flat, FEATURES);
        let out = Linear::new(device, seed, "out", FEATURES, config.label_count);
        Self { config, blocks, head, out }
    }

    /// The sizes.
    pub fn config(&self) -> &NoisyClassifierConfig {
        &self.config
    }

    /// Training pass: batch statistics. `x` (n, c, h, w), `time` (n, time_dim), to logits (n, labels).
    pub fn train<T: Tp<D>>(&mut self, mut x: T4<D, T>, time: &T2<D>) -> T2<D, T> {
        for (i, block) in self.blocks.iter_mut().enumerate() {
            x = if i > 0 { D::max_pool2(x) } else { x };
            x = block.train(x, time);
        }
        self.classify(x)
    }

    /// Evaluation pass: running statistics. Arguments as in [`Self::train`]; a tape gives the gradient of the picture.
    pub fn eval<T: Tp<D>>(&self, mut x: T4<D, T>, time: &T2<D>) -> T2<D, T> {
        for (i, block) in self.blocks.iter().enumerate() {
            x = if i > 0 { D::max_pool2(x) } else { x };
            x = block.eval(x, time);
        }
        self.classify(x)
    }

    fn classify<T: Tp<D>>(&self, x: T4<D, T>) -> T2<D, T> {
        let (n, c, h, w) = *x.shape();
        self.out.forward(self.head.forward(x.reshape_like(&(n, c * h * w))).relu())
    }
}

impl<D: Kit> Module<D> for NoisyClassifier<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        for (i, block) in self.blocks.iter_mut().enumerate() {
            block.visit(&format!("{prefix}block{}", i + 1), v);
        }
        self.head.visit(&format!("{prefix}head"), v);
        self.out.visit(&format!("{prefix}out"), v);
    }
}
