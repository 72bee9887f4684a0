//! `nijimi-train loss`: the training loss of a weight file on the test split, through the runtime.
use super::sample::Model;
use crate::data::idx::{LabelledPictures, Split};
use crate::error::{Error, Result};
use crate::say::say;
use argh::{ArgsInfo, FromArgs};
use nijimi_cli::number;
use nijimi_runtime::model::SessionOptions;
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::sampler::Prediction;
use std::path::{Path, PathBuf};

/// Noise levels are reported in this many equal ranges.
const BINS: usize = 10;
/// Pictures evaluated at once, all at one noise level.
const BATCH: usize = 20;

/// Mean squared error of the predicted noise on test pictures, labels given, by noise level.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "loss")]
pub struct LossArgs {
    /// the weight file
    #[argh(option, short = 'm')]
    model: PathBuf,
    /// folder with IDX files
    #[argh(option)]
    data: PathBuf,
    /// test pictures, each at one noise level (default 1000)
    #[argh(option, from_str_fn(number::count), default = "1000")]
    samples: usize,
}

/// Mean losses.
#[derive(Debug, PartialEq)]
pub struct Losses {
    /// Over all noise levels alike: what training minimizes.
    pub mean: f64,
    /// Over each tenth of the noise levels, the least noisy first.
    pub bins: [f64; BINS],
}

/// Runs the command.
///
/// # Errors
/// Files that are missing, damaged or do not belong together.
pub fn run(a: &LossArgs) -> Result<()> {
    let data = LabelledPictures::load(&a.data, Split::Test)?;
    let losses = measure(&a.model, &data, a.samples)?;
    say!("loss {:.6}", losses.mean);
    for (i, l) in losses.bins.iter().enumerate() {
        say!("  noise levels {:>3} to {:>3} %: {l:.6}", i * 100 / BINS, (i + 1) * 100 / BINS);
    }
    Ok(())
}

/// The losses of the model in `path` over `samples` pictures of `data`. Levels are spread evenly, so the mean is that of
/// uniform noise levels; noise is keyed by the picture, so two files see the same.
///
/// # Errors
/// If the file is no model of pictures of this size and these labels.
pub fn measure(path: &Path, data: &LabelledPictures, samples: usize) -> Result<Losses> {
    let model = Model::open(path)?;
    let info = model.info();
    let (w, h, c) = model.size();
    if (w, h, c) != (data.width, data.height, 1) {
        return Err(Error::data(path, format!("draws {w}x{h} with {c} channels, not what --data has")));
    }
    if info.prediction != Prediction::Epsilon {
        let what = "predicts no noise, and a student knows few noise levels: `nijimi-train eval` judges what it draws";
        return Err(Error::data(path, what));
    }
    let (size, levels) = (w * h, info.schedule.steps());
    let [low, high] = info.range;
    let batches = samples.min(data.len()).div_ceil(BATCH);
    let mut session = model.session(&SessionOptions { batch: BATCH, guidance: false, ..Default::default() })?;
    let (mut sums, mut counts) = ([0f64; BINS], [0usize; BINS]);
    let (mut x, mut eps) = (vec![0f32; BATCH * size], vec![0f32; BATCH * size]);
    for b in 0..batches {
        // The middle of each of `batches` equal ranges of levels.
        let level = 1 + (levels * (2 * b + 1)) / (2 * batches);
        let (signal, sigma) = info.schedule.forward(level);
        let mut labels = [None; BATCH];
        for i in 0..BATCH {
            let picture = (b * BATCH + i) % data.len();
            labels[i] = (!info.labels.is_empty()).then_some(u32::from(data.labels[picture]));
            let mut noise = Stream::new(0, "loss", picture as u64);
            for (j, p) in data.picture(picture).iter().enumerate() {
                let clean = low + (high - low) * f32::from(*p) / 255.0;
                eps[i * size + j] = noise.normal();
                x[i * size + j] = signal as f32 * clean + sigma as f32 * eps[i * size + j];
            }
        }
        let answer = session.predict(&x, (info.first_timestep + level as u32 - 1) as f32, &labels)?;
        let sum: f64 = answer.iter().zip(&eps).map(|(a, e)| f64::from(a - e) * f64::from(a - e)).sum();
        let bin = (level - 1) * BINS / levels;
        sums[bin] += sum;
        counts[bin] += x.len();
    }
    let bins = std::array::from_fn(|i| sums[i] / counts[i].max(1) as f64);
    Ok(Losses { mean: sums.iter().sum::<f64>() / counts.iter().sum::<usize>().max(1) as f64, bins })
}
