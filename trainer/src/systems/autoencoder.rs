//! What the variational autoencoders have in common: the task that `fit` trains, and the figures on a test set.
use crate::data::idx::{LabelledPictures, Split};
use crate::data::loader::Loader;
use crate::error::{Error, Result};
use crate::export::autoencoder::{Description, autoencoder};
use crate::fit::{At, Ended, FitOptions, Record, StepResult, Task, fit};
use crate::launch;
use crate::nn::vae::{Config, Scalar, Terms, kl_standard};
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::param::{self, Module};
use crate::tensor::{T2, Tp};
use dfdx::prelude::*;
use nijimi_runtime::quant::DType;
use nijimi_runtime::rng::Stream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings of the training.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Pictures in a batch.
    pub batch: usize,
    /// What the divergence is multiplied by; 1 is the ELBO (Higgins et al. 2017).
    pub beta: f64,
    /// Keys everything random.
    pub seed: u64,
}

/// A network with a loss that needs draws of latent vectors.
pub trait Autoencoder<D: Kit>: Module<D> {
    /// The sizes.
    fn config(&self) -> &Config;
    /// How many latent vectors a picture has.
    const LEVELS: usize;
    /// The loss of pictures (n, pixels); `eps` are standard normal, (n, latent) for each level.
    fn objective<T: Tp<D>>(&self, x: T2<D, T>, eps: &[T2<D>], beta: f64) -> (Scalar<D, T>, Terms);
    /// Mean and log-variance of each level's latent vector given the picture and draws of those above it, (n, latent).
    fn posteriors(&self, x: T2<D>, eps: &[T2<D>]) -> Vec<(T2<D>, T2<D>)>;
}

/// The system being fitted.
pub struct Fitting<D: Kit, M> {
    device: D,
    settings: Settings,
    about: Description,
    data: LabelledPictures,
    loader: Loader,
    model: M,
}

/// Pictures `rows` of `data` as (n, pixels), 0 to 1.
fn pictures<D: Kit>(device: &D, data: &LabelledPictures, rows: &[u32]) -> T2<D> {
    let values =
        rows.iter().flat_map(|r| data.picture(*r as usize)).map(|p| f32::from(*p) / 255.0).collect::<Vec<f32>>();
    device.tensor_from_vec(values, (rows.len(), data.width * data.height))
}

/// Standard normal numbers (n, latent) for each of `levels`.
fn draws<D: Kit>(
    device: &D,
    seed: u64,
    purpose: &str,
    step: u64,
    n: usize,
    latent: usize,
    levels: usize,
) -> Vec<T2<D>> {
    let mut stream = Stream::new(seed, purpose, step);
    let mut level = || (0..n * latent).map(|_| stream.normal()).collect::<Vec<f32>>();
    (0..levels).map(|_| device.tensor_from_vec(level(), (n, latent))).collect()
}

impl<D: Kit, M: Autoencoder<D>> Fitting<D, M> {
    /// A task that trains `model` on `data`.
    ///
    /// # Errors
    /// If the model is for pictures of another size.
    pub fn new(device: D, settings: Settings, about: Description, model: M, data: LabelledPictures) -> Result<Self> {
        let (pixels, found) = (model.config().pixels, data.width * data.height);
        if pixels != found {
            let what =
                format!("the pictures have {}x{} = {found} values, the network {pixels}", data.width, data.height);
            return Err(Error::Usage(what));
        }
        let loader = Loader::new(data.len(), settings.batch, settings.seed);
        Ok(Self { device, settings, about, data, loader, model })
    }
}

impl<D: Kit, M: Autoencoder<D>> Task<D> for Fitting<D, M> {
    type Model = M;

    fn model(&mut self) -> &mut M {
        &mut self.model
    }

    fn steps_per_epoch(&self) -> u64 {
        self.loader.batches()
    }

    fn step(&mut self, at: At, gradients: Gradients<f32, D>) -> Result<StepResult<D>> {
        let rows = self.loader.rows(at.epoch, at.index);
        let x = pictures(&self.device, &self.data, rows);
        let (seed, latent) = (self.settings.seed, self.model.config().latent);
        let eps = draws(&self.device, seed, "latent", at.step, rows.len(), latent, M::LEVELS);
        let (loss, terms) = self.model.objective(x.traced(gradients), &eps, self.settings.beta);
        Ok(StepResult { loss: terms.loss(self.settings.beta), gradients: loss.backward(), skip: None })
    }

    fn export(&self, model: &mut M, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        let config = *model.config();
        autoencoder(&param::state(model, ""), &config, &self.about, record, dtype)
    }

    fn preview(&self, _: &[u8], _: &Path) -> Result<()> {
        Ok(())
    }
}

/// A component of a latent vector is active if its divergence is above this, in nats, ...
pub const ACTIVE_KL: f64 = 0.01;
/// ... or the variance of its mean over the pictures is above this (Burda et al. 2016).
pub const ACTIVE_VARIANCE: f64 = 0.01;

/// One level of latent vectors, over a set of pictures.
#[derive(Clone, Debug)]
pub struct Level {
    /// Mean `KL(q || N(0, 1))` of each component, in nats.
    pub kl: Vec<f64>,
    /// Variance of each component's mean.
    pub variance: Vec<f64>,
}

impl Level {
    /// Whether each component is used; the others are collapsed to the prior.
    pub fn active(&self) -> Vec<bool> {
        let used = |(k, v): (&f64, &f64)| *k > ACTIVE_KL || *v > ACTIVE_VARIANCE;
        self.kl.iter().zip(&self.variance).map(used).collect()
    }
}

/// Figures of a model on a set of pictures.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Means over the pictures, with one draw each.
    pub terms: Terms,
    /// The levels, that next to the picture first.
    pub levels: Vec<Level>,
}

/// Pictures in one pass of an evaluation.
const PASS: usize = 250;

/// The figures of `model` on all pictures of `data`.
pub fn evaluate<D: Kit, M: Autoencoder<D>>(device: &D, model: &M, data: &LabelledPictures, seed: u64) -> Evaluation {
    let latent = model.config().latent;
    let rows: Vec<u32> = (0..data.len() as u32).collect();
    let mut terms = Terms::default();
    // For each level and component: sums of the divergence, the mean, and its square.
    let mut sums = vec![vec![[0f64; 3]; latent]; M::LEVELS];
    for (i, rows) in rows.chunks(PASS).enumerate() {
        let x = pictures(device, data, rows);
        let eps = draws(device, seed, "evaluation", i as u64, rows.len(), latent, M::LEVELS);
        let (_, t) = model.objective(x.clone(), &eps, 1.0);
        let share = rows.len() as f64 / data.len() as f64;
        terms.reconstruction += t.reconstruction * share;
        terms.kl += t.kl * share;
        for (sums, (mu, logvar)) in sums.iter_mut().zip(model.posteriors(x, &eps)) {
            let (mu, logvar) = (mu.as_vec(), logvar.as_vec());
            for (j, (kl, mu)) in kl_standard(&mu, &logvar).zip(&mu).enumerate() {
                let [a, b, c] = &mut sums[j % latent];
                let mu = f64::from(*mu);
                (*a, *b, *c) = (*a + kl, *b + mu, *c + mu * mu);
            }
        }
    }
    let n = data.len() as f64;
    let level = |sums: Vec<[f64; 3]>| Level {
        kl: sums.iter().map(|s| s[0] / n).collect(),
        variance: sums.iter().map(|s| s[2] / n - (s[1] / n).powi(2)).collect(),
    };
    Evaluation { terms, levels: sums.into_iter().map(level).collect() }
}

/// What a command line asks for.
pub struct Asked {
    /// `nijimi.system`.
    pub system: &'static str,
    /// `nijimi.network`.
    pub network: &'static str,
    /// The linear layers, in the file's order.
    pub layers: &'static [&'static str],
    /// Folder with the IDX files.
    pub data: PathBuf,
    /// The weight file.
    pub out: PathBuf,
    /// Folder of the report.
    pub report: Option<PathBuf>,
    /// Passes over the data.
    pub epochs: u64,
    /// Of the training.
    pub settings: Settings,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Length of a latent vector.
    pub latent: usize,
    /// The optimizer.
    pub adam: AdamW,
    /// Decay of averaged weights.
    pub ema: Option<f64>,
    /// Type of the weights.
    pub dtype: String,
    /// Name of the model.
    pub name: Option<String>,
    /// Go on from the checkpoint.
    pub resume: bool,
    /// Time between checkpoints.
    pub checkpoint_minutes: f64,
    /// Stop after so many steps.
    pub max_steps: Option<u64>,
    /// Threads.
    pub threads: usize,
    /// What else shapes the result, for the checkpoint's fingerprint.
    pub variant: String,
}

/// Trains the network that `model` makes, and prints its figures on the test split if that is beside the training data.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn run<M: Autoencoder<Cpu>>(a: &Asked, model: impl FnOnce(&Cpu, u64, Config) -> M) -> Result<Ended> {
    if a.settings.batch == 0 || a.epochs == 0 || a.hidden == 0 || a.latent == 0 {
        return Err(Error::Usage("--batch, --epochs, --hidden and --latent must be at least 1".into()));
    }
    launch::threads(Some(a.threads))?;
    let data = LabelledPictures::load(&a.data, Split::Train)?;
    let config = Config { pixels: data.width * data.height, hidden: a.hidden, latent: a.latent };
    let about = Description {
        name: launch::model_name(a.name.as_ref(), &a.data, a.system),
        size: (data.height, data.width),
        system: a.system,
        network: a.network,
        layers: a.layers,
        beta: a.settings.beta,
    };
    let options = FitOptions {
        out: a.out.clone(),
        dtype: launch::dtype(&a.dtype)?,
        report: launch::report_folder(a.report.as_ref(), &a.out),
        epochs: a.epochs,
        max_steps: a.max_steps,
        fingerprint: format!(
            "{} {} {:?} {config:?} {:?} ema {:?} pictures {}",
            a.system,
            a.variant,
            a.settings,
            a.adam,
            a.ema,
            data.len()
        ),
        adam: a.adam.clone(),
        ema: a.ema,
        checkpoint_every: Duration::from_secs_f64(a.checkpoint_minutes.max(0.0) * 60.0),
        resume: a.resume,
        command: launch::command_line(),
    };
    let device = Cpu::default();
    let model = model(&device, a.settings.seed, config);
    let mut task = Fitting::new(device.clone(), a.settings, about, model, data)?;
    let ended = fit(&mut task, &options, &launch::interruptible()?)?;
    if ended == Ended::Finished
        && let Ok(test) = LabelledPictures::load(&a.data, Split::Test)
    {
        print_figures(&evaluate(&device, task.model(), &test, a.settings.seed), test.width * test.height);
    }
    Ok(ended)
}

fn print_figures(e: &Evaluation, pixels: usize) {
    let t = &e.terms;
    println!("test loss (beta 1)      {:.4}", t.loss(1.0));
    println!("  reconstruction        {:.4}", t.reconstruction);
    println!("  divergence, nats      {:.4}", t.kl);
    println!("test -ELBO, nats        {:.4}", t.negative_elbo(pixels));
    for (i, level) in e.levels.iter().enumerate() {
        let active = level.active().iter().filter(|a| **a).count();
        println!("active of z{}            {active} of {}", i + 1, level.kl.len());
    }
}
