//! The matcher: two small towers that bring a picture and its caption to nearby vectors (Radford et al. 2021, "Learning
//! Transferable Visual Models From Natural Language Supervision", figure 3). It judges text-to-image models, so it is
//! trained on real pictures alone.
use super::layers::{BatchNormRelu, Conv2d, Linear};
use crate::ops::Kit;
use crate::param::{Kind, Module, Visitor};
use crate::tensor::{T2, T4, Tp};
use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;

/// Length of the vectors of pictures and captions.
pub const FEATURES: usize = 128;
/// By how much the picture tower shrinks a side.
pub const SHRINK: usize = 16;
/// Input and output channels of the 3x3 convolutions, and whether they halve the picture.
const CONVS: [(usize, usize, bool); 6] =
    [(3, 32, true), (32, 64, true), (64, 64, false), (64, 128, true), (128, 128, false), (128, 128, true)];
/// Width of a token's vector, and of the text tower's hidden layer.
const TOKEN: usize = 128;
const HIDDEN: usize = 256;
/// Standard deviation of tokens' vectors to begin with. Their mean over a caption goes to a linear layer.
const TOKEN_DEVIATION: f32 = 0.5;
/// The logits' scale to begin with, 1 over a temperature of 0.07 as in CLIP, as a logarithm.
const LOG_SCALE: f32 = 2.659_26;

/// Captions as ids: of each a row, of which padding counts nothing.
pub struct Tokens {
    /// `n * length` ids; any valid id where the weight is 0.
    pub ids: Vec<usize>,
    /// `n * length` weights: 1 over the caption's length, or 0.
    pub weights: Vec<f32>,
    /// Ids of a row.
    pub length: usize,
}

impl Tokens {
    /// Rows of captions' ids, each cut off at `most`. A caption without ids has the mean zero.
    pub fn new(captions: &[Vec<u32>], most: usize) -> Self {
        let length = captions.iter().map(|c| c.len().min(most)).max().unwrap_or(0).max(1);
        let (mut ids, mut weights) = (vec![0; captions.len() * length], vec![0.0; captions.len() * length]);
        for (row, caption) in captions.iter().enumerate() {
            let caption = &caption[..caption.len().min(length)];
            for (i, id) in caption.iter().enumerate() {
                ids[row * length + i] = *id as usize;
                weights[row * length + i] = 1.0 / caption.len() as f32;
            }
        }
        Self { ids, weights, length }
    }
}

/// Pictures: six [conv3x3, batch norm, ReLU], four of which halve, and a linear layer. Captions: the mean of their tokens'
/// vectors, a hidden layer with ReLU and a linear layer. Both end on the unit sphere.
#[derive(Clone)]
pub struct Matcher<D: Kit> {
    convs: Vec<(Conv2d<D>, BatchNormRelu<D>)>,
    picture: Linear<D>,
    tokens: T2<D>,
    hidden: Linear<D>,
    text: Linear<D>,
    log_scale: Tensor<Rank0, f32, D>,
}

impl<D: Kit> Matcher<D> {
    /// Random weights for pictures of `side` x `side`, a multiple of [`SHRINK`], and so many tokens.
    pub fn new(device: &D, seed: u64, side: usize, vocabulary: usize) -> Self {
        let conv = |(i, (from, to, _)): (usize, &(usize, usize, bool))| {
            (Conv2d::new(device, seed, &format!("convs.{i}.0"), *from, *to, 3), BatchNormRelu::new(device, *to))
        };
        let flat = CONVS[CONVS.len() - 1].1 * (side / SHRINK).pow(2);
        let mut draw = Stream::new(seed, "tokens.weight", 0);
        let tokens = (0..vocabulary * TOKEN).map(|_| draw.normal() * TOKEN_DEVIATION).collect();
        Self {
            convs: CONVS.iter().enumerate().map(conv).collect(),
            picture: Linear::new(device, seed, "picture", flat, FEATURES),
            tokens: device.tensor_from_vec(tokens, (vocabulary, TOKEN)),
            hidden: Linear::new(device, seed, "hidden", TOKEN, HIDDEN),
            text: Linear::new(device, seed, "text", HIDDEN, FEATURES),
            log_scale: device.tensor(LOG_SCALE),
        }
    }

    /// Training pass: batch statistics. `x` (n, 3, side, side), -1 to 1, to unit vectors (n, [`FEATURES`]).
    pub fn pictures_train<T: Tp<D>>(&mut self, mut x: T4<D, T>) -> T2<D, T> {
        for ((conv, norm), (.., halves)) in self.convs.iter_mut().zip(CONVS) {
            x = norm.forward_train(if halves { conv.forward_stride2(x) } else { conv.forward(x) });
        }
        normalize(self.picture.forward(flatten(x)))
    }

    /// As [`Self::pictures_train`], with running statistics.
    pub fn pictures(&self, mut x: T4<D>) -> T2<D> {
        for ((conv, norm), (.., halves)) in self.convs.iter().zip(CONVS) {
            x = norm.forward_eval(if halves { conv.forward_stride2(x) } else { conv.forward(x) });
        }
        normalize(self.picture.forward(flatten(x)))
    }

    /// Captions to unit vectors (n, [`FEATURES`]).
    ///
    /// # Panics
    /// If an id is not in the vocabulary.
    pub fn captions<T: Tp<D>>(&self, captions: &Tokens) -> T2<D, T> {
        let n = captions.ids.len() / captions.length;
        let rows = D::embedding(self.tokens.retaped::<T>(), &captions.ids, (n, captions.length));
        let shape = *rows.shape();
        let weights: T2<D> = self.tokens.device().tensor_from_vec(captions.weights.clone(), (n, captions.length));
        let mean = (rows * weights.broadcast_like::<_, Axis<2>>(&shape)).sum::<_, Axis<1>>();
        normalize(self.text.forward(self.hidden.forward(mean).relu()))
    }

    /// The symmetric loss of pictures and captions that belong together row by row, unit vectors (n, features): mean
    /// cross-entropy of each picture among the captions, and of each caption among the pictures (van den Oord et al. 2018,
    /// InfoNCE). Beside it its value, in f64.
    pub fn contrast<T: Tp<D>>(&self, pictures: T2<D, T>, captions: T2<D, T>) -> (Tensor<Rank0, f32, D, T>, f64) {
        let (pictures, tape) = pictures.split_tape();
        let (captions, other) = captions.split_tape();
        let (by_picture, a) = self.one_way(pictures.clone().put_tape(tape.merge(other)), &captions);
        let (by_caption, b) = self.one_way(captions.retaped::<T>(), &pictures);
        ((by_picture + by_caption) * 0.5, (a + b) / 2.0)
    }

    /// The loss of rows that look for theirs among `others`. The other way is a product of its own, not this one permuted:
    /// that one's gradient comes out wrong in dfdx 0.13.
    fn one_way<T: Tp<D>>(&self, rows: T2<D, T>, others: &T2<D>) -> (Tensor<Rank0, f32, D, T>, f64) {
        let cosines = rows.matmul(others.clone().permute::<_, Axes2<1, 0>>());
        let shape = *cosines.shape();
        let scale = self.log_scale.retaped::<T>().exp().broadcast_like::<_, Axes2<0, 1>>(&shape);
        diagonal_cross_entropy(cosines * scale)
    }
}

/// Mean cross-entropy of logits (n, n) whose right answers are on the diagonal, and its value in f64.
fn diagonal_cross_entropy<D: Kit, T: Tp<D>>(logits: T2<D, T>) -> (Tensor<Rank0, f32, D, T>, f64) {
    let n = logits.shape().0;
    let values = logits.as_vec();
    let row_loss = |(i, row): (usize, &[f32])| {
        let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        top + row.iter().map(|v| (f64::from(*v) - top).exp()).sum::<f64>().ln() - f64::from(row[i])
    };
    let sum: f64 = values.chunks_exact(n).enumerate().map(row_loss).sum();
    let mut target = vec![0f32; n * n];
    (0..n).for_each(|i| target[i * n + i] = 1.0);
    let target: T2<D> = logits.device().tensor_from_vec(target, (n, n));
    (cross_entropy_with_logits_loss(logits, target), sum / n as f64)
}

/// Rows of length 1.
fn normalize<D: Kit, T: Tp<D>>(x: T2<D, T>) -> T2<D, T> {
    let shape = *x.shape();
    let (x, tape) = x.split_tape();
    let squares = x.clone().put_tape(tape).square().sum::<_, Axis<1>>();
    (squares + 1e-12).sqrt().recip().broadcast_like::<_, Axis<1>>(&shape) * x
}

fn flatten<D: Kit, T: Tp<D>>(x: T4<D, T>) -> T2<D, T> {
    let (n, c, h, w) = *x.shape();
    x.reshape_like(&(n, c * h * w))
}

impl<D: Kit> Module<D> for Matcher<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        for (i, (conv, norm)) in self.convs.iter_mut().enumerate() {
            conv.visit(&format!("{prefix}convs.{i}.0"), v);
            norm.visit(&format!("{prefix}convs.{i}.1"), v);
        }
        self.picture.visit(&format!("{prefix}picture"), v);
        v.visit(&format!("{prefix}tokens.weight"), &mut self.tokens, Kind::Weight);
        self.hidden.visit(&format!("{prefix}hidden"), v);
        self.text.visit(&format!("{prefix}text"), v);
        v.visit(&format!("{prefix}log_scale"), &mut self.log_scale, Kind::Weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param;

    fn unit_rows(values: &[f32], width: usize) -> bool {
        values.chunks_exact(width).all(|r| (r.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4)
    }

    /// By finite differences, for every tensor along its gradient. Seen red with the captions' way taken from the pictures'
    /// logits, permuted.
    #[test]
    fn gradients_of_both_towers_and_of_the_temperature_are_those_of_the_loss() {
        let device = Cpu::default();
        let mut network = Matcher::<Cpu>::new(&device, 3, 32, 20);
        let mut draw = Stream::new(5, "pictures", 0);
        let pixels: Vec<f32> = (0..6 * 3 * 1024).map(|_| draw.uniform() * 2.0 - 1.0).collect();
        let x: T4<Cpu> = device.tensor_from_vec(pixels, (6, 3, 32, 32));
        let captions = Tokens::new(&[vec![1, 2, 3], vec![4], vec![5, 6], vec![1, 7, 8, 9], vec![10, 11], vec![12]], 3);
        assert_eq!((captions.length, captions.ids.len()), (3, 18));
        let loss = |network: &mut Matcher<Cpu>| {
            let (p, c) = (network.pictures_train(x.clone()), network.captions::<NoneTape>(&captions));
            assert!(unit_rows(&p.as_vec(), FEATURES) && unit_rows(&c.as_vec(), FEATURES));
            network.contrast(p, c).1
        };
        let gradients = param::zero_gradients(&mut network);
        let p = network.pictures_train(x.clone().traced(gradients));
        let c = network.captions(&captions);
        let (value, told) = network.contrast(p, c);
        assert!((f64::from(value.array()) - told).abs() < 1e-5);
        let gradients = value.backward();
        let weights = param::state(&mut network, "");
        /// The gradients by name.
        struct Read(Gradients<f32, Cpu>, param::State);
        impl Visitor<Cpu> for Read {
            fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, Cpu>, kind: Kind) {
                if kind.trained() {
                    let data = self.0.get_or_alloc_mut(&*t).expect("a gradient").to_vec();
                    self.1.insert(name.into(), param::Values { shape: Vec::new(), data });
                }
            }
        }
        let mut read = Read(gradients, param::State::new());
        network.visit("", &mut read);
        for (name, gradient) in &read.1 {
            // A convolution's bias goes away in the batch norm behind it.
            if name.contains("convs") && name.ends_with(".0.bias") {
                continue;
            }
            // Along the gradient, where the loss changes most, and by so little that few rectifiers turn.
            let length = gradient.data.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(length > 1e-4, "{name} has a gradient");
            let mut at = |by: f64| {
                let mut changed = weights.clone();
                let values = &mut changed.get_mut(name).expect("a tensor").data;
                values.iter_mut().zip(&gradient.data).for_each(|(v, g)| *v += (f64::from(*g) * by / length) as f32);
                param::load(&mut network, "", &changed).expect("the same shapes");
                loss(&mut network)
            };
            let h = 1e-3 / length.max(1.0);
            let slope = (at(h) - at(-h)) / (2.0 * h);
            assert!((length - slope).abs() < 0.03 * length + 2e-3, "{name}: {length} against {slope}");
        }
    }

    #[test]
    fn what_belongs_together_has_the_lower_loss() {
        let device = Cpu::default();
        let network = Matcher::<Cpu>::new(&device, 3, 16, 20);
        let rows = |order: [usize; 3]| -> T2<Cpu> {
            let mut values = vec![0f32; 3 * FEATURES];
            order.iter().enumerate().for_each(|(i, o)| values[i * FEATURES + o] = 1.0);
            device.tensor_from_vec(values, (3, FEATURES))
        };
        let loss = |a, b| network.contrast(rows(a), rows(b)).1;
        // Two other candidates at a cosine of 0.
        let expected = (1.0 + 2.0 * (-f64::from(LOG_SCALE).exp()).exp()).ln();
        assert!((loss([0, 1, 2], [0, 1, 2]) - expected).abs() < 1e-4);
        assert!(loss([0, 1, 2], [1, 2, 0]) > 10.0);
    }
}
