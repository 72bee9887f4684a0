//! LoRAs of published Stable Diffusion models (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"): the networks stay
//! as their file has them; what is trained are thin factors beside their layers.
pub mod command;
pub mod examples;
pub mod file;
pub mod model;
pub mod network;
mod plan;

use crate::error::Result;
use crate::eval::evaluate::draw::{Artist, Drawing};
use crate::finetune::adapter::Factors;
use crate::fit::{At, Record, StepResult, Task};
use crate::param;
use crate::plot::{Figure as _, Pictures};
use crate::systems::text2image::process::Process;
use dfdx::prelude::*;
use examples::Examples;
use file::{Format, Written};
use model::Lora;
use network::{Batch, Networks, Told};
use nijimi_runtime::model::{OpenOptions, Patch, Stored};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::rng::Stream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The newest factors, in the report's folder.
const LATEST: &str = "latest.safetensors";

/// Settings of the training.
#[derive(Clone, Debug)]
pub struct LoraSettings {
    /// Pictures in a batch.
    pub batch: usize,
    /// Batches whose gradients make one step.
    pub accumulate: usize,
    /// Probability that a caption is dropped.
    pub caption_drop: f32,
    /// Whether losses are weighted as [`Process::weight`] says, and gamma.
    pub min_snr: Option<f64>,
    /// Deviation of what is added to the noise of a whole channel (Guttenberg 2023, "Diffusion with Offset Noise").
    pub offset_noise: f32,
    /// The share of the run, at its end, over which the learning rate falls to 0.
    pub decay: f64,
    /// Columns of `up`.
    pub rank: usize,
    /// The product is multiplied with alpha / rank.
    pub alpha: f32,
    /// The names in the file.
    pub format: Format,
    /// Keys everything random.
    pub seed: u64,
}

/// What previews are drawn with.
struct Shown {
    stored: Arc<dyn Stored>,
    path: PathBuf,
    prompts: Vec<String>,
}

/// The system being fitted.
pub struct Fitting<'a> {
    settings: LoraSettings,
    networks: Networks<'a>,
    examples: Examples,
    process: Process,
    model: Lora<Cpu>,
    texts: usize,
    steps: u64,
    total: u64,
    shown: Option<Shown>,
}

impl<'a> Fitting<'a> {
    /// A task that trains factors beside `networks`, which has `texts` text encoders.
    pub fn new(
        settings: LoraSettings,
        networks: Networks<'a>,
        examples: Examples,
        process: Process,
        (texts, epochs): (usize, u64),
    ) -> Self {
        let model = Lora::new(&Cpu::default(), &networks.layers, settings.rank, settings.seed);
        let steps = examples.batches(settings.batch, 0, 0).len().div_ceil(settings.accumulate) as u64;
        let total = epochs.saturating_mul(steps);
        Self { settings, networks, examples, process, model, texts, steps, total, shown: None }
    }

    /// The same task with previews of `prompts`, drawn with the model of `path`.
    #[must_use]
    pub fn with_prompts(self, stored: Arc<dyn Stored>, path: PathBuf, prompts: Vec<String>) -> Self {
        Self { shown: Some(Shown { stored, path, prompts }), ..self }
    }

    /// Noises the pictures of a batch; `first` is the number of its first one in the step.
    fn batch(&self, rows: &[u32], step: u64, first: usize) -> Batch<'_> {
        let (s, all) = (&self.settings, &self.examples.pictures);
        let size = all[rows[0] as usize].size;
        let len = all[rows[0] as usize].latents.len();
        let channels = len / (size[0] * size[1]);
        let mut batch = Batch {
            size,
            noised: Vec::with_capacity(rows.len() * len),
            target: Vec::with_capacity(rows.len() * len),
            weights: Vec::new(),
            timesteps: Vec::new(),
            told: Told::Texts(Vec::new()),
        };
        let mut captions: Vec<Option<&str>> = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let number = step * (s.batch * s.accumulate) as u64 + (first + i) as u64;
            let mut draw = Stream::new(s.seed, "example", number);
            let example = &all[*row as usize];
            let dropped = draw.uniform() < s.caption_drop;
            let level = self.process.level(f64::from(draw.uniform()));
            let at = self.process.signal_and_sigma(level);
            let offsets: Vec<f32> = (0..channels).map(|_| s.offset_noise * draw.normal()).collect();
            for (j, z) in example.latents.iter().enumerate() {
                let noise = draw.normal() + offsets[j % channels];
                batch.noised.push(at.0 * z + at.1 * noise);
                batch.target.push(self.process.answer(at, *z, noise));
            }
            batch.weights.push(s.min_snr.map_or(1.0, |gamma| self.process.weight(level, gamma) as f32));
            batch.timesteps.push(level as f64);
            captions.push((!dropped).then_some(&*example.caption));
        }
        batch.told = if self.networks.trains_texts() {
            let empty = self.networks.empty();
            Told::Texts(captions.into_iter().map(|caption| caption.or(empty)).collect())
        } else {
            let (mut states, mut pooled) = (Vec::new(), Vec::new());
            for caption in captions {
                let [own, whole] = self.examples.states(caption.unwrap_or_default());
                states.extend(own);
                pooled.extend(whole);
            }
            Told::States { states, tokens: self.examples.tokens, pooled }
        };
        batch
    }
}

impl Task<Cpu> for Fitting<'_> {
    type Model = Lora<Cpu>;

    fn model(&mut self) -> &mut Lora<Cpu> {
        &mut self.model
    }

    fn steps_per_epoch(&self) -> u64 {
        self.steps
    }

    fn lr_factor(&self, at: At) -> f64 {
        at.falling(self.total, self.settings.decay)
    }

    fn latest(&self) -> &'static str {
        LATEST
    }

    fn step(&mut self, at: At, mut gradients: Gradients<f32, Cpu>) -> Result<StepResult<Cpu>> {
        let s = &self.settings;
        let batches = self.examples.batches(s.batch, s.seed, at.epoch);
        let own: Vec<&Vec<u32>> = batches.iter().skip(at.index as usize * s.accumulate).take(s.accumulate).collect();
        let count: usize = own.iter().map(|rows| rows.len()).sum();
        let (mut loss, mut first, mut sum) = (0.0, 0, vec![Factors::default(); self.networks.layers.len()]);
        for rows in own {
            let (part, factors) = self.networks.step(&self.batch(rows, at.step, first), &self.model.values())?;
            let share = rows.len() as f64 / count as f64;
            loss += share * part;
            sum.iter_mut().zip(&factors).for_each(|(sum, own)| sum.add(own, share as f32));
            first += rows.len();
        }
        self.model.give(&sum, &mut gradients);
        Ok(StepResult { loss, gradients, skip: None })
    }

    fn export(&self, model: &mut Lora<Cpu>, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        let s = &self.settings;
        let about = vec![
            ("nijimi.train.command", record.command.clone()),
            ("nijimi.train.epochs", record.epochs.to_string()),
            ("nijimi.train.steps", record.steps.to_string()),
            ("nijimi.train.parameters", param::count(model).to_string()),
        ];
        let written = Written { format: s.format, dtype, rank: s.rank, alpha: s.alpha, texts: self.texts, about };
        file::bytes(&self.networks.layers, &model.values(), &written)
    }

    fn preview(&self, _: &[u8], path: &Path) -> Result<()> {
        let Some(Shown { stored, path: model, prompts }) = &self.shown else { return Ok(()) };
        let file = stored.file().map_err(nijimi_runtime::Error::from)?;
        let refused = |e: nijimi_import::ImportError| crate::error::Error::data(model, e.to_string());
        let lora = nijimi_import::Lora::open(path.with_file_name(LATEST), 1.0, &file).map_err(refused)?;
        let options = OpenOptions { patches: vec![Arc::new(lora) as Arc<dyn Patch>], ..OpenOptions::default() };
        let artist = Artist::with(model, stored.clone(), options, &Drawing::default())?;
        let mut pictures = Vec::new();
        for prompt in prompts {
            pictures.extend(artist.at_once(&[(prompt, 0)])?);
        }
        let pictures: Vec<f32> = pictures.iter().map(|v| v.clamp(0.0, 1.0)).collect();
        Pictures::new(artist.side, artist.side, 3, pictures).columns(4).save(path)
    }
}
