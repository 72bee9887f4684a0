//! Linear, convolution and normalization layers, initialized as PyTorch does.
use crate::ops::{Activation, BatchStats, Kit, Precision};
use crate::param::{Kind, Module, Visitor};
use crate::tensor::{T1, T2, T4, Tp};
use crate::world::Across;
use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;
use std::rc::Rc;

/// `n` draws from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), keyed by seed and parameter name (PyTorch's default initialization).
pub(super) fn uniform(seed: u64, name: &str, n: usize, fan_in: usize) -> Vec<f32> {
    let bound = 1.0 / (fan_in as f32).sqrt();
    let mut stream = Stream::new(seed, name, 0);
    (0..n).map(|_| (stream.uniform() * 2.0 - 1.0) * bound).collect()
}

/// `y = x W^T + b`, with `W` (out, in).
#[derive(Clone)]
pub struct Linear<D: Kit> {
    weight: T2<D>,
    bias: T1<D>,
}

impl<D: Kit> Linear<D> {
    /// A layer with random weights.
    pub fn new(device: &D, seed: u64, name: &str, input: usize, output: usize) -> Self {
        let w = uniform(seed, &format!("{name}.weight"), input * output, input);
        let b = uniform(seed, &format!("{name}.bias"), output, input);
        Self { weight: device.tensor_from_vec(w, (output, input)), bias: device.tensor_from_vec(b, (output,)) }
    }
    /// A layer of given weights, row-major (out, in), and biases.
    ///
    /// # Panics
    /// If there are not a whole number of weights for each bias.
    pub fn from_values(device: &D, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let shape = (bias.len(), weight.len() / bias.len());
        Self { weight: device.tensor_from_vec(weight, shape), bias: device.tensor_from_vec(bias, (shape.0,)) }
    }
    /// `(n, in)` to `(n, out)`.
    pub fn forward<T: Tp<D>>(&self, x: T2<D, T>) -> T2<D, T> {
        let ((n, i), o) = (*x.shape(), self.bias.shape().0);
        // As sequences of one token: dfdx's own product would be shared among other threads than the operations'.
        D::linear(x.reshape_like(&(n, 1, i)), &self.weight, Some(&self.bias), Precision::F32).reshape_like(&(n, o))
    }
}

impl<D: Kit> Module<D> for Linear<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        v.visit(&format!("{prefix}.weight"), &mut self.weight, Kind::Weight);
        v.visit(&format!("{prefix}.bias"), &mut self.bias, Kind::Weight);
    }
}

/// 2-D convolution, stride 1, same size, weights (out, in, k, k).
#[derive(Clone)]
pub struct Conv2d<D: Kit> {
    weight: T4<D>,
    bias: T1<D>,
    /// Of the products; f32 to begin with.
    pub precision: Precision,
}

impl<D: Kit> Conv2d<D> {
    /// A layer with random weights.
    pub fn new(device: &D, seed: u64, name: &str, input: usize, output: usize, kernel: usize) -> Self {
        let fan_in = input * kernel * kernel;
        let w = uniform(seed, &format!("{name}.weight"), output * fan_in, fan_in);
        let b = uniform(seed, &format!("{name}.bias"), output, fan_in);
        Self {
            weight: device.tensor_from_vec(w, (output, input, kernel, kernel)),
            bias: device.tensor_from_vec(b, (output,)),
            precision: Precision::F32,
        }
    }
    /// The same layer whose products are computed in `precision`.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
    /// The same layer with weights and biases of zero: the last of a branch beside a shortcut, which then begins as the
    /// identity (Goyal et al. 2017, section 5.1).
    #[must_use]
    pub fn zeroed(mut self) -> Self {
        let (w, b) = (*self.weight.shape(), *self.bias.shape());
        self.weight = self.weight.device().zeros_like(&w);
        self.bias = self.bias.device().zeros_like(&b);
        self
    }
    /// `(n, in, h, w)` to `(n, out, h, w)`.
    pub fn forward<T: Tp<D>>(&self, x: T4<D, T>) -> T4<D, T> {
        D::conv2d_in(x, &self.weight, &self.bias, self.precision)
    }
    /// With stride 2: `(n, in, h, w)` to `(n, out, ceil(h / 2), ceil(w / 2))`.
    pub fn forward_stride2<T: Tp<D>>(&self, x: T4<D, T>) -> T4<D, T> {
        let lead = self.weight.shape().2 / 2;
        D::conv2d_stride2(x, &self.weight, &self.bias, lead, self.precision)
    }
}

impl<D: Kit> Module<D> for Conv2d<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        v.visit(&format!("{prefix}.weight"), &mut self.weight, Kind::Weight);
        v.visit(&format!("{prefix}.bias"), &mut self.bias, Kind::Weight);
    }
}

/// Halves a picture: 3x3 convolution, stride 2, weights (out, in, 3, 3).
#[derive(Clone)]
pub struct Downsample<D: Kit> {
    weight: T4<D>,
    bias: T1<D>,
    lead: usize,
    precision: Precision,
}

impl<D: Kit> Downsample<D> {
    /// A layer with random weights; `lead` lines of zeros above and left of the picture: 1, or 0 for one line below and
    /// right only, as diffusers' encoder has it.
    pub fn new(device: &D, seed: u64, name: &str, channels: usize, lead: usize) -> Self {
        let Conv2d { weight, bias, precision } = Conv2d::new(device, seed, name, channels, channels, 3);
        Self { weight, bias, lead, precision }
    }
    /// The same layer whose products are computed in `precision`.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
    /// `(n, c, h, w)` to `(n, c, h / 2, w / 2)`; the sides are even.
    pub fn forward<T: Tp<D>>(&self, x: T4<D, T>) -> T4<D, T> {
        D::conv2d_stride2(x, &self.weight, &self.bias, self.lead, self.precision)
    }
}

impl<D: Kit> Module<D> for Downsample<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        v.visit(&format!("{prefix}.weight"), &mut self.weight, Kind::Weight);
        v.visit(&format!("{prefix}.bias"), &mut self.bias, Kind::Weight);
    }
}

/// Ranges of channels of a group normalization, and what is added to their variance.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Norm {
    /// Ranges of channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
}

/// Group normalization.
#[derive(Clone)]
pub struct GroupNorm<D: Kit> {
    weight: T1<D>,
    bias: T1<D>,
    norm: Norm,
}

impl<D: Kit> GroupNorm<D> {
    /// Scale 1, shift 0.
    pub fn new(device: &D, channels: usize, norm: Norm) -> Self {
        let fill = |v: f32| device.tensor_from_vec(vec![v; channels], (channels,));
        Self { weight: fill(1.0), bias: fill(0.0), norm }
    }
    /// Normalizes `(n, c, h, w)`, then applies `activation`.
    pub fn forward<T: Tp<D>>(&self, x: T4<D, T>, activation: Activation) -> T4<D, T> {
        D::group_norm(x, &self.weight, &self.bias, self.norm.groups, self.norm.eps, activation)
    }
}

impl<D: Kit> Module<D> for GroupNorm<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        v.visit(&format!("{prefix}.weight"), &mut self.weight, Kind::Weight);
        v.visit(&format!("{prefix}.bias"), &mut self.bias, Kind::Weight);
    }
}

/// Batch normalization followed by ReLU; eps 1e-5, momentum 0.1, as PyTorch's `BatchNorm2d`.
#[derive(Clone)]
pub struct BatchNormRelu<D: Kit> {
    weight: T1<D>,
    bias: T1<D>,
    running_mean: T1<D>,
    running_var: T1<D>,
    /// Those with whom a training pass shares its statistics.
    pub across: Option<Rc<Across>>,
    /// It was folded into the layer before it, and is passed over: only the ReLU is left.
    pub folded: bool,
}

/// Added to the variance before its root is taken.
pub const BATCH_NORM_EPS: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

impl<D: Kit> BatchNormRelu<D> {
    /// Scale 1, shift 0, running mean 0, running variance 1.
    pub fn new(device: &D, channels: usize) -> Self {
        let fill = |v: f32| device.tensor_from_vec(vec![v; channels], (channels,));
        let [running_mean, running_var] = [0.0, 1.0].map(fill);
        Self { weight: fill(1.0), bias: fill(0.0), running_mean, running_var, across: None, folded: false }
    }
    /// Normalizes with the batch's own statistics and folds them into the running ones.
    pub fn forward_train<T: Tp<D>>(&mut self, x: T4<D, T>) -> T4<D, T> {
        if self.folded {
            return x.relu();
        }
        let (y, BatchStats { mean, var }) =
            D::batch_norm_relu(x, &self.weight, &self.bias, BATCH_NORM_EPS, self.across.as_ref());
        for (running, new) in [(&mut self.running_mean, mean), (&mut self.running_var, var)] {
            let mixed: Vec<f32> =
                running.as_vec().iter().zip(&new).map(|(r, n)| (1.0 - MOMENTUM) * r + MOMENTUM * n).collect();
            running.copy_from(&mixed);
        }
        y
    }
    /// Normalizes with the running statistics.
    pub fn forward_eval<T: Tp<D>>(&self, x: T4<D, T>) -> T4<D, T> {
        if self.folded {
            return x.relu();
        }
        let shape = *x.shape();
        let scale = self.weight.clone() / (self.running_var.clone() + BATCH_NORM_EPS).sqrt();
        let shift = self.bias.clone() - self.running_mean.clone() * scale.clone();
        let wide = |v: T1<D>| v.broadcast_like::<_, Axes3<0, 2, 3>>(&shape);
        (x * wide(scale) + wide(shift)).relu()
    }
}

impl<D: Kit> Module<D> for BatchNormRelu<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        v.visit(&format!("{prefix}.weight"), &mut self.weight, Kind::Weight);
        v.visit(&format!("{prefix}.bias"), &mut self.bias, Kind::Weight);
        v.visit(&format!("{prefix}.running_mean"), &mut self.running_mean, Kind::Buffer);
        v.visit(&format!("{prefix}.running_var"), &mut self.running_var, Kind::Buffer);
    }
}
