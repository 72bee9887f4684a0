//! The networks of the book's appendix C: a chain of two latent vectors, `q(z1|x) q(z2|z1)` and `p(x|z1) p(z1|z2) p(z2)`.
use super::vae::{Decoder, Encoder, Scalar, Terms, VaeConfig, reparameterize, squared_error, twice_kl};
use crate::ops::Kit;
use crate::param::{Module, Visitor};
use crate::tensor::{T2, Tp};
use dfdx::prelude::*;

/// How the term of `p(z1|z2) = N(z1_hat(z2), I)` is estimated from one draw of `z1` and `z2`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Estimator {
    /// The book's: `(mu1 - z1_hat)^2 + sigma1^2`, as if z2 did not depend on the draw of z1. It leaves out
    /// `2 Cov(z1, z1_hat)` a component, so z2 has no reward for what it carries of z1's noise: not a bound on log p(x).
    Surrogate,
    /// `(z1 - z1_hat)^2`: its expectation is that of the ELBO.
    Exact,
}

/// The hierarchical variational autoencoder; both latent vectors have the same length.
#[derive(Clone)]
pub struct Hvae<D: Kit> {
    config: VaeConfig,
    encoder1: Encoder<D>,
    encoder2: Encoder<D>,
    decoder1: Decoder<D>,
    decoder2: Decoder<D>,
}

impl<D: Kit> Hvae<D> {
    /// A network with random weights, the same for the same seed on every device.
    pub fn new(device: &D, seed: u64, config: VaeConfig) -> Self {
        let VaeConfig { pixels, hidden, latent } = config;
        Self {
            config,
            encoder1: Encoder::new(device, seed, "encoder1", pixels, hidden, latent),
            encoder2: Encoder::new(device, seed, "encoder2", latent, hidden, latent),
            decoder1: Decoder::new(device, seed, "decoder1", latent, hidden, pixels),
            decoder2: Decoder::new(device, seed, "decoder2", latent, hidden, latent),
        }
    }

    /// The sizes.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Pictures (n, pixels) to mu and ln(sigma^2) of `q(z1|x)`, both (n, latent).
    pub fn encode1(&self, x: T2<D>) -> (T2<D>, T2<D>) {
        let (mu, logvar, _) = self.encoder1.forward(x);
        (mu, logvar)
    }

    /// `z1` to mu and ln(sigma^2) of `q(z2|z1)`, all (n, latent).
    pub fn encode2(&self, z1: T2<D>) -> (T2<D>, T2<D>) {
        let (mu, logvar, _) = self.encoder2.forward(z1);
        (mu, logvar)
    }

    /// `z1` (n, latent) to pictures in 0..1, (n, pixels).
    pub fn decode1<T: Tp<D>>(&self, z1: T2<D, T>) -> T2<D, T> {
        self.decoder1.forward(z1).sigmoid()
    }

    /// `z2` to the mean of `p(z1|z2)`, both (n, latent).
    pub fn decode2<T: Tp<D>>(&self, z2: T2<D, T>) -> T2<D, T> {
        self.decoder2.forward(z2)
    }

    /// The loss of pictures (n, pixels), with the draws made of `eps` of z1 and z2, each (n, latent). Its divergence is that of
    /// z2 plus `E[ln q(z1|x) - ln p(z1|z2)]`.
    pub fn loss<T: Tp<D>>(
        &self,
        x: T2<D, T>,
        eps: [&T2<D>; 2],
        beta: f64,
        estimator: Estimator,
    ) -> (Scalar<D, T>, Terms) {
        let (x, tape) = x.split_tape();
        let (mu1, logvar1, tape) = self.encoder1.forward(x.clone().put_tape(tape));
        let (z1, tape) = reparameterize(&mu1, &logvar1, eps[0], tape).split_tape();
        let (mu2, logvar2, tape) = self.encoder2.forward(z1.clone().put_tape(tape));
        let (z1_hat, tape) = self.decode2(reparameterize(&mu2, &logvar2, eps[1], tape)).split_tape();
        let (error, reconstruction) = squared_error(self.decode1(z1.retaped::<T>()), &x);
        let (kl2, kl2_value) = twice_kl(mu2.retaped::<T>(), &logvar2);
        let (kl1, kl1_value) = match estimator {
            Estimator::Surrogate => twice_kl(z1_hat.put_tape(tape) - mu1, &logvar1),
            Estimator::Exact => sampled_divergence(z1_hat.put_tape(tape) - z1, &logvar1),
        };
        let loss = error + (kl1 + kl2) * beta as f32;
        (loss, Terms { reconstruction, kl: kl1_value + kl2_value })
    }
}

/// `sum (difference^2 - 1 - ln sigma1^2) / n`, differentiable, and half of it in f64: the entropy of `q(z1|x)` in closed form,
/// the rest from the draw.
fn sampled_divergence<D: Kit, T: Tp<D>>(difference: T2<D, T>, logvar: &T2<D>) -> (Scalar<D, T>, f64) {
    let (n, latent) = *difference.shape();
    let terms = difference.as_vec().into_iter().zip(logvar.as_vec());
    let value = terms.map(|(d, l)| 0.5 * (f64::from(d) * f64::from(d) - 1.0 - f64::from(l))).sum::<f64>() / n as f64;
    let sum = (difference.square() - logvar.clone()).sum::<Rank0, _>();
    (sum / n as f32 - latent as f32, value)
}

impl<D: Kit> Module<D> for Hvae<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.encoder1.visit(&format!("{prefix}encoder1"), v);
        self.encoder2.visit(&format!("{prefix}encoder2"), v);
        self.decoder1.visit(&format!("{prefix}decoder1"), v);
        self.decoder2.visit(&format!("{prefix}decoder2"), v);
    }
}
