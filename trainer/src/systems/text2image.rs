//! The second stage of latent diffusion: a U-Net on latents and the text encoder that conditions it, trained on captions
//! with a share of them dropped, for classifier-free guidance. Rombach et al. 2022; Ho and Salimans 2022; book step 10.5.
pub mod command;
pub mod latents;
pub mod network;
pub mod process;
pub mod student;
pub mod teacher;

use crate::checkpoint::Checkpoint;
use crate::data::captioned::Captioned;
use crate::data::captions;
use crate::data::loader::Loader;
use crate::error::{Error, Result};
use crate::export::latent::latent_diffusion;
use crate::fit::{At, Record, StepResult, Task};
use crate::nn::text2image::TextToImage;
use crate::ops::cpu::parallel::prelude::*;
use crate::ops::{Kit, Precision};
use crate::param::{self, State, Values};
use crate::tensor::{T1, T4, Tp};
use dfdx::prelude::*;
use latents::Latents;
use nijimi_import::Types;
use nijimi_runtime::model::LatentInfo;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::raw::text::{Tokenizer, Vocabulary};
use process::Process;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use teacher::Teacher;

/// Times that a subject is drawn in an epoch.
const REPEATS: usize = 8;

/// Settings of the training.
#[derive(Clone, Copy, Debug)]
pub struct TextToImageSettings {
    /// Pictures in a batch.
    pub batch: usize,
    /// Probability that a caption is dropped.
    pub caption_drop: f32,
    /// Whether each loss is weighted as [`Process::weight`] says, and gamma.
    pub min_snr: Option<f64>,
    /// Probability that a picture is mirrored, of those whose caption allows it.
    pub mirror: f32,
    /// How far noise levels are drawn towards noise: see [`Process::level`].
    pub shift: Option<f64>,
    /// The share of the run, at its end, over which the learning rate falls to 0.
    pub decay: f64,
    /// Keys everything random.
    pub seed: u64,
    /// Pictures, of whole subjects, that are not trained on: the loss on them is measured after each epoch.
    pub hold_out: usize,
    /// Precision of the products.
    pub precision: Precision,
}

/// What is trained with, beside the pictures: what the file says of itself, and what it holds that is not trained.
pub struct Given {
    /// The whole model's description.
    pub info: LatentInfo,
    /// The tokenizer's lists.
    pub vocabulary: Vocabulary,
    /// The autoencoder's tensors as in the file: `vae.*`.
    pub autoencoder: State,
}

/// The system being fitted.
pub struct Fitting<D: Kit> {
    device: D,
    given: Given,
    examples: Examples,
    /// Pictures that are not, on which the loss is measured.
    held_out: Vec<u32>,
    /// What a preview shows.
    prompts: Vec<String>,
    /// Where batches are written, if they are.
    batches: Option<PathBuf>,
    /// Whose answers are learned, in place of the noise that was added.
    teacher: Option<Teacher<D>>,
    model: TextToImage<D>,
    loader: Loader,
    total: u64,
}

/// What examples are drawn from.
struct Examples {
    settings: TextToImageSettings,
    data: Captioned,
    latents: Latents,
    /// The pictures of each subject that is trained on.
    subjects: Vec<Vec<u32>>,
    tokenizer: Tokenizer,
    process: Process,
    /// The levels of a student, equally often; none: all, as the shift has it.
    levels: Option<Vec<usize>>,
}

/// The windows of text of examples, one after the other.
fn all_ids(examples: &[Example]) -> Vec<u32> {
    examples.iter().flat_map(|e| e.ids.iter().copied()).collect()
}

/// An example as it is drawn.
struct Example {
    ids: Vec<u32>,
    /// Index into `alpha_bars`.
    level: usize,
}

impl<D: Kit> Fitting<D> {
    /// A task that trains `model` on the captioned pictures of `data`.
    ///
    /// # Errors
    /// No picture with a caption.
    pub fn new(
        device: D,
        settings: TextToImageSettings,
        given: Given,
        data: Captioned,
        latents: Latents,
        model: TextToImage<D>,
        epochs: u64,
    ) -> Result<Self> {
        let (trained, mut held_out) = data.hold_out(settings.hold_out, settings.seed);
        let named = |i: &u32| !data.pictures[*i as usize].name.is_empty();
        let mut subjects = vec![Vec::new(); data.subjects()];
        trained.into_iter().filter(named).for_each(|i| subjects[data.pictures[i as usize].subject as usize].push(i));
        subjects.retain(|of: &Vec<u32>| !of.is_empty());
        held_out.retain(named);
        if subjects.is_empty() {
            return Err(match settings.hold_out {
                0 => Error::File("--data: no picture has a caption".into()),
                n => data.too_many_held_out(n),
            });
        }
        let every = (subjects.len() / PREVIEW).max(1);
        let shown = subjects.iter().step_by(every).take(PREVIEW);
        let prompts = shown.map(|of| captions::name(&data.pictures[of[0] as usize])).collect();
        let process = Process::of(&given.info, settings.shift)?;
        let loader = Loader::new(subjects.len() * REPEATS, settings.batch, settings.seed);
        let total = epochs.saturating_mul(loader.batches());
        let tokenizer = given.info.texts[0].tokenizer.clone();
        let examples = Examples { settings, data, latents, subjects, tokenizer, process, levels: None };
        Ok(Self { device, given, examples, held_out, prompts, batches: None, teacher: None, model, loader, total })
    }

    /// The same task with previews of `prompts`.
    #[must_use]
    pub fn with_prompts(self, prompts: Vec<String>) -> Self {
        Self { prompts, ..self }
    }

    /// The same task of a student: it learns at its own few levels what `teacher` makes of them.
    #[must_use]
    pub fn taught_by(mut self, teacher: Teacher<D>) -> Self {
        self.examples.levels = Some(teacher.course().levels());
        Self { teacher: Some(teacher), ..self }
    }

    /// The same task, which writes what each step is given into a folder, so that another program can make the same step.
    #[must_use]
    pub fn with_batches_in(self, folder: PathBuf) -> Self {
        Self { batches: Some(folder), ..self }
    }

    /// Writes a step's batch: `x` and `target` (n, c, h, w), `level` (n), and `ids` (n, tokens) as numbers.
    fn write_batch(&self, step: u64, x: &[f32], target: &[f32], examples: &[Example]) -> Result<()> {
        let Some(folder) = &self.batches else { return Ok(()) };
        let n = examples.len();
        let latents = &self.examples.latents;
        let picture = vec![n, latents.channels, latents.side, latents.side];
        let level = examples.iter().map(|e| e.level as f32).collect();
        let ids: Vec<f32> = all_ids(examples).iter().map(|id| *id as f32).collect();
        let tensors = [
            ("x", picture.clone(), x.to_vec()),
            ("target", picture, target.to_vec()),
            ("level", vec![n], level),
            ("ids", vec![n, ids.len() / n], ids),
        ];
        let tensors = tensors.map(|(name, shape, data)| (name.to_owned(), Values { shape, data }));
        Checkpoint { tensors: tensors.into(), facts: HashMap::new() }
            .save(&folder.join(format!("batch-{step:06}.safetensors")))
    }

    /// What the network answers to noised latents `x` of a batch.
    fn answer<T: Tp<D>>(&self, model: &TextToImage<D>, x: T4<D, T>, examples: &[Example]) -> Result<T4<D, T>> {
        let ids = all_ids(examples);
        let timesteps: Vec<f64> = examples.iter().map(|e| e.level as f64).collect();
        let time = model.unet.time_codes(&self.device, &timesteps);
        model.forward(x, &time, &ids, ids.len() / examples.len())
    }
}

impl Examples {
    /// Example `i` of a step's whole batch: which subject's, from there its picture, caption, level and noise; `x` and `target` are
    /// written.
    fn example(&self, subject: u32, at: At, i: usize, x: &mut [f32], target: &mut [f32]) -> Example {
        let s = &self.settings;
        let mut draw = Stream::new(s.seed, "example", at.step * s.batch as u64 + i as u64);
        let pictures = &self.subjects[subject as usize % self.subjects.len()];
        let row = pictures[draw.below(pictures.len() as u64) as usize] as usize;
        let picture = &self.data.pictures[row];
        let caption = captions::caption(picture, &mut draw);
        let dropped = draw.uniform() < s.caption_drop;
        let mirrored = draw.uniform() < s.mirror && captions::may_flip(picture);
        let time = f64::from(draw.uniform());
        let level = self.noise(self.latents.of(row, mirrored), time, &mut draw, x, target);
        let ids = self.tokenizer.window(if dropped { "" } else { &caption });
        Example { ids, level }
    }

    /// Noises latents `z` to the level of a time in [0, 1), before the shift; writes them and what is to be answered.
    fn noise(&self, z: &[f32], time: f64, draw: &mut Stream, x: &mut [f32], target: &mut [f32]) -> usize {
        let level = match &self.levels {
            Some(levels) => levels[((time * levels.len() as f64) as usize).min(levels.len() - 1)],
            None => self.process.level(time),
        };
        let (signal, sigma) = self.process.signal_and_sigma(level);
        for ((x, answer), z) in x.iter_mut().zip(target).zip(z) {
            let noise = draw.normal();
            *x = signal * z + sigma * noise;
            *answer = self.process.answer((signal, sigma), *z, noise);
        }
        level
    }

    /// The root of a loss's weight.
    fn root_weight(&self, level: usize) -> f32 {
        self.settings.min_snr.map_or(1.0, |gamma| self.process.weight(level, gamma).sqrt() as f32)
    }
}

/// `x` (n, c, h, w) with picture `i` times `factors[i]`.
fn times<D: Kit, T: Tp<D>>(x: T4<D, T>, factors: T1<D>) -> T4<D, T> {
    let shape = *x.shape();
    x * factors.broadcast_like::<_, Axes3<1, 2, 3>>(&shape)
}

impl<D: Kit> Task<D> for Fitting<D> {
    type Model = TextToImage<D>;

    fn model(&mut self) -> &mut TextToImage<D> {
        &mut self.model
    }

    fn steps_per_epoch(&self) -> u64 {
        self.loader.batches()
    }

    fn lr_factor(&self, at: At) -> f64 {
        at.falling(self.total, self.examples.settings.decay)
    }

    fn batch(&self, at: At) -> Option<usize> {
        Some(self.loader.rows_in(at.index))
    }

    fn step(&mut self, at: At, gradients: Gradients<f32, D>) -> Result<StepResult<D>> {
        let rows = self.loader.rows(at.epoch, at.index);
        let own = at.share.rows(rows.len());
        let rows = rows[own.clone()].to_vec();
        let (n, len) = (rows.len(), self.examples.latents.len());
        let (mut x, mut target) = (vec![0f32; n * len], vec![0f32; n * len]);
        let parts = x.par_chunks_mut(len).zip(target.par_chunks_mut(len)).enumerate();
        let draw = |(i, (x, target)): (usize, (&mut [f32], &mut [f32]))| {
            self.examples.example(rows[i], at, own.start + i, x, target)
        };
        let examples: Vec<Example> = parts.map(draw).collect();
        if let Some(teacher) = &self.teacher {
            let latents = &self.examples.latents;
            let (sizes, ids) = ((latents.channels, latents.side), all_ids(&examples));
            let levels: Vec<usize> = examples.iter().map(|e| e.level).collect();
            target = teacher.answers(&self.device, &x, sizes, &levels, &ids)?;
        }
        self.write_batch(at.step + 1, &x, &target, &examples)?;
        let shape = (n, self.examples.latents.channels, self.examples.latents.side, self.examples.latents.side);
        let x: T4<D> = self.device.tensor_from_vec(x, shape);
        let mut predicted = self.answer(&self.model, x.traced(gradients), &examples)?;
        if self.examples.settings.min_snr.is_some() {
            let roots: Vec<f32> = examples.iter().map(|e| self.examples.root_weight(e.level)).collect();
            for (target, root) in target.chunks_exact_mut(len).zip(&roots) {
                target.iter_mut().for_each(|v| *v *= root);
            }
            predicted = times::<D, _>(predicted, self.device.tensor_from_vec(roots, (n,)));
        }
        let (loss, value) = D::mse(predicted, &self.device.tensor_from_vec(target, shape));
        Ok(StepResult { loss: value, gradients: loss.backward(), skip: None })
    }

    fn export(&self, model: &mut TextToImage<D>, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        let mut state = param::state(model, "");
        state.extend(self.given.autoencoder.iter().map(|(name, v)| (name.clone(), v.clone())));
        latent_diffusion(&state, &self.given.info, &self.given.vocabulary, record, &Types::new(dtype))
    }

    fn preview(&self, file: &[u8], path: &Path) -> Result<()> {
        crate::preview::prompts(file, &self.prompts, path)
    }

    /// The same noise and times, evenly spread, after every epoch, by the pictures' names; not weighted.
    fn held_out_loss(&self, model: &TextToImage<D>) -> Result<Option<f64>> {
        let (examples, mut sum) = (&self.examples, 0.0);
        let (batch, len) = (examples.settings.batch, examples.latents.len());
        for (part, first) in self.held_out.chunks(batch).zip((0..).step_by(batch)) {
            let (mut x, mut target) = (vec![0f32; part.len() * len], vec![0f32; part.len() * len]);
            let places = x.chunks_exact_mut(len).zip(target.chunks_exact_mut(len));
            let drawn: Vec<Example> = places
                .zip(part.iter().zip(first..))
                .map(|((x, target), (row, i))| {
                    let mut draw = Stream::new(examples.settings.seed, "held-out example", i as u64);
                    let time = (i as f64 + 0.5) / self.held_out.len() as f64;
                    let level = examples.noise(examples.latents.of(*row as usize, false), time, &mut draw, x, target);
                    let name = captions::name(&examples.data.pictures[*row as usize]);
                    Example { ids: examples.tokenizer.window(&name), level }
                })
                .collect();
            let shape = (part.len(), examples.latents.channels, examples.latents.side, examples.latents.side);
            let x: T4<D> = self.device.tensor_from_vec(x, shape);
            let (_, loss) = D::mse(self.answer(model, x, &drawn)?, &self.device.tensor_from_vec(target, shape));
            sum += loss * part.len() as f64;
        }
        Ok((!self.held_out.is_empty()).then(|| sum / self.held_out.len() as f64))
    }
}

/// Pictures of a preview, unless prompts are given for one.
const PREVIEW: usize = 24;
