//! Layers of sequences `(n, tokens, features)`: a linear map of each token, layer normalization, attention.
use super::layers::uniform;
use crate::ops::{Kit, Mask, Precision};
use crate::param::{Kind, Module, Visitor};
use crate::tensor::{T1, T2, T3, Tp};
use dfdx::prelude::*;

/// `y = x W^T + b` of every token, with `W` (out, in).
#[derive(Clone)]
pub struct TokenLinear<D: Kit> {
    weight: T2<D>,
    bias: Option<T1<D>>,
    precision: Precision,
}

impl<D: Kit> TokenLinear<D> {
    /// A layer with random weights, as PyTorch's `Linear` begins.
    pub fn new(
        device: &D,
        seed: u64,
        name: &str,
        [input, output]: [usize; 2],
        bias: bool,
        precision: Precision,
    ) -> Self {
        let weight = uniform(seed, &format!("{name}.weight"), input * output, input);
        let bias = bias.then(|| uniform(seed, &format!("{name}.bias"), output, input));
        Self {
            weight: device.tensor_from_vec(weight, (output, input)),
            bias: bias.map(|b| device.tensor_from_vec(b, (output,))),
            precision,
        }
    }

    /// The same layer with weights and biases of zero: the last of a branch beside a shortcut, which then begins as the
    /// identity (Goyal et al. 2017, section 5.1).
    #[must_use]
    pub fn zeroed(mut self) -> Self {
        self.weight = self.weight.device().zeros_like(self.weight.shape());
        self.bias = self.bias.map(|b| b.device().zeros_like(b.shape()));
        self
    }

    /// `(n, tokens, in)` to `(n, tokens, out)`.
    pub fn forward<T: Tp<D>>(&self, x: T3<D, T>) -> T3<D, T> {
        D::linear(x, &self.weight, self.bias.as_ref(), self.precision)
    }
}

impl<D: Kit> Module<D> for TokenLinear<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        v.visit(&format!("{prefix}.weight"), &mut self.weight, Kind::Weight);
        if let Some(bias) = &mut self.bias {
            v.visit(&format!("{prefix}.bias"), bias, Kind::Weight);
        }
    }
}

/// Layer normalization of every token (Ba et al. 2016).
#[derive(Clone)]
pub struct LayerNorm<D: Kit> {
    weight: T1<D>,
    bias: T1<D>,
    eps: f32,
}

impl<D: Kit> LayerNorm<D> {
    /// Scale 1, shift 0; `eps` is added to the variance.
    pub fn new(device: &D, features: usize, eps: f32) -> Self {
        let fill = |v: f32| device.tensor_from_vec(vec![v; features], (features,));
        Self { weight: fill(1.0), bias: fill(0.0), eps }
    }

    /// Normalizes `(n, tokens, features)`.
    pub fn forward<T: Tp<D>>(&self, x: T3<D, T>) -> T3<D, T> {
        D::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

impl<D: Kit> Module<D> for LayerNorm<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        v.visit(&format!("{prefix}.weight"), &mut self.weight, Kind::Weight);
        v.visit(&format!("{prefix}.bias"), &mut self.bias, Kind::Weight);
    }
}

/// What the projections of an attention are called, and which have a bias: the output's always has.
#[derive(Clone, Copy, Debug)]
pub struct AttentionNames {
    /// To queries, keys, values, and of the heads' answers.
    pub parts: [&'static str; 4],
    /// Whether the first three have a bias.
    pub bias: bool,
}

impl AttentionNames {
    /// diffusers' in a U-Net.
    pub const UNET: Self = Self { parts: ["to_q", "to_k", "to_v", "to_out.0"], bias: false };
    /// transformers' in CLIP.
    pub const CLIP: Self = Self { parts: ["q_proj", "k_proj", "v_proj", "out_proj"], bias: true };
}

/// Multi-head attention with its projections (Vaswani et al. 2017, section 3.2.2).
#[derive(Clone)]
pub struct Attention<D: Kit> {
    names: AttentionNames,
    heads: usize,
    query: TokenLinear<D>,
    key: TokenLinear<D>,
    value: TokenLinear<D>,
    out: TokenLinear<D>,
}

impl<D: Kit> Attention<D> {
    /// A layer with random weights: tokens of `width` features, divided by `heads`, see tokens of `seen` features.
    pub fn new(
        (device, seed, name): (&D, u64, &str),
        names: AttentionNames,
        [width, seen]: [usize; 2],
        heads: usize,
        precision: Precision,
    ) -> Self {
        let layer = |part: usize, input: usize, bias: bool| {
            let name = format!("{name}.{}", names.parts[part]);
            TokenLinear::new(device, seed, &name, [input, width], bias, precision)
        };
        Self {
            names,
            heads,
            query: layer(0, width, names.bias),
            key: layer(1, seen, names.bias),
            value: layer(2, seen, names.bias),
            out: layer(3, width, true),
        }
    }

    /// Every token of `x` (n, tokens, width) sees those of `seen` (n, keys, seen), whose tape is part of `x`'s, or, with
    /// none, those of `x` itself, as `mask` lets it.
    pub fn forward<T: Tp<D>>(&self, x: T3<D, T>, seen: Option<&T3<D>>, mask: Mask<'_, D>) -> T3<D, T> {
        let (x, tape) = x.split_tape();
        let seen = seen.unwrap_or(&x);
        let (k, v) = (self.key.forward(seen.retaped::<T>()), self.value.forward(seen.retaped::<T>()));
        let q = self.query.forward(x.put_tape(tape));
        self.out.forward(D::multi_head_attention(q, k, v, self.heads, mask))
    }
}

impl<D: Kit> Module<D> for Attention<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        let layers = [&mut self.query, &mut self.key, &mut self.value, &mut self.out];
        for (part, layer) in self.names.parts.iter().zip(layers) {
            layer.visit(&format!("{prefix}.{part}"), v);
        }
    }
}
