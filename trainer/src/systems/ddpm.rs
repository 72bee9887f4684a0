//! The book's steps 9, 10.1 and 10.4: a diffusion model on labelled pictures, conditional with label drop for
//! classifier-free guidance. Ho et al. 2020; Ho and Salimans 2022.
pub mod command;
pub mod student;
pub mod teacher;

use crate::data::idx::LabelledPictures;
use crate::data::loader::Loader;
use crate::error::Result;
use crate::export::book_unet::{Description, book_unet};
use crate::fit::{At, Record, StepResult, Task};
use crate::nn::book_unet::{BookUnet, BookUnetConfig, LABEL_EMB};
use crate::ops::{Kit, Precision};
use crate::param;
use crate::tensor::{T2, T4};
use crate::world::{Across, World};
use dfdx::prelude::*;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::position_encoding;
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::schedule::Schedule;
use rayon::prelude::*;
use std::path::Path;
use std::rc::Rc;
use teacher::Teacher;

/// Settings of the diffusion model.
#[derive(Clone, Debug)]
pub struct DdpmSettings {
    /// Pictures in a batch.
    pub batch: usize,
    /// Probability that a picture's label is dropped; 0 for no guidance.
    pub label_drop: f32,
    /// The book's own ways where they differ from the better ones: labels dropped for a whole batch at a time.
    pub as_in_book: bool,
    /// Noise levels.
    pub steps: usize,
    /// Variance of the first noise step.
    pub beta_start: f64,
    /// Variance of the last noise step.
    pub beta_end: f64,
    /// The share of the run, at its end, over which the learning rate falls to 0.
    pub decay: f64,
    /// Passes over the data in the run.
    pub epochs: u64,
    /// Keys everything random.
    pub seed: u64,
    /// Precision of the convolutions' products.
    pub precision: Precision,
}

/// What the exported file says of itself; nothing here changes the training.
#[derive(Clone, Debug)]
pub struct Naming {
    /// `general.name`.
    pub name: String,
    /// Names of the labels, by index.
    pub labels: Vec<String>,
}

/// The system being fitted.
pub struct Ddpm<D: Kit> {
    device: D,
    settings: DdpmSettings,
    naming: Naming,
    data: LabelledPictures,
    model: BookUnet<D>,
    /// `alpha_bar` for t = 1..=T.
    alpha_bars: Vec<f64>,
    /// Position encodings for t = 1..=T, row-major.
    times: Vec<f32>,
    loader: Loader,
    /// With whom batch statistics are shared.
    across: Option<Rc<Across>>,
    /// Of a student.
    taught: Option<Taught<D>>,
}

/// What a student has in place of the noise that was added.
struct Taught<D: Kit> {
    /// Whose answers are learned.
    teacher: Teacher<D>,
    /// The levels that it draws at, equally often.
    levels: Vec<usize>,
}

impl<D: Kit> Ddpm<D> {
    /// A model with random weights for `data`.
    ///
    /// # Errors
    /// If the schedule's variances are out of range.
    pub fn new(
        device: D,
        settings: DdpmSettings,
        naming: Naming,
        config: BookUnetConfig,
        data: LabelledPictures,
    ) -> Result<Self> {
        let schedule = Schedule::linear(settings.beta_start, settings.beta_end, settings.steps);
        let alpha_bars = schedule.map_err(nijimi_runtime::Error::from)?.alpha_bars()[1..].to_vec();
        let mut times = vec![0f32; settings.steps * config.time_dim];
        for (t, row) in times.chunks_exact_mut(config.time_dim).enumerate() {
            position_encoding((t + 1) as f32, config.time_dim, row);
        }
        let model = BookUnet::new(&device, settings.seed, config).with_precision(settings.precision);
        let loader = Loader::new(data.len(), settings.batch, settings.seed);
        Ok(Self { device, settings, naming, data, model, alpha_bars, times, loader, across: None, taught: None })
    }

    /// Position encodings of timesteps, row-major.
    fn times_of(&self, timesteps: &[usize]) -> Vec<f32> {
        let dim = self.model.config().time_dim;
        timesteps.iter().flat_map(|t| &self.times[t * dim..(t + 1) * dim]).copied().collect()
    }

    /// The same system of a student, which begins as `teacher`, and learns at its own few levels what it makes of them.
    #[must_use]
    pub fn taught_by(mut self, teacher: Teacher<D>) -> Self {
        self.model = teacher.model().clone();
        let levels = teacher.course().levels();
        self.taught = Some(Taught { teacher, levels });
        self
    }

    /// The same system, trained together with the other processes of `world`.
    #[must_use]
    pub fn within(mut self, world: Rc<dyn World>) -> Self {
        self.across = Across::new(world);
        if let Some(across) = &self.across {
            self.model = self.model.across(across);
        }
        self
    }
}

impl<D: Kit> Task<D> for Ddpm<D> {
    type Model = BookUnet<D>;

    fn model(&mut self) -> &mut BookUnet<D> {
        &mut self.model
    }

    fn steps_per_epoch(&self) -> u64 {
        self.loader.batches()
    }

    fn batch(&self, at: At) -> Option<usize> {
        Some(self.loader.rows_in(at.index))
    }

    fn lr_factor(&self, at: At) -> f64 {
        at.falling(self.settings.epochs.saturating_mul(self.loader.batches()), self.settings.decay)
    }

    fn step(&mut self, at: At, gradients: Gradients<f32, D>) -> Result<StepResult<D>> {
        let picked = self.loader.rows(at.epoch, at.index).to_vec();
        if let Some(across) = &self.across {
            across.begin(picked.len());
        }
        // All that is random is drawn for the whole batch, or keyed by the row in it.
        let own = at.share.rows(picked.len());
        let (s, n, from) = (&self.settings, own.len(), own.start);
        let (height, width, dim) = (self.data.height, self.data.width, self.model.config().time_dim);
        let labels = self.model.config().label_count;
        let size = height * width;
        let mut draw = Stream::new(s.seed, "timestep", at.step);
        let levels: Vec<usize> = match &self.taught {
            Some(Taught { levels, .. }) => {
                picked.iter().map(|_| levels[draw.below(levels.len() as u64) as usize]).collect()
            }
            None => picked.iter().map(|_| draw.below(s.steps as u64) as usize).collect(),
        };
        let levels = &levels[own.clone()];
        let (mut x, mut answers) = (vec![0f32; n * size], vec![0f32; n * size]);
        let pictures = x.par_chunks_mut(size).zip(answers.par_chunks_mut(size)).enumerate();
        pictures.for_each(|(i, (x, eps))| {
            let mut noise = Stream::new(s.seed, "noise", at.step * s.batch as u64 + (from + i) as u64);
            let a = self.alpha_bars[levels[i]];
            let (signal, sigma) = (a.sqrt() as f32, (1.0 - a).sqrt() as f32);
            let picture = self.data.picture(picked[from + i] as usize);
            for ((x, e), p) in x.iter_mut().zip(eps).zip(picture) {
                *e = noise.normal();
                *x = signal * (f32::from(*p) / 255.0) + sigma * *e;
            }
        });
        let time = self.times_of(levels);
        let mut skip = None;
        let one_hot = (labels > 0).then(|| {
            let mut drop = Stream::new(s.seed, "label drop", at.step);
            let whole = s.as_in_book && drop.uniform() < s.label_drop;
            skip = whole.then_some(LABEL_EMB);
            let mut v = vec![0f32; n * labels];
            for (i, p) in picked.iter().enumerate() {
                let dropped = if s.as_in_book { whole } else { drop.uniform() < s.label_drop };
                if !dropped && own.contains(&i) {
                    v[(i - from) * labels + usize::from(self.data.labels[*p as usize])] = 1.0;
                }
            }
            v
        });
        if let Some(Taught { teacher, .. }) = &self.taught {
            let times = |levels: &[usize]| self.times_of(levels);
            answers = teacher.answers(&self.device, &x, (height, width), levels, times, one_hot.as_deref())?;
        }
        let shape = (n, 1usize, height, width);
        let x: T4<D> = self.device.tensor_from_vec(x, shape);
        let answers: T4<D> = self.device.tensor_from_vec(answers, shape);
        let time: T2<D> = self.device.tensor_from_vec(time, (n, dim));
        let one_hot = one_hot.map(|v| self.device.tensor_from_vec(v, (n, labels)));
        let predicted = self.model.train(x.traced(gradients), time, one_hot);
        let (loss, value) = D::mse(predicted, &answers);
        let gradients = loss.backward();
        Ok(StepResult { loss: value, gradients, skip })
    }

    fn export(&self, model: &mut BookUnet<D>, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        let config = model.config().clone();
        let about = Description {
            name: self.naming.name.clone(),
            size: (self.data.height, self.data.width),
            labels: if config.label_count > 0 { self.naming.labels.clone() } else { Vec::new() },
            steps: self.settings.steps,
            betas: (self.settings.beta_start, self.settings.beta_end),
            student_steps: self.taught.as_ref().map(|taught| taught.levels.len()),
        };
        book_unet(&param::state(model, ""), &config, &about, record, dtype)
    }

    fn preview(&self, file: &[u8], path: &Path) -> Result<()> {
        crate::preview::grid(file, path)
    }
}
