//! What the variational autoencoders have in common: the task that `fit` trains, and the figures on a test set.
pub mod evaluate;
pub mod report;

use crate::data::idx::{LabelledPictures, Split};
use crate::data::loader::Loader;
use crate::error::{Error, Result};
use crate::export::autoencoder::{Description, autoencoder};
use crate::fit::{At, Ended, FitOptions, Record, StepResult, Task, fit};
use crate::launch;
use crate::nn::vae::{Scalar, Terms, VaeConfig};
use crate::ops::Kit;
use crate::param::{self, Module};
use crate::plot::{Figure as _, Pictures};
use crate::report::Report;
use crate::say::say;
use crate::target;
use crate::tensor::{T2, Tp};
use dfdx::prelude::*;
use evaluate::{Evaluation, Loaded, evaluate};
use nijimi_runtime::model::batch_seeds;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::rng::Stream;
use report::Findings;
use std::path::{Path, PathBuf};

/// Settings of the training.
#[derive(Clone, Copy, Debug)]
pub struct AutoencoderSettings {
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
    fn config(&self) -> &VaeConfig;
    /// How many latent vectors a picture has.
    const LEVELS: usize;
    /// The loss of pictures (n, pixels); `eps` are standard normal, (n, latent) for each level.
    fn objective<T: Tp<D>>(&self, x: T2<D, T>, eps: &[T2<D>], beta: f64) -> (Scalar<D, T>, Terms);
}

/// The system being fitted.
pub struct Fitting<D: Kit, M> {
    device: D,
    settings: AutoencoderSettings,
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
    pub fn new(
        device: D,
        settings: AutoencoderSettings,
        about: Description,
        model: M,
        data: LabelledPictures,
    ) -> Result<Self> {
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

    fn preview(&self, file: &[u8], path: &Path) -> Result<()> {
        let pictures = Loaded::open(file)?.sample(&batch_seeds(0, PREVIEW))?;
        Pictures::new(self.data.width, self.data.height, 1, pictures).columns(8).zoom(2).save(path)
    }
}

/// Pictures of a preview.
const PREVIEW: usize = 64;
/// Pictures of MNIST's training set, which the book's losses are of.
const MNIST: usize = 60_000;

/// What a command line asks for.
pub struct Asked {
    /// `nijimi.system`.
    pub system: &'static str,
    /// `nijimi.network`.
    pub network: &'static str,
    /// Title of the report.
    pub title: &'static str,
    /// The book's mean loss of each epoch, if the settings are the book's.
    pub book: Option<&'static [f64]>,
    /// The linear layers, in the file's order.
    pub layers: &'static [&'static str],
    /// Folder with the IDX files.
    pub data: PathBuf,
    /// Name of the model.
    pub name: Option<String>,
    /// Of the training.
    pub settings: AutoencoderSettings,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Length of a latent vector.
    pub latent: usize,
    /// How to fit; the fingerprint has all but the data.
    pub options: FitOptions,
    /// Threads.
    pub threads: usize,
}

/// What a run found.
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Figures on the test split; none where there is none, or the run was interrupted.
    pub evaluation: Option<Evaluation>,
    /// The report, as it was written.
    pub report: Option<Report>,
}

/// Trains the network that `model` makes, and reports the file's figures on the test split if that is beside the training
/// data.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn run<M: Autoencoder<Cpu>>(a: &Asked, model: impl FnOnce(&Cpu, u64, VaeConfig) -> M) -> Result<Outcome> {
    target::prove_run(&a.options.out, Some(&a.options.report), &[("--data", &a.data)])?;
    let data = LabelledPictures::load(&a.data, Split::Train)?;
    let config = VaeConfig { pixels: data.width * data.height, hidden: a.hidden, latent: a.latent };
    let about = Description {
        name: launch::model_name(a.name.as_ref(), &a.data, a.system),
        size: (data.height, data.width),
        system: a.system,
        network: a.network,
        layers: a.layers,
        beta: a.settings.beta,
    };
    let fingerprint = a.options.fingerprint.clone().with("the data", data.sum());
    let options = FitOptions { fingerprint, ..a.options.clone() };
    let device = Cpu::default();
    let model = model(&device, a.settings.seed, config);
    // Its losses say nothing of other data.
    let book = a.book.filter(|_| data.len() == MNIST);
    let mut task = Fitting::new(device, a.settings, about, model, data)?;
    let ended = fit(&mut task, &options, &launch::interruptible()?)?;
    let test = LabelledPictures::load(&a.data, Split::Test);
    let (Ended::Finished, Ok(test)) = (ended, test) else {
        return Ok(Outcome { ended, evaluation: None, report: None });
    };
    let file = std::fs::read(&options.out).map_err(Error::io(&options.out))?;
    let evaluation = evaluate(&file, &test, a.settings.seed)?;
    let losses = launch::epoch_losses(&file)?;
    let findings =
        Findings { title: a.title, losses: &losses, book, file: &file, evaluation: &evaluation, pictures: &test };
    let report = report::report(&findings)?;
    report.write(&options.report)?;
    Ok(Outcome { ended, evaluation: Some(evaluation), report: Some(report) })
}

/// Runs a command: as [`run`], and the figures to stdout.
///
/// # Errors
/// As [`run`].
pub fn command<M: Autoencoder<Cpu>>(a: &Asked, model: impl FnOnce(&Cpu, u64, VaeConfig) -> M) -> Result<Ended> {
    launch::threads(Some(a.threads))?;
    let outcome = run(a, model)?;
    if let Some(e) = &outcome.evaluation {
        say!("test reconstruction     {:.4}", e.terms.reconstruction);
        say!("test divergence, nats   {:.4}", e.terms.kl);
        say!("test loss               {:.4}", e.terms.loss(1.0));
        if let Some(t) = &e.surrogate {
            say!("  with the surrogate    {:.4}", t.loss(1.0));
        }
        for (i, level) in e.levels.iter().enumerate() {
            let active = level.active().iter().filter(|a| **a).count();
            say!("active components of z{} {active} of {}", i + 1, level.kl.len());
        }
    }
    Ok(outcome.ended)
}
