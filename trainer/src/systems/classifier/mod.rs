//! The book's step 10.3: a classifier of noised pictures, for classifier guidance. Dhariwal and Nichol 2021.
pub mod evaluate;

use crate::data::idx::{LabelledPictures, Split};
use crate::data::loader::Loader;
use crate::error::{Error, Result};
use crate::export::book_unet::Description;
use crate::export::classifier::noisy_classifier;
use crate::fingerprint::Fingerprint;
use crate::fit::{At, Ended, Record, StepResult, Task, fit};
use crate::fit_command::{FitCommand, fit_command};
use crate::launch;
use crate::nn::judge::cross_entropy;
use crate::nn::noisy_classifier::{NoisyClassifier, NoisyClassifierConfig};
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::param;
use crate::report::Report;
use crate::say::say;
use crate::tensor::{T2, T4};
use dfdx::prelude::*;
use evaluate::{Bin, accuracy_by_t};
use nijimi_cli::number::{self, Numbers};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::position_encoding;
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::schedule::Schedule;
use rayon::prelude::*;
use std::path::Path;

fit_command! {
    /// Train a classifier of noised pictures, for classifier guidance (book step 10.3).
    ClassifierArgs "classifier" {
        idx;
        out;
        report("log, curve and checkpoint");
        epochs("passes over the data; the learning rate falls to 0 over them", "5");
        batch("128");
        lr("first learning rate", "1e-3");
        /// channels of the blocks (default 32,64,128)
        #[argh(option, default = "Numbers(vec![32, 64, 128])")]
        channels: Numbers<1>,
        /// length of the time vector (default 100)
        #[argh(option, from_str_fn(number::width), default = "100")]
        time_dim: usize,
        /// noise levels, as of the diffusion model that is to be guided (default 1000)
        #[argh(option, from_str_fn(number::levels), default = "1000")]
        noise_steps: usize,
        betas;
        dtype("", "q8_0", "DType::Q8_0");
        labels;
        name("the data folder");
        seed;
        checkpoints;
        max_steps;
        threads;
    }
}

/// Settings of the training.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierSettings {
    /// Pictures in a batch.
    pub batch: usize,
    /// Passes over the data, along which the learning rate falls on half a cosine (Loshchilov and Hutter 2017).
    pub epochs: u64,
    /// Noise levels.
    pub steps: usize,
    /// First and last variance of the linear schedule.
    pub betas: (f64, f64),
    /// Keys everything random.
    pub seed: u64,
}

/// The noise levels as tables.
pub struct Noising {
    /// `alpha_bar` for t = 1..=T.
    pub alpha_bars: Vec<f64>,
    /// Position encodings for t = 1..=T, row-major.
    times: Vec<f32>,
    time_dim: usize,
}

impl Noising {
    /// Tables of the linear schedule.
    ///
    /// # Errors
    /// If its variances are out of range.
    pub fn new(settings: &ClassifierSettings, time_dim: usize) -> Result<Self> {
        let schedule = Schedule::linear(settings.betas.0, settings.betas.1, settings.steps);
        let alpha_bars = schedule.map_err(nijimi_runtime::Error::from)?.alpha_bars()[1..].to_vec();
        let mut times = vec![0f32; settings.steps * time_dim];
        for (t, row) in times.chunks_exact_mut(time_dim).enumerate() {
            position_encoding((t + 1) as f32, time_dim, row);
        }
        Ok(Self { alpha_bars, times, time_dim })
    }

    /// `x_t` of pictures `rows` of `data`, (n, 1, h, w), and the time vectors (n, time_dim). `levels` are t - 1; picture `i`
    /// takes its noise from `noise(i)`.
    pub fn pictures<D: Kit>(
        &self,
        device: &D,
        data: &LabelledPictures,
        rows: &[u32],
        levels: &[usize],
        noise: impl Fn(usize) -> Stream + Sync,
    ) -> (T4<D>, T2<D>) {
        let (n, size) = (rows.len(), data.width * data.height);
        let mut x = vec![0f32; n * size];
        x.par_chunks_mut(size).enumerate().for_each(|(i, x)| {
            let mut noise = noise(i);
            let a = self.alpha_bars[levels[i]];
            let (signal, sigma) = (a.sqrt() as f32, (1.0 - a).sqrt() as f32);
            for (x, p) in x.iter_mut().zip(data.picture(rows[i] as usize)) {
                *x = signal * (f32::from(*p) / 255.0) + sigma * noise.normal();
            }
        });
        let dim = self.time_dim;
        let time: Vec<f32> = levels.iter().flat_map(|t| &self.times[t * dim..(t + 1) * dim]).copied().collect();
        (device.tensor_from_vec(x, (n, 1, data.height, data.width)), device.tensor_from_vec(time, (n, dim)))
    }
}

/// The system being fitted.
pub struct Classifier<D: Kit> {
    device: D,
    settings: ClassifierSettings,
    name: String,
    labels: Vec<String>,
    data: LabelledPictures,
    loader: Loader,
    noising: Noising,
    model: NoisyClassifier<D>,
}

impl<D: Kit> Classifier<D> {
    /// A model with random weights for `data`, whose labels are called `labels`.
    ///
    /// # Errors
    /// If the schedule's variances are out of range, or the pictures cannot be halved as often as there are channels.
    pub fn new(
        device: D,
        settings: ClassifierSettings,
        name: String,
        labels: Vec<String>,
        channels: Vec<usize>,
        time_dim: usize,
        data: LabelledPictures,
    ) -> Result<Self> {
        let (size, fold) = ((data.height, data.width), 1 << channels.len().saturating_sub(1));
        if size.0 % fold != 0 || size.1 % fold != 0 {
            let halvings = channels.len().saturating_sub(1);
            let what =
                format!("pictures of {}x{} cannot be halved {halvings} times: give fewer --channels", size.1, size.0);
            return Err(Error::Usage(what));
        }
        let config = NoisyClassifierConfig { in_channels: 1, channels, time_dim, label_count: labels.len(), size };
        let noising = Noising::new(&settings, time_dim)?;
        let model = NoisyClassifier::new(&device, settings.seed, config);
        let loader = Loader::new(data.len(), settings.batch, settings.seed);
        Ok(Self { device, settings, name, labels, data, loader, noising, model })
    }
}

impl<D: Kit> Task<D> for Classifier<D> {
    type Model = NoisyClassifier<D>;

    fn model(&mut self) -> &mut NoisyClassifier<D> {
        &mut self.model
    }

    fn steps_per_epoch(&self) -> u64 {
        self.loader.batches()
    }

    fn lr_factor(&self, at: At) -> f64 {
        let total = self.settings.epochs as f64 * self.loader.batches() as f64;
        0.5 * (1.0 + (std::f64::consts::PI * at.step as f64 / total).cos())
    }

    fn step(&mut self, at: At, gradients: Gradients<f32, D>) -> Result<StepResult<D>> {
        let rows = self.loader.rows(at.epoch, at.index).to_vec();
        let s = self.settings;
        let mut draw = Stream::new(s.seed, "timestep", at.step);
        let levels: Vec<usize> = rows.iter().map(|_| draw.below(s.steps as u64) as usize).collect();
        let noise = |i: usize| Stream::new(s.seed, "noise", at.step * s.batch as u64 + i as u64);
        let (x, time) = self.noising.pictures(&self.device, &self.data, &rows, &levels, noise);
        let truth: Vec<u8> = rows.iter().map(|r| self.data.labels[*r as usize]).collect();
        let logits = self.model.train(x.traced(gradients), &time);
        let (loss, value) = cross_entropy(logits, &truth);
        Ok(StepResult { loss: value, gradients: loss.backward(), skip: None })
    }

    fn export(&self, model: &mut NoisyClassifier<D>, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        let config = model.config().clone();
        let about = Description {
            name: self.name.clone(),
            size: config.size,
            labels: self.labels.clone(),
            steps: self.settings.steps,
            betas: self.settings.betas,
            student_steps: None,
        };
        noisy_classifier(&param::state(model, ""), &config, &about, record, dtype)
    }

    /// A classifier draws nothing; its report is made at the end.
    fn preview(&self, _: &[u8], _: &Path) -> Result<()> {
        Ok(())
    }
}

/// Runs the command: as [`run`], with the threads asked for, and accuracy to stdout.
///
/// # Errors
/// As [`run`].
pub fn command(a: &ClassifierArgs) -> Result<Ended> {
    launch::threads(a.threads)?;
    let outcome = run(a)?;
    if let Some(bins) = &outcome.accuracy {
        say!("recognized of the test pictures, by t");
        for b in bins {
            say!("  t {:>4} to {:>4}  {:6.2} %", b.first, b.last, 100.0 * b.accuracy);
        }
    }
    Ok(outcome.ended)
}

/// What a run found.
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Accuracy on the test split by t; none where there is none, or the run was interrupted.
    pub accuracy: Option<Vec<Bin>>,
    /// The report, as it was written.
    pub report: Option<Report>,
}

/// Trains, and reports the file's accuracy on the test split if that is beside the training data.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn run(a: &ClassifierArgs) -> Result<Outcome> {
    a.prove(crate::world::Share::WHOLE, &[("--data", &a.data)])?;
    let data = LabelledPictures::load(&a.data, Split::Train)?;
    let count = usize::from(*data.labels.iter().max().unwrap_or(&0)) + 1;
    let labels = launch::labels(a.labels.as_deref(), count)?;
    let channels = a.channels.0.clone();
    let settings = ClassifierSettings {
        batch: a.batch,
        epochs: a.epochs,
        steps: a.noise_steps,
        betas: (a.beta_start, a.beta_end),
        seed: a.seed,
    };
    let adam = AdamW { lr: a.lr, weight_decay: 0.0, warmup: 0, clip: None, muon: None };
    let fingerprint = Fingerprint::new("classifier")
        .with("--batch", a.batch)
        .with("--epochs", a.epochs)
        .with("--noise-steps", a.noise_steps)
        .with("--beta-start", a.beta_start)
        .with("--beta-end", a.beta_end)
        .with("--seed", a.seed)
        .with("--channels", &a.channels)
        .with("--time-dim", a.time_dim)
        .with("the data", data.sum());
    let options = a.fit_options(adam, None, fingerprint);
    let name = launch::model_name(a.name.as_ref(), &a.data, "classifier");
    let device = Cpu::default();
    let mut task = Classifier::new(device.clone(), settings, name, labels, channels, a.time_dim, data)?;
    let ended = fit(&mut task, &options, &launch::interruptible()?)?;
    let test = LabelledPictures::load(&a.data, Split::Test);
    let (Ended::Finished, Ok(test)) = (ended, test) else {
        return Ok(Outcome { ended, accuracy: None, report: None });
    };
    let file = std::fs::read(&options.out).map_err(Error::io(&options.out))?;
    let bins = accuracy_by_t(&file, &test, test.len())?;
    let report = evaluate::report(&file, &launch::epoch_losses(&file)?, &bins, &test)?;
    report.write(&options.report)?;
    Ok(Outcome { ended, accuracy: Some(bins), report: Some(report) })
}
