//! The first stage of latent diffusion: an autoencoder between pictures and latents of a fraction of their size. Rombach et
//! al. 2022, section 3.1; the loss is squared and absolute error with a small divergence, without a discriminator.
pub mod command;
pub mod evaluate;

use crate::checkpoint::write_atomic;
use crate::data::captioned::Captioned;
use crate::data::loader::Loader;
use crate::error::{Error, Result};
use crate::export::autoencoder_kl::autoencoder_kl;
use crate::fit::{At, Record, StepResult, Task};
use crate::nn::autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig};
use crate::nn::vae::{Scalar, kl_standard};
use crate::ops::{Kit, Precision};
use crate::param;
use crate::plot::Figure as _;
use crate::say::tell;
use crate::tensor::{T4, Tp};
use dfdx::prelude::*;
use nijimi_runtime::model::FirstStage;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::rng::Stream;
use rayon::prelude::*;
use serde_json::json;
use std::path::Path;

/// Settings of the training.
#[derive(Clone, Copy, Debug)]
pub struct AutoencoderKlSettings {
    /// Pictures in a batch.
    pub batch: usize,
    /// What the mean absolute error is multiplied by, beside the mean squared error's 1; values are -1 to 1.
    pub l1_weight: f64,
    /// What the divergence, in nats a value of the picture, is multiplied by: twice the variance of the noise that a
    /// decoded value is allowed.
    pub kl_weight: f64,
    /// Most pixels by which a picture is shifted.
    pub shift: usize,
    /// Keys everything random.
    pub seed: u64,
    /// Precision of the convolutions' products.
    pub precision: Precision,
}

/// The parts of a loss, in f64: means over all values of the pictures of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub l1: f64,
    /// Divergence in nats a value.
    pub kl: f64,
}

impl Terms {
    /// Their sum, weighted.
    pub fn loss(&self, s: &AutoencoderKlSettings) -> f64 {
        self.mse + s.l1_weight * self.l1 + s.kl_weight * self.kl
    }
}

/// The system being fitted.
pub struct Fitting<D: Kit> {
    device: D,
    settings: AutoencoderKlSettings,
    name: String,
    data: Captioned,
    train: Vec<u32>,
    held_out: Vec<u32>,
    model: AutoencoderKl<D>,
    loader: Loader,
    /// Steps of the whole run, over which the learning rate falls.
    total: u64,
}

/// Picture values -1 to 1, `(3, side, side)`, of a picture's bytes; mirrored if `flip`, moved by `(dy, dx)` over white.
fn planes(pixels: &[u8], side: usize, flip: bool, (dy, dx): (isize, isize), out: &mut [f32]) {
    for (i, value) in out.iter_mut().enumerate() {
        let (c, y, x) = (i / (side * side), i / side % side, i % side);
        let x = if flip { side - 1 - x } else { x };
        let (y, x) = (y as isize + dy, x as isize + dx);
        let inside = |v: isize| (0..side as isize).contains(&v);
        let byte = if inside(y) && inside(x) { pixels[(y as usize * side + x as usize) * 3 + c] } else { 255 };
        *value = f32::from(byte) / 127.5 - 1.0;
    }
}

/// The whole channels `from..from + count` of `x`, differentiable: a product with ones and zeros.
fn channels<D: Kit, T: Tp<D>>(x: T4<D, T>, from: usize, count: usize) -> T4<D, T> {
    let (device, c) = (x.device().clone(), x.shape().1);
    let mut ones = vec![0f32; count * c];
    ones.iter_mut().skip(from).step_by(c + 1).for_each(|v| *v = 1.0);
    let none = device.tensor_from_vec(vec![0f32; count], (count,));
    D::conv2d(x, &device.tensor_from_vec(ones, (count, c, 1, 1)), &none)
}

/// The loss of pictures `x` (n, c, h, w), -1 to 1; `eps` are standard normal numbers, one for each latent.
pub fn objective<D: Kit, T: Tp<D>>(
    model: &AutoencoderKl<D>,
    x: T4<D, T>,
    eps: T4<D>,
    s: &AutoencoderKlSettings,
) -> (Scalar<D, T>, Terms) {
    let (target, tape) = x.split_tape();
    let x = target.clone().put_tape(tape);
    let values = target.shape().num_elements();
    let z = model.config().latent_channels;
    let (moments, tape) = model.encoder.forward(x).split_tape();
    let (mean, tape) = channels(moments.clone().put_tape(tape), 0, z).split_tape();
    let (logvar, other) = channels(moments.retaped::<T>(), z, z).clamp(-30.0, 20.0).split_tape();
    let sigma = (logvar.clone().put_tape(tape.merge(other)) * 0.5).exp();
    let (y, tape) = model.decoder.forward(sigma * eps + mean.clone()).split_tape();
    let kl = kl_standard(&mean.as_vec(), &logvar.as_vec()).sum::<f64>() / values as f64;
    let l1 = y.as_vec().iter().zip(target.as_vec()).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / values as f64;
    // The divergence but for its constant, over twice its weight.
    let divergence = (mean.retaped::<T>().square() + (logvar.retaped::<T>().exp() - logvar)).sum::<Rank0, _>();
    let absolute = (y.retaped::<T>() - target.clone()).abs().mean::<Rank0, _>();
    let (loss, mse) = D::mse(y.put_tape(tape), &target);
    let loss = loss + absolute * s.l1_weight as f32 + divergence * (0.5 * s.kl_weight / values as f64) as f32;
    (loss, Terms { mse, l1, kl })
}

impl<D: Kit> Fitting<D> {
    /// A network with random weights for `data`, of which `held_out` pictures are for evaluation only.
    ///
    /// # Errors
    /// A configuration that is no network or does not fit the pictures; fewer pictures than are held out.
    pub fn new(
        device: D,
        settings: AutoencoderKlSettings,
        name: String,
        config: &AutoencoderKlConfig,
        data: Captioned,
        held_out: usize,
        epochs: u64,
    ) -> Result<Self> {
        let factor = config.factor();
        if !data.side.is_multiple_of(factor) {
            return Err(Error::Usage(format!("--size {}: must be a multiple of {factor}", data.side)));
        }
        let count = held_out;
        let (train, held_out) = data.hold_out(count, settings.seed);
        if train.is_empty() {
            return Err(data.too_many_held_out(count));
        }
        let model = AutoencoderKl::new(&device, settings.seed, config, settings.precision)?;
        let loader = Loader::new(train.len(), settings.batch, settings.seed);
        let total = epochs.saturating_mul(loader.batches());
        Ok(Self { device, settings, name, data, train, held_out, model, loader, total })
    }

    /// The pictures held out, as bytes.
    pub fn held_out(&self) -> Vec<&[u8]> {
        self.held_out.iter().map(|i| &self.data.pictures[*i as usize].pixels[..]).collect()
    }

    /// Mean and standard deviation of all latents of (at most [`MEASURED`]) training pictures.
    fn latents(&self, model: &AutoencoderKl<D>) -> (f64, f64) {
        let (side, z) = (self.data.side, model.config().latent_channels);
        let (mut n, mut sum, mut squares) = (0f64, 0f64, 0f64);
        let every = self.train.len().div_ceil(MEASURED);
        let picked: Vec<u32> = self.train.iter().copied().step_by(every).collect();
        for rows in picked.chunks(self.settings.batch) {
            let mut x = vec![0f32; rows.len() * 3 * side * side];
            for (x, row) in x.chunks_exact_mut(3 * side * side).zip(rows) {
                planes(&self.data.pictures[*row as usize].pixels, side, false, (0, 0), x);
            }
            let moments = model.encoder.forward(self.device.tensor_from_vec(x, (rows.len(), 3, side, side)));
            let plane = moments.shape().2 * moments.shape().3;
            for picture in moments.as_vec().chunks_exact(2 * z * plane) {
                for (mean, logvar) in picture[..z * plane].iter().zip(&picture[z * plane..]) {
                    let (mean, logvar) = (f64::from(*mean), f64::from(logvar.clamp(-30.0, 20.0)));
                    (n, sum, squares) = (n + 1.0, sum + mean, squares + mean * mean + logvar.exp());
                }
            }
        }
        let mean = sum / n;
        (mean, (squares / n - mean * mean).sqrt())
    }
}

/// Pictures over which latents are measured.
const MEASURED: usize = 1024;
/// What the learning rate ends at, of what it was.
const LAST_LR: f64 = 0.02;

impl<D: Kit> Task<D> for Fitting<D> {
    type Model = AutoencoderKl<D>;

    fn model(&mut self) -> &mut AutoencoderKl<D> {
        &mut self.model
    }

    fn steps_per_epoch(&self) -> u64 {
        self.loader.batches()
    }

    /// Half a cosine (Loshchilov and Hutter 2017).
    fn lr_factor(&self, at: At) -> f64 {
        let done = (at.step as f64 / self.total.max(1) as f64).min(1.0);
        LAST_LR + (1.0 - LAST_LR) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }

    fn batch(&self, at: At) -> Option<usize> {
        Some(self.loader.rows_in(at.index))
    }

    fn step(&mut self, at: At, gradients: Gradients<f32, D>) -> Result<StepResult<D>> {
        let rows = self.loader.rows(at.epoch, at.index);
        let own = at.share.rows(rows.len());
        let (s, side, n) = (self.settings, self.data.side, own.len());
        // What is random for a picture is keyed by its place in the whole batch.
        let key = |i: usize| at.step * s.batch as u64 + (own.start + i) as u64;
        let mut x = vec![0f32; n * 3 * side * side];
        x.par_chunks_exact_mut(3 * side * side).zip(&rows[own.clone()]).enumerate().for_each(|(i, (x, row))| {
            let mut draw = Stream::new(s.seed, "augmentation", key(i));
            let mut shift = || draw.below(2 * s.shift as u64 + 1) as isize - s.shift as isize;
            let moved = (shift(), shift());
            let flip = draw.uniform() < 0.5;
            planes(&self.data.pictures[self.train[*row as usize] as usize].pixels, side, flip, moved, x);
        });
        let (config, small) = (self.model.config(), side / self.model.config().factor());
        let each = config.latent_channels * small * small;
        let noise = |i| {
            let mut stream = Stream::new(s.seed, "latent", key(i));
            (0..each).map(move |_| stream.normal())
        };
        let eps: Vec<f32> = (0..n).flat_map(noise).collect();
        let eps = self.device.tensor_from_vec(eps, (n, config.latent_channels, small, small));
        let x: T4<D> = self.device.tensor_from_vec(x, (n, 3, side, side));
        let (loss, terms) = objective(&self.model, x.traced(gradients), eps, &s);
        Ok(StepResult { loss: terms.loss(&s), gradients: loss.backward(), skip: None })
    }

    fn export(&self, model: &mut AutoencoderKl<D>, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        let (mean, deviation) = self.latents(model);
        let stage = FirstStage {
            network: model.config().clone().into(),
            scaling_factor: (1.0 / deviation) as f32,
            shift_factor: mean as f32,
            statistics: None,
        };
        autoencoder_kl(&param::state(model, ""), &stage, (&self.name, self.data.side), record, dtype)
    }

    fn preview(&self, file: &[u8], path: &Path) -> Result<()> {
        let held_out = self.held_out();
        if held_out.is_empty() {
            return Ok(());
        }
        let found = evaluate::evaluate(file, &held_out, self.data.side)?;
        let (n, psnr) = (held_out.len(), found.psnr);
        tell!("PSNR of {n} pictures held out: mean {:.2} dB, least {:.2}", psnr.mean, psnr.min);
        let figures = json!({ "pictures": n, "mean": psnr.mean, "least": psnr.min, "overall": psnr.overall });
        write_atomic(&path.with_extension("json"), format!("{figures:#}\n").as_bytes())?;
        evaluate::beside(&held_out, &found.pictures, self.data.side).save(path)
    }
}

#[cfg(test)]
mod tests;
