//! The U-Net of the book's steps 9 and 10: two convolutions a block, the time (and label) vector added to each block's input.
use super::layers::{BatchNormRelu, Conv2d, Linear};
use crate::ops::{Kit, Precision};
use crate::param::{Kind, Module, Visitor};
use crate::tensor::{T2, T4, Tp};
use crate::world::Across;
use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;
use std::rc::Rc;

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookUnetConfig {
    /// Channels of a picture.
    pub in_channels: usize,
    /// Channels of the blocks from the top down; the last is the bottom's. The book: 64, 128, 256.
    pub channels: Vec<usize>,
    /// Length of the time vector; the book: 100.
    pub time_dim: usize,
    /// Number of labels; 0 is an unconditional network.
    pub label_count: usize,
}

/// `x + mlp(v)`, then twice convolution, batch normalization, ReLU.
#[derive(Clone)]
pub(super) struct ConvBlock<D: Kit> {
    mlp: [Linear<D>; 2],
    convs: [(Conv2d<D>, BatchNormRelu<D>); 2],
}

impl<D: Kit> ConvBlock<D> {
    pub(super) fn new(device: &D, seed: u64, name: &str, input: usize, output: usize, time_dim: usize) -> Self {
        let linear = |i: usize, from, to| Linear::new(device, seed, &format!("{name}.mlp.{i}"), from, to);
        let conv = |i: usize, from| {
            let conv = Conv2d::new(device, seed, &format!("{name}.convs.{i}"), from, output, 3);
            (conv, BatchNormRelu::new(device, output))
        };
        Self { mlp: [linear(0, time_dim, input), linear(2, input, input)], convs: [conv(0, input), conv(3, output)] }
    }

    fn time<T: Tp<D>>(&self, v: T2<D, T>) -> T2<D, T> {
        self.mlp[1].forward(self.mlp[0].forward(v).relu())
    }

    pub(super) fn train<T: Tp<D>>(&mut self, x: T4<D, T>, v: &T2<D>) -> T4<D, T> {
        let mut x = D::add_channels(x, self.time(v.retaped::<T>()));
        for (conv, norm) in &mut self.convs {
            x = norm.forward_train(conv.forward(x));
        }
        x
    }

    pub(super) fn eval<T: Tp<D>>(&self, x: T4<D, T>, v: &T2<D>) -> T4<D, T> {
        let mut x = D::add_channels(x, self.time(v.retaped::<T>()));
        for (conv, norm) in &self.convs {
            x = norm.forward_eval(conv.forward(x));
        }
        x
    }
}

impl<D: Kit> Module<D> for ConvBlock<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.mlp[0].visit(&format!("{prefix}.mlp.0"), v);
        self.mlp[1].visit(&format!("{prefix}.mlp.2"), v);
        for (i, (conv, norm)) in self.convs.iter_mut().enumerate() {
            conv.visit(&format!("{prefix}.convs.{}", 3 * i), v);
            norm.visit(&format!("{prefix}.convs.{}", 3 * i + 1), v);
        }
    }
}

/// The network: predicts the noise in a noisy picture.
#[derive(Clone)]
pub struct BookUnet<D: Kit> {
    config: BookUnetConfig,
    label_emb: Option<T2<D>>,
    down: Vec<ConvBlock<D>>,
    bot: ConvBlock<D>,
    up: Vec<ConvBlock<D>>,
    out: Conv2d<D>,
}

/// Name of the label table's tensor.
pub const LABEL_EMB: &str = "label_emb.weight";

impl<D: Kit> BookUnet<D> {
    /// A network with random weights, the same for the same seed on every device.
    pub fn new(device: &D, seed: u64, config: BookUnetConfig) -> Self {
        let (channels, time) = (&config.channels, config.time_dim);
        let depth = channels.len() - 1;
        let block = |name: String, from, to| ConvBlock::new(device, seed, &name, from, to, time);
        let input = |level: usize| if level == 0 { config.in_channels } else { channels[level - 1] };
        let down = (0..depth).map(|l| block(format!("down{}", l + 1), input(l), channels[l])).collect();
        let bot = block("bot1".into(), input(depth), channels[depth]);
        let up =
            (0..depth).map(|l| block(format!("up{}", l + 1), channels[l + 1] + channels[l], channels[l])).collect();
        let out = Conv2d::new(device, seed, "out", channels[0], config.in_channels, 1);
        let label_emb = (config.label_count > 0).then(|| {
            let mut stream = Stream::new(seed, LABEL_EMB, 0);
            let values = (0..config.label_count * time).map(|_| stream.normal()).collect::<Vec<f32>>();
            device.tensor_from_vec(values, (config.label_count, time))
        });
        Self { config, label_emb, down, bot, up, out }
    }

    /// The same network with the products of its convolutions in another precision.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        for (conv, _) in self.pairs() {
            conv.precision = precision;
        }
        self.out.precision = precision;
        self
    }

    /// The same network, whose norms were folded into its convolutions and are passed over, in training too.
    #[must_use]
    pub fn with_norms_folded(mut self) -> Self {
        self.pairs().for_each(|(_, norm)| norm.folded = true);
        self
    }

    /// The same network, whose training passes take batch statistics over all processes' rows.
    #[must_use]
    pub fn across(mut self, across: &Rc<Across>) -> Self {
        for (_, norm) in self.pairs() {
            norm.across = Some(across.clone());
        }
        self
    }

    fn pairs(&mut self) -> impl Iterator<Item = &mut (Conv2d<D>, BatchNormRelu<D>)> {
        let blocks = self.down.iter_mut().chain([&mut self.bot]).chain(&mut self.up);
        blocks.flat_map(|b| &mut b.convs)
    }

    /// The sizes.
    pub fn config(&self) -> &BookUnetConfig {
        &self.config
    }

    /// The vector of time and label, `(n, time_dim)`: `time` plus the label's row. `labels` is one-hot `(n, labels)`; a row of
    /// zeros is the null label.
    fn condition<T: Tp<D>>(&self, time: T2<D>, labels: Option<T2<D>>) -> T2<D, T> {
        match (&self.label_emb, labels) {
            (Some(table), Some(one_hot)) => one_hot.retaped::<T>().matmul(table.clone()) + time,
            _ => time.retaped::<T>(),
        }
    }

    /// Training pass: batch statistics. `x` (n, c, h, w), `time` (n, time_dim), `labels` one-hot (n, labels).
    pub fn train<T: Tp<D>>(&mut self, x: T4<D, T>, time: T2<D>, labels: Option<T2<D>>) -> T4<D, T> {
        let (v, tape) = self.condition::<T>(time, labels).split_tape();
        let (x, x_tape) = x.split_tape();
        let mut x = x.put_tape(x_tape.merge(tape));
        let mut skips = Vec::new();
        for block in &mut self.down {
            let (skip, tape) = block.train(x, &v).split_tape();
            skips.push(skip.clone());
            x = D::max_pool2(skip.put_tape(tape));
        }
        x = self.bot.train(x, &v);
        for (block, skip) in self.up.iter_mut().zip(skips).rev() {
            x = block.train(D::concat(D::upsample_bilinear2(x), skip.retaped::<T>()), &v);
        }
        self.out.forward(x)
    }

    /// Evaluation pass: running statistics. Arguments as in [`Self::train`].
    pub fn eval(&self, x: T4<D>, time: T2<D>, labels: Option<T2<D>>) -> T4<D> {
        let v = self.condition::<NoneTape>(time, labels);
        let mut x = x;
        let mut skips = Vec::new();
        for block in &self.down {
            x = block.eval(x, &v);
            skips.push(x.clone());
            x = D::max_pool2(x);
        }
        x = self.bot.eval(x, &v);
        for (block, skip) in self.up.iter().zip(skips).rev() {
            x = block.eval(D::concat(D::upsample_bilinear2(x), skip), &v);
        }
        self.out.forward(x)
    }
}

impl<D: Kit> Module<D> for BookUnet<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        if let Some(table) = &mut self.label_emb {
            v.visit(&format!("{prefix}{LABEL_EMB}"), table, Kind::Table);
        }
        for (i, block) in self.down.iter_mut().enumerate() {
            block.visit(&format!("{prefix}down{}", i + 1), v);
        }
        self.bot.visit(&format!("{prefix}bot1"), v);
        for (i, block) in self.up.iter_mut().enumerate() {
            block.visit(&format!("{prefix}up{}", i + 1), v);
        }
        self.out.visit(&format!("{prefix}out"), v);
    }
}
