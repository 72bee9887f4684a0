//! The networks of the book's step 7: a picture to the normal distribution of its latent vector, and back. Kingma and
//! Welling 2014.
use super::layers::Linear;
use crate::ops::Kit;
use crate::param::{Module, Visitor};
use crate::tensor::{T2, Tp};
use dfdx::prelude::*;

/// Sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaeConfig {
    /// Values of a picture: height times width times channels; the book: 784.
    pub pixels: usize,
    /// Width of the hidden layers; the book: 200.
    pub hidden: usize,
    /// Length of the latent vector; the book: 20.
    pub latent: usize,
}

/// A scalar on the tape.
pub type Scalar<D, T> = Tensor<Rank0, f32, D, T>;

/// `x` to mean and log-variance of a normal distribution with independent components.
#[derive(Clone)]
pub struct Encoder<D: Kit> {
    linear: Linear<D>,
    linear_mu: Linear<D>,
    linear_logvar: Linear<D>,
}

impl<D: Kit> Encoder<D> {
    /// A network with random weights, keyed by seed and name.
    pub fn new(device: &D, seed: u64, name: &str, input: usize, hidden: usize, latent: usize) -> Self {
        let layer = |part: &str, from, to| Linear::new(device, seed, &format!("{name}.{part}"), from, to);
        Self {
            linear: layer("linear", input, hidden),
            linear_mu: layer("linear_mu", hidden, latent),
            linear_logvar: layer("linear_logvar", hidden, latent),
        }
    }

    /// `x` (n, input) to mu and ln(sigma^2), both (n, latent), and the tape of both. The book recomputes the logarithm from
    /// sigma, which is -inf below about -87 in f32.
    pub fn forward<T: Tp<D>>(&self, x: T2<D, T>) -> (T2<D>, T2<D>, T) {
        let (h, tape) = self.linear.forward(x).relu().split_tape();
        let (mu, tape) = self.linear_mu.forward(h.clone().put_tape(tape)).split_tape();
        let (logvar, other) = self.linear_logvar.forward(h.retaped::<T>()).split_tape();
        (mu, logvar, tape.merge(other))
    }
}

impl<D: Kit> Module<D> for Encoder<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.linear.visit(&format!("{prefix}.linear"), v);
        self.linear_mu.visit(&format!("{prefix}.linear_mu"), v);
        self.linear_logvar.visit(&format!("{prefix}.linear_logvar"), v);
    }
}

/// A latent vector to a mean: one hidden layer with ReLU; what follows the second layer is the caller's.
#[derive(Clone)]
pub struct Decoder<D: Kit> {
    linear1: Linear<D>,
    linear2: Linear<D>,
}

impl<D: Kit> Decoder<D> {
    /// A network with random weights, keyed by seed and name.
    pub fn new(device: &D, seed: u64, name: &str, latent: usize, hidden: usize, output: usize) -> Self {
        let layer = |part: &str, from, to| Linear::new(device, seed, &format!("{name}.{part}"), from, to);
        Self { linear1: layer("linear1", latent, hidden), linear2: layer("linear2", hidden, output) }
    }

    /// `z` (n, latent) to (n, output).
    pub fn forward<T: Tp<D>>(&self, z: T2<D, T>) -> T2<D, T> {
        self.linear2.forward(self.linear1.forward(z).relu())
    }
}

impl<D: Kit> Module<D> for Decoder<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.linear1.visit(&format!("{prefix}.linear1"), v);
        self.linear2.visit(&format!("{prefix}.linear2"), v);
    }
}

/// What a loss is made of, as means over the batch, in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// `sum (x_hat - x)^2` of a picture.
    pub reconstruction: f64,
    /// What stands for the divergences of a picture, in nats: for the VAE `KL(q(z|x) || N(0, I))`.
    pub kl: f64,
}

impl Terms {
    /// The book's loss: the reconstruction plus `beta` times *twice* the divergence, so that at `beta` 1 it is -2 ELBO but
    /// for a constant, for a decoder `N(x_hat, I)`.
    pub fn loss(&self, beta: f64) -> f64 {
        self.reconstruction + 2.0 * beta * self.kl
    }

    /// The negative ELBO of a picture of so many values in nats: `(loss + pixels ln 2 pi) / 2`, with beta 1.
    pub fn negative_elbo(&self, pixels: usize) -> f64 {
        0.5 * (self.loss(1.0) + pixels as f64 * std::f64::consts::TAU.ln())
    }
}

/// `z = mu + sigma eps` (n, latent), differentiable in both: the reparameterization trick. `eps` (n, latent) standard normal.
pub fn reparameterize<D: Kit, T: Tp<D>>(mu: &T2<D>, logvar: &T2<D>, eps: &T2<D>, tape: T) -> T2<D, T> {
    (logvar.clone().put_tape(tape) * 0.5).exp() * eps.clone() + mu.clone()
}

/// `KL(N(mu, sigma^2) || N(0, 1))` of each component of one batch, in nats: `(mu^2 + sigma^2 - 1 - ln sigma^2) / 2`.
pub fn kl_standard(mu: &[f32], logvar: &[f32]) -> impl Iterator<Item = f64> {
    mu.iter().zip(logvar).map(|(m, l)| {
        let (m, l) = (f64::from(*m), f64::from(*l));
        0.5 * (m * m + l.exp_m1() - l)
    })
}

/// `sum (mean^2 + sigma^2 - 1 - ln sigma^2) / n` over a batch of n rows, differentiable, and half of it in f64: twice the
/// divergence from a normal of unit variance whose mean is `mean` away.
pub(crate) fn twice_kl<D: Kit, T: Tp<D>>(mean: T2<D, T>, logvar: &T2<D>) -> (Scalar<D, T>, f64) {
    let (n, latent) = *mean.shape();
    let value = kl_standard(&mean.as_vec(), &logvar.as_vec()).sum::<f64>() / n as f64;
    let sum = (mean.square() + (logvar.retaped::<T>().exp() - logvar.clone())).sum::<Rank0, _>();
    (sum / n as f32 - latent as f32, value)
}

/// `sum (x_hat - x)^2 / n`, differentiable, and its value in f64; both (n, pixels).
pub(crate) fn squared_error<D: Kit, T: Tp<D>>(x_hat: T2<D, T>, x: &T2<D>) -> (Scalar<D, T>, f64) {
    let (n, pixels) = *x.shape();
    let wide = (n, 1usize, 1usize, pixels);
    let (loss, mean) = D::mse(x_hat.reshape_like(&wide), &x.clone().reshape_like(&wide));
    (loss * pixels as f32, mean * pixels as f64)
}

/// The variational autoencoder.
#[derive(Clone)]
pub struct Vae<D: Kit> {
    config: VaeConfig,
    encoder: Encoder<D>,
    decoder: Decoder<D>,
}

impl<D: Kit> Vae<D> {
    /// A network with random weights, the same for the same seed on every device.
    pub fn new(device: &D, seed: u64, config: VaeConfig) -> Self {
        let VaeConfig { pixels, hidden, latent } = config;
        let encoder = Encoder::new(device, seed, "encoder", pixels, hidden, latent);
        Self { config, encoder, decoder: Decoder::new(device, seed, "decoder", latent, hidden, pixels) }
    }

    /// The sizes.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Pictures (n, pixels) to mu and ln(sigma^2), both (n, latent).
    pub fn encode(&self, x: T2<D>) -> (T2<D>, T2<D>) {
        let (mu, logvar, _) = self.encoder.forward(x);
        (mu, logvar)
    }

    /// Latent vectors (n, latent) to pictures in 0..1, (n, pixels).
    pub fn decode<T: Tp<D>>(&self, z: T2<D, T>) -> T2<D, T> {
        self.decoder.forward(z).sigmoid()
    }

    /// The loss of pictures (n, pixels) with one draw of the latent vector each, made of `eps` (n, latent): see [`Terms::loss`].
    pub fn loss<T: Tp<D>>(&self, x: T2<D, T>, eps: &T2<D>, beta: f64) -> (Scalar<D, T>, Terms) {
        let (x, tape) = x.split_tape();
        let (mu, logvar, tape) = self.encoder.forward(x.clone().put_tape(tape));
        let x_hat = self.decode(reparameterize(&mu, &logvar, eps, tape));
        let (error, reconstruction) = squared_error(x_hat, &x);
        let (divergence, kl) = twice_kl(mu.retaped::<T>(), &logvar);
        (error + divergence * beta as f32, Terms { reconstruction, kl })
    }
}

impl<D: Kit> Module<D> for Vae<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.encoder.visit(&format!("{prefix}encoder"), v);
        self.decoder.visit(&format!("{prefix}decoder"), v);
    }
}
