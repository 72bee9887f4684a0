//! Differentiable operations on dfdx's tape, behind one trait: fused on the CPU, composed of dfdx's own operations on
//! CUDA.
//!
//! dfdx 0.13 on stable Rust has no convolution and no pooling, and its `slice` and `accurate_gelu` have wrong
//! gradients: the forms here do without those, or go around the mistake (`composed::conv2d`). Every fused form is checked
//! against its composed form and by finite differences.
pub mod composed;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(test)]
mod tests;

use crate::tensor::{Buffer, T1, T2, T3, T4, Tp};
use crate::world::Across;
pub use cpu::bf16::Bf16;
use cpu::parallel::prelude::*;
use dfdx::optim::AdamConfig;
use dfdx::prelude::*;
use std::rc::Rc;

/// Batch statistics that a training pass has computed, for the caller to fold into its running averages.
pub struct BatchStats {
    /// Mean per channel.
    pub mean: Vec<f32>,
    /// Unbiased variance per channel (divided by `n - 1`, as PyTorch's running variance).
    pub var: Vec<f32>,
}

/// What the operands of a convolution's products are rounded to. Weights, sums, activations and gradients are f32 always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// Not rounded.
    #[default]
    F32,
    /// Rounded to bf16 where kernel and channels are large enough to gain by it.
    Bf16(Bf16),
}

/// What follows a normalization in the same operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// Nothing.
    None,
    /// `x sigmoid(x)`.
    Silu,
}

/// An elementwise function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Function {
    /// `x Phi(x)` with the normal distribution's Phi, exact (not the form with tanh). Hendrycks and Gimpel 2016.
    Gelu,
    /// `x sigmoid(1.702 x)`, as in CLIP.
    QuickGelu,
}

/// What is added to the scores of attention before the softmax.
#[derive(Clone)]
pub enum Mask<'a, D: Device<f32>> {
    /// Nothing: every query sees every key.
    None,
    /// Query `i` sees the keys `0..=i`; there are as many queries as keys.
    Causal,
    /// A matrix (queries, keys), the same for every head; it gets no gradient. A row needs at least one finite value.
    Add(&'a T2<D>),
}

/// A device that the trainer runs on: dfdx's device plus the operations that dfdx lacks.
///
/// Pictures are `(n, c, h, w)`. Weights of a convolution are `(out, in, k, k)` with odd `k`, stride 1 and
/// padding `k / 2`.
pub trait Kit: Device<f32> {
    /// The precision of convolutions that `name` stands for: `f32`, or `bf16` where this device has it. The error says why not.
    fn precision(name: &str) -> Result<Precision, String> {
        match name {
            "f32" => Ok(Precision::F32),
            "bf16" => Err("bf16: not on this device; use f32".into()),
            other => Err(format!("{other}: expected f32 or bf16")),
        }
    }
    /// 2-D convolution, stride 1, same size, in f32; see [`Self::conv2d_in`].
    fn conv2d<T: Tp<Self>>(x: T4<Self, T>, w: &T4<Self>, b: &T1<Self>) -> T4<Self, T> {
        composed::conv2d(x, w, b)
    }
    /// 2-D convolution, stride 1, same size, in a precision that [`Self::precision`] gave.
    fn conv2d_in<T: Tp<Self>>(x: T4<Self, T>, w: &T4<Self>, b: &T1<Self>, _: Precision) -> T4<Self, T> {
        Self::conv2d(x, w, b)
    }
    /// Batch normalization over `(n, h, w)` with batch statistics, then ReLU. Ioffe and Szegedy 2015. With `across`, the
    /// statistics are those of all processes' rows (the composed form takes those of its own).
    fn batch_norm_relu<T: Tp<Self>>(
        x: T4<Self, T>,
        gamma: &T1<Self>,
        beta: &T1<Self>,
        eps: f32,
        _: Option<&Rc<Across>>,
    ) -> (T4<Self, T>, BatchStats) {
        composed::batch_norm_relu(x, gamma, beta, eps)
    }
    /// `x + v` with `v` (n, c) broadcast over height and width.
    fn add_channels<T: Tp<Self>>(x: T4<Self, T>, v: T2<Self, T>) -> T4<Self, T> {
        composed::add_channels(x, v)
    }
    /// Maximum over 2x2 windows, stride 2; height and width even.
    fn max_pool2<T: Tp<Self>>(x: T4<Self, T>) -> T4<Self, T> {
        composed::max_pool2(x)
    }
    /// Bilinear upsampling by 2 with half-pixel centres (PyTorch's `align_corners=False`).
    fn upsample_bilinear2<T: Tp<Self>>(x: T4<Self, T>) -> T4<Self, T> {
        composed::upsample_bilinear2(x)
    }
    /// Concatenation along channels.
    fn concat<T: Tp<Self>>(a: T4<Self, T>, b: T4<Self, T>) -> T4<Self, T> {
        composed::concat(a, b)
    }
    /// Mean squared error over all elements, differentiable in `x`, and its value summed in f64.
    fn mse<T: Tp<Self>>(x: T4<Self, T>, target: &T4<Self>) -> (Tensor<Rank0, f32, Self, T>, f64) {
        composed::mse(x, target)
    }

    /// Down-sampling convolution: stride 2, odd kernel. With `lead` (lines of zeros above and left) `k / 2`, padded alike on all
    /// sides, `(h, w)` to `(ceil(h / 2), ceil(w / 2))`; with `lead` 0 and a larger kernel, zeros below and right only (one line for
    /// `k` 3, as the encoder of diffusers' `AutoencoderKL` pads), to `(floor(h / 2), floor(w / 2))`. In a precision that
    /// [`Self::precision`] gave.
    ///
    /// # Panics
    /// With another `lead`, or where not one window fits.
    fn conv2d_stride2<T: Tp<Self>>(
        x: T4<Self, T>,
        w: &T4<Self>,
        b: &T1<Self>,
        lead: usize,
        _: Precision,
    ) -> T4<Self, T> {
        composed::conv2d_stride2(x, w, b, lead)
    }
    /// Transposed convolution, weights `(in, out, k, k)`; `h` to `(h - 1) stride + k - 2 pad`. PyTorch's
    /// `ConvTranspose2d`.
    fn conv_transpose2d<T: Tp<Self>>(
        x: T4<Self, T>,
        w: &T4<Self>,
        b: &T1<Self>,
        stride: usize,
        pad: usize,
    ) -> T4<Self, T> {
        composed::conv_transpose2d(x, w, b, stride, pad)
    }
    /// Mean over 2x2 windows, stride 2; height and width even.
    fn avg_pool2<T: Tp<Self>>(x: T4<Self, T>) -> T4<Self, T> {
        composed::avg_pool2(x)
    }
    /// Nearest-neighbour upsampling by 2.
    fn upsample_nearest2<T: Tp<Self>>(x: T4<Self, T>) -> T4<Self, T> {
        composed::upsample_nearest2(x)
    }
    /// Normalization over each of `groups` groups of channels, scale and shift per channel, then `activation`.
    /// Wu and He 2018.
    fn group_norm<T: Tp<Self>>(
        x: T4<Self, T>,
        gamma: &T1<Self>,
        beta: &T1<Self>,
        groups: usize,
        eps: f32,
        activation: Activation,
    ) -> T4<Self, T> {
        composed::group_norm(x, gamma, beta, groups, eps, activation)
    }
    /// Normalization over the last axis, scale and shift per feature. Ba et al. 2016.
    fn layer_norm<T: Tp<Self>>(x: T3<Self, T>, gamma: &T1<Self>, beta: &T1<Self>, eps: f32) -> T3<Self, T> {
        composed::layer_norm(x, gamma, beta, eps)
    }
    /// `x sigmoid(x)`, elementwise.
    fn silu<S: Shape, T: Tp<Self>>(x: Tensor<S, f32, Self, T>) -> Tensor<S, f32, Self, T> {
        composed::silu(x)
    }
    /// `softmax(q k^T / sqrt(d) + mask) v` with `q` (b, heads, queries, d), `k` and `v` (b, heads, keys, d). Vaswani
    /// et al. 2017. Views (permuted tensors) are allowed, and copied.
    fn attention<T: Tp<Self>>(q: T4<Self, T>, k: T4<Self, T>, v: T4<Self, T>, mask: Mask<Self>) -> T4<Self, T> {
        composed::attention(q, k, v, mask)
    }
    /// Rows `ids` (row-major `shape`) of a table (rows, e): `(shape.0, shape.1, e)`, differentiable in the table.
    ///
    /// # Panics
    /// If an id is not in the table, or there are not as many as `shape` says.
    fn embedding<T: Tp<Self>>(table: T2<Self, T>, ids: &[usize], shape: (usize, usize)) -> T3<Self, T> {
        composed::embedding(table, ids, shape)
    }

    /// `x w^T + b`, `w` (out, in): `(n, s, in)` to `(n, s, out)`, in a precision that [`Self::precision`] gave. PyTorch's
    /// `Linear`.
    fn linear<T: Tp<Self>>(x: T3<Self, T>, w: &T2<Self>, b: Option<&T1<Self>>, _: Precision) -> T3<Self, T> {
        composed::linear(x, w, b)
    }
    /// An elementwise function.
    fn activate<S: Shape, T: Tp<Self>>(x: Tensor<S, f32, Self, T>, f: Function) -> Tensor<S, f32, Self, T> {
        composed::activate(x, f)
    }
    /// The first half of the features times [`Function::Gelu`] of the second half, `(n, s, 2c)` to `(n, s, c)`. Shazeer 2020.
    fn geglu<T: Tp<Self>>(x: T3<Self, T>) -> T3<Self, T> {
        composed::geglu(x)
    }
    /// [`Self::attention`] with `q` (n, queries, c), `k` and `v` (n, keys, c), each split into heads of `c / heads` consecutive
    /// features, and the heads put back side by side: (n, queries, c).
    ///
    /// # Panics
    /// If `heads` does not divide `c`, or keys and values do not fit the queries.
    fn multi_head_attention<T: Tp<Self>>(
        q: T3<Self, T>,
        k: T3<Self, T>,
        v: T3<Self, T>,
        heads: usize,
        mask: Mask<Self>,
    ) -> T3<Self, T> {
        composed::multi_head_attention(q, k, v, heads, mask)
    }
    /// Pictures `(n, c, h, w)` as sequences of pixels `(n, h w, c)`, row by row.
    fn tokens<T: Tp<Self>>(x: T4<Self, T>) -> T3<Self, T> {
        composed::tokens(x)
    }
    /// Sequences `(n, h w, c)` as pictures `(n, c, h, w)`: the inverse of [`Self::tokens`]. `hw` is (height, width).
    fn pictures<T: Tp<Self>>(x: T3<Self, T>, hw: (usize, usize)) -> T4<Self, T> {
        composed::pictures(x, hw)
    }
    /// `a + b`; both may carry a tape, and the two may be one tensor.
    fn add<S: Shape, T: Tp<Self>>(a: Tensor<S, f32, Self, T>, b: Tensor<S, f32, Self, T>) -> Tensor<S, f32, Self, T> {
        composed::add(a, b)
    }

    /// The values of a raw buffer.
    fn download(&self, v: &Buffer<Self>) -> Vec<f32>;
    /// Overwrites a raw buffer; the lengths are equal.
    fn upload(&self, v: &mut Buffer<Self>, values: &[f32]);
    /// Sum of squares in f64.
    fn sum_squares(&self, v: &Buffer<Self>) -> f64;
    /// One update of a parameter by Adam (dfdx's kernel) with `scale` times its gradient, which is set to zero; `moments` are
    /// the first and the second, `step` is counted from 1.
    fn adam<S: Shape>(
        config: &AdamConfig,
        step: i32,
        scale: f32,
        parameter: &mut Tensor<S, f32, Self>,
        moments: [&mut Buffer<Self>; 2],
        gradient: &mut Buffer<Self>,
    );
    /// `momentum = decay * momentum + scale * gradient`; gives `scale * gradient + decay * momentum` (Nesterov's form), and sets the
    /// gradient to zero.
    fn nesterov(&self, momentum: &mut Buffer<Self>, gradient: &mut Buffer<Self>, decay: f32, scale: f32) -> Vec<f32> {
        let (mut m, mut g) = (self.download(momentum), self.download(gradient));
        let ahead = cpu::update::nesterov(&mut m, &mut g, decay, scale);
        self.upload(momentum, &m);
        self.upload(gradient, &g);
        ahead
    }
    /// `parameter -= by * direction + decay * parameter`.
    fn walk<S: Shape>(parameter: &mut Tensor<S, f32, Self>, direction: &[f32], by: f32, decay: f32) {
        let mut values = parameter.as_vec();
        cpu::update::walk(&mut values, direction, by, decay);
        parameter.copy_from(&values);
    }
    /// `average = decay * average + (1 - decay) * new`.
    fn average<S: Shape>(average: &mut Tensor<S, f32, Self>, new: &Tensor<S, f32, Self>, decay: f64);
}

impl Kit for Cpu {
    fn precision(name: &str) -> Result<Precision, String> {
        match name {
            "f32" => Ok(Precision::F32),
            "bf16" => Bf16::detect().map(Precision::Bf16).ok_or_else(|| {
                "bf16: this CPU lacks AVX-512 BF16 (AMD Zen 4, Intel Cooper Lake and Sapphire Rapids have it); use f32".into()
            }),
            other => Err(format!("{other}: expected f32 or bf16")),
        }
    }
    fn conv2d<T: Tp<Self>>(x: T4<Self, T>, w: &T4<Self>, b: &T1<Self>) -> T4<Self, T> {
        cpu::conv2d::conv2d(x, w, b, Precision::F32)
    }
    fn conv2d_in<T: Tp<Self>>(x: T4<Self, T>, w: &T4<Self>, b: &T1<Self>, precision: Precision) -> T4<Self, T> {
        cpu::conv2d::conv2d(x, w, b, precision)
    }
    fn batch_norm_relu<T: Tp<Self>>(
        x: T4<Self, T>,
        gamma: &T1<Self>,
        beta: &T1<Self>,
        eps: f32,
        across: Option<&Rc<Across>>,
    ) -> (T4<Self, T>, BatchStats) {
        cpu::batch_norm::batch_norm_relu(x, gamma, beta, eps, across)
    }
    fn add_channels<T: Tp<Self>>(x: T4<Self, T>, v: T2<Self, T>) -> T4<Self, T> {
        cpu::add_channels::add_channels(x, v)
    }
    fn max_pool2<T: Tp<Self>>(x: T4<Self, T>) -> T4<Self, T> {
        cpu::max_pool::max_pool2(x)
    }
    fn upsample_bilinear2<T: Tp<Self>>(x: T4<Self, T>) -> T4<Self, T> {
        cpu::upsample::upsample_bilinear2(x)
    }
    fn concat<T: Tp<Self>>(a: T4<Self, T>, b: T4<Self, T>) -> T4<Self, T> {
        cpu::concat::concat(a, b)
    }
    fn mse<T: Tp<Self>>(x: T4<Self, T>, target: &T4<Self>) -> (Tensor<Rank0, f32, Self, T>, f64) {
        cpu::mse::mse(x, target)
    }
    fn conv2d_stride2<T: Tp<Self>>(
        x: T4<Self, T>,
        w: &T4<Self>,
        b: &T1<Self>,
        lead: usize,
        precision: Precision,
    ) -> T4<Self, T> {
        cpu::conv2d_stride2::conv2d_stride2(x, w, b, lead, precision)
    }
    fn conv_transpose2d<T: Tp<Self>>(
        x: T4<Self, T>,
        w: &T4<Self>,
        b: &T1<Self>,
        stride: usize,
        pad: usize,
    ) -> T4<Self, T> {
        cpu::conv_transpose2d::conv_transpose2d(x, w, b, stride, pad)
    }
    fn avg_pool2<T: Tp<Self>>(x: T4<Self, T>) -> T4<Self, T> {
        cpu::avg_pool::avg_pool2(x)
    }
    fn upsample_nearest2<T: Tp<Self>>(x: T4<Self, T>) -> T4<Self, T> {
        cpu::upsample_nearest::upsample_nearest2(x)
    }
    fn group_norm<T: Tp<Self>>(
        x: T4<Self, T>,
        gamma: &T1<Self>,
        beta: &T1<Self>,
        groups: usize,
        eps: f32,
        activation: Activation,
    ) -> T4<Self, T> {
        cpu::group_norm::group_norm(x, gamma, beta, groups, eps, activation)
    }
    fn layer_norm<T: Tp<Self>>(x: T3<Self, T>, gamma: &T1<Self>, beta: &T1<Self>, eps: f32) -> T3<Self, T> {
        cpu::layer_norm::layer_norm(x, gamma, beta, eps)
    }
    fn silu<S: Shape, T: Tp<Self>>(x: Tensor<S, f32, Self, T>) -> Tensor<S, f32, Self, T> {
        cpu::silu::silu(x)
    }
    fn attention<T: Tp<Self>>(q: T4<Self, T>, k: T4<Self, T>, v: T4<Self, T>, mask: Mask<Self>) -> T4<Self, T> {
        cpu::attention::attention(q, k, v, mask)
    }
    fn embedding<T: Tp<Self>>(table: T2<Self, T>, ids: &[usize], shape: (usize, usize)) -> T3<Self, T> {
        cpu::embedding::embedding(table, ids, shape)
    }

    fn linear<T: Tp<Self>>(x: T3<Self, T>, w: &T2<Self>, b: Option<&T1<Self>>, precision: Precision) -> T3<Self, T> {
        cpu::linear::linear(x, w, b, precision)
    }
    fn activate<S: Shape, T: Tp<Self>>(x: Tensor<S, f32, Self, T>, f: Function) -> Tensor<S, f32, Self, T> {
        cpu::activate::activate(x, f)
    }
    fn geglu<T: Tp<Self>>(x: T3<Self, T>) -> T3<Self, T> {
        cpu::activate::geglu(x)
    }
    fn multi_head_attention<T: Tp<Self>>(
        q: T3<Self, T>,
        k: T3<Self, T>,
        v: T3<Self, T>,
        heads: usize,
        mask: Mask<Self>,
    ) -> T3<Self, T> {
        cpu::attention::multi_head_attention(q, k, v, heads, mask)
    }
    fn tokens<T: Tp<Self>>(x: T4<Self, T>) -> T3<Self, T> {
        cpu::tokens::tokens(x)
    }
    fn pictures<T: Tp<Self>>(x: T3<Self, T>, hw: (usize, usize)) -> T4<Self, T> {
        cpu::tokens::pictures(x, hw)
    }
    fn add<S: Shape, T: Tp<Self>>(a: Tensor<S, f32, Self, T>, b: Tensor<S, f32, Self, T>) -> Tensor<S, f32, Self, T> {
        cpu::add::add(a, b)
    }

    fn download(&self, v: &Buffer<Self>) -> Vec<f32> {
        v.to_vec()
    }
    fn upload(&self, v: &mut Buffer<Self>, values: &[f32]) {
        v.copy_from_slice(values);
    }
    fn sum_squares(&self, v: &Buffer<Self>) -> f64 {
        // Chunks of fixed size, added in order: the same on any number of threads.
        v.par_chunks(1 << 14).map(cpu::sum::sum_squares).collect().iter().sum()
    }
    fn adam<S: Shape>(
        config: &AdamConfig,
        step: i32,
        scale: f32,
        parameter: &mut Tensor<S, f32, Self>,
        [first, second]: [&mut Buffer<Self>; 2],
        gradient: &mut Buffer<Self>,
    ) {
        cpu::update::adam(config, step, scale, cpu::storage::data_mut(parameter), [first, second], gradient);
    }
    fn nesterov(&self, momentum: &mut Buffer<Self>, gradient: &mut Buffer<Self>, decay: f32, scale: f32) -> Vec<f32> {
        cpu::update::nesterov(momentum, gradient, decay, scale)
    }
    fn walk<S: Shape>(parameter: &mut Tensor<S, f32, Self>, direction: &[f32], by: f32, decay: f32) {
        cpu::update::walk(cpu::storage::data_mut(parameter), direction, by, decay);
    }
    fn average<S: Shape>(average: &mut Tensor<S, f32, Self>, new: &Tensor<S, f32, Self>, decay: f64) {
        cpu::update::average(cpu::storage::data_mut(average), cpu::storage::data(new), decay);
    }
}
