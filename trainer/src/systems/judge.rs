//! Training, keeping and asking the judge: an independent classifier of labelled gray pictures.
use crate::checkpoint::Checkpoint;
use crate::data::idx::LabelledPictures;
use crate::error::{Error, Result};
use crate::nn::judge::{FEATURES, Judge, cross_entropy};
use crate::ops::Kit;
use crate::optim::{AdamW, Optimizer};
use crate::param;
use crate::progress::Progress;
use crate::tensor::T4;
use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;

/// How a judge is trained.
#[derive(Clone, Copy, Debug)]
pub struct JudgeSettings {
    /// Passes over the data.
    pub epochs: u64,
    /// Pictures in a batch.
    pub batch: usize,
    /// First learning rate; it falls along half a cosine to 0 (Loshchilov and Hutter 2017).
    pub lr: f64,
    /// Keys everything random.
    pub seed: u64,
}

impl Default for JudgeSettings {
    fn default() -> Self {
        Self { epochs: 4, batch: 128, lr: 2e-3, seed: 1 }
    }
}

/// Largest shift of a training picture, in pixels, each way.
const SHIFT: i32 = 2;
/// Steps for which the learning rate stays the same.
const LR_STEPS: u64 = 20;
/// Pictures in one evaluation pass.
const EVAL_BATCH: usize = 250;

/// A classifier of pictures of one size.
pub struct TrainedJudge<D: Kit> {
    device: D,
    network: Judge<D>,
    width: usize,
    height: usize,
    labels: usize,
}

/// What the judge says of pictures.
pub struct Verdict {
    /// Penultimate features, `n * FEATURES`.
    pub features: Vec<f32>,
    /// The most likely label of each picture.
    pub labels: Vec<u8>,
}

impl<D: Kit> TrainedJudge<D> {
    /// Trains a judge.
    ///
    /// # Errors
    /// If the pictures' size is not a multiple of 4, or the loss is not finite.
    pub fn train(device: D, data: &LabelledPictures, settings: &JudgeSettings) -> Result<Self> {
        let (width, height) = (data.width, data.height);
        if width % 4 != 0 || height % 4 != 0 {
            let what =
                format!("the judge halves pictures twice, so {width}x{height} cannot be judged: use multiples of 4");
            return Err(Error::File(what));
        }
        let labels = usize::from(*data.labels.iter().max().unwrap_or(&0)) + 1;
        let mut network = Judge::new(&device, settings.seed, width, height, labels);
        let per_epoch = data.len().div_ceil(settings.batch) as u64;
        let total = settings.epochs.saturating_mul(per_epoch);
        let mut progress = Progress::new(0, total, per_epoch, settings.epochs);
        let mut optimizer = Optimizer::new(adam(settings.lr));
        let (mut order, mut epoch_sum) = ((0..data.len() as u32).collect::<Vec<_>>(), 0.0);
        for step in 0..total {
            let (epoch, index) = (step / per_epoch, (step % per_epoch) as usize);
            if index == 0 {
                Stream::new(settings.seed, "judge order", epoch).shuffle(&mut order);
            }
            if step % LR_STEPS == 0 {
                let fall = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / total as f64).cos());
                optimizer.set_lr(settings.lr * fall);
            }
            let from = index * settings.batch;
            let picked = &order[from..(from + settings.batch).min(order.len())];
            let x = shifted(data, picked, settings.seed, step * settings.batch as u64);
            let truth: Vec<u8> = picked.iter().map(|p| data.labels[*p as usize]).collect();
            let x: T4<D> = device.tensor_from_vec(x, (picked.len(), 1, height, width));
            let gradients = param::zero_gradients(&mut network);
            let logits = network.train(x.traced(gradients));
            let (loss, value) = cross_entropy(logits, &truth);
            if !value.is_finite() {
                let checkpoint = "none: the judge is trained anew".to_owned();
                return Err(Error::Diverged { what: "the loss", value, step: step + 1, epoch: epoch + 1, checkpoint });
            }
            optimizer.update(&mut network, &mut loss.backward(), None);
            epoch_sum += value;
            progress.step(step + 1, value);
            if index + 1 == per_epoch as usize {
                progress.note(&format!("judge, epoch {}: loss {:.5}", epoch + 1, epoch_sum / per_epoch as f64));
                epoch_sum = 0.0;
            }
        }
        Ok(Self { device, network, width, height, labels })
    }

    /// Writes the judge as a safetensors file; `command` is kept in it.
    pub fn save(&mut self, path: &Path, command: &str) -> Result<()> {
        let facts = HashMap::from([
            ("kind".to_owned(), KIND.to_owned()),
            ("width".to_owned(), self.width.to_string()),
            ("height".to_owned(), self.height.to_string()),
            ("labels".to_owned(), self.labels.to_string()),
            ("command".to_owned(), command.to_owned()),
        ]);
        Checkpoint { tensors: param::state(&mut self.network, ""), facts }.save(path)
    }

    /// Reads a judge.
    ///
    /// # Errors
    /// If the file is damaged, not a judge, or its tensors do not fit.
    pub fn load(device: D, path: &Path) -> Result<Self> {
        let saved = Checkpoint::load(path)?;
        let bad = |what: String| Error::Checkpoint { path: path.into(), what };
        if saved.facts.get("kind").map(String::as_str) != Some(KIND) {
            return Err(bad("not a judge's weights; give --judge another name to train one there".into()));
        }
        let (width, height): (usize, usize) = (saved.fact(path, "width")?, saved.fact(path, "height")?);
        let labels: usize = saved.fact(path, "labels")?;
        // Before anything of that size is allocated.
        if !(1..=256).contains(&labels) || ![width, height].iter().all(|s| (4..=1024).contains(s) && s % 4 == 0) {
            return Err(bad(format!("{labels} labels, {width}x{height}: not sizes that a judge can have")));
        }
        let mut network = Judge::new(&device, 0, width, height, labels);
        param::load(&mut network, "", &saved.tensors).map_err(bad)?;
        Ok(Self { device, network, width, height, labels })
    }

    /// Width and height of the pictures it judges.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// How many labels it knows.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Judges pictures: `(n, h, w)`, 0 to 1.
    ///
    /// # Panics
    /// If the length is not a multiple of a picture's.
    pub fn judge(&self, pictures: &[f32]) -> Verdict {
        let size = self.width * self.height;
        assert_eq!(pictures.len() % size, 0, "whole pictures of {}x{}", self.width, self.height);
        let n = pictures.len() / size;
        let mut verdict = Verdict { features: Vec::with_capacity(n * FEATURES), labels: Vec::with_capacity(n) };
        for batch in pictures.chunks(EVAL_BATCH * size) {
            let shape = (batch.len() / size, 1, self.height, self.width);
            let (features, logits) = self.network.eval(self.device.tensor_from_vec(batch.to_vec(), shape));
            verdict.features.extend(features.as_vec());
            verdict.labels.extend(logits.as_vec().chunks_exact(self.labels).map(most_likely));
        }
        verdict
    }
}

const KIND: &str = "nijimi judge 1";

fn most_likely(logits: &[f32]) -> u8 {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.unwrap_or(0) as u8
}

fn adam(lr: f64) -> AdamW {
    AdamW { lr, weight_decay: 0.0, warmup: 0, clip: None, muon: None }
}

/// The picked pictures, 0 to 1, each shifted by up to [`SHIFT`] pixels, with black moving in.
fn shifted(data: &LabelledPictures, picked: &[u32], seed: u64, first: u64) -> Vec<f32> {
    let (w, h) = (data.width as i32, data.height as i32);
    let mut out = vec![0f32; picked.len() * data.width * data.height];
    out.par_chunks_mut(data.width * data.height).enumerate().for_each(|(i, out)| {
        let mut draw = Stream::new(seed, "judge shift", first + i as u64);
        let mut shift = || draw.below(2 * SHIFT as u64 + 1) as i32 - SHIFT;
        let (dx, dy) = (shift(), shift());
        let picture = data.picture(picked[i] as usize);
        for y in dy.max(0)..(h + dy).min(h) {
            for x in dx.max(0)..(w + dx).min(w) {
                out[(y * w + x) as usize] = f32::from(picture[((y - dy) * w + x - dx) as usize]) / 255.0;
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight by eight pictures: label 0 is bright on the left, label 1 on the right.
    fn halves(n: usize) -> LabelledPictures {
        let labels: Vec<u8> = (0..n).map(|i| (i % 2) as u8).collect();
        let mut noise = Stream::new(3, "halves", 0);
        let pixel = |label: u8, x: usize, noise: &mut Stream| {
            let lit = (x < 4) == (label == 0);
            if lit { 255 - (noise.next_u32() % 64) as u8 } else { (noise.next_u32() % 64) as u8 }
        };
        let pixels = labels.iter().flat_map(|l| (0..64).map(|i| (*l, i % 8)).collect::<Vec<_>>());
        let pixels = pixels.map(|(l, x)| pixel(l, x, &mut noise)).collect();
        LabelledPictures { width: 8, height: 8, pixels, labels }
    }

    fn unit(data: &LabelledPictures) -> Vec<f32> {
        data.pixels.iter().map(|p| f32::from(*p) / 255.0).collect()
    }

    /// Seen red: labels of the training batch taken in data order instead of the shuffled one; a load that leaves out
    /// the running statistics.
    #[test]
    fn a_judge_learns_and_is_the_same_after_saving_and_loading() {
        let data = halves(256);
        let settings = JudgeSettings { epochs: 6, batch: 32, ..JudgeSettings::default() };
        let mut judge = TrainedJudge::train(Cpu::default(), &data, &settings).expect("training");
        let verdict = judge.judge(&unit(&data));
        let right = verdict.labels.iter().zip(&data.labels).filter(|(a, b)| a == b).count();
        assert!(right >= 250, "{right} of 256");
        let path = std::env::temp_dir().join(format!("nijimi-judge-{}.safetensors", std::process::id()));
        judge.save(&path, "test").expect("saving");
        let loaded = TrainedJudge::load(Cpu::default(), &path).expect("loading");
        std::fs::remove_file(&path).expect("removal");
        let again = loaded.judge(&unit(&data));
        assert_eq!(verdict.features, again.features);
        assert_eq!(verdict.labels, again.labels);
        assert_eq!((loaded.size(), loaded.labels()), ((8, 8), 2));
    }

    /// Seen red: one draw for both directions; `dy` left out of the row that is read.
    #[test]
    fn a_shift_moves_the_picture_and_keeps_its_pixels() {
        let mut pixels = vec![0u8; 64];
        pixels[3 * 8 + 4] = 255;
        pixels[4 * 8 + 4] = 51;
        let data = LabelledPictures { width: 8, height: 8, pixels, labels: vec![0] };
        let mut seen = std::collections::BTreeSet::new();
        for i in 0..200 {
            let out = shifted(&data, &[0], 5, i);
            let at = out.iter().position(|v| *v == 1.0).expect("the bright pixel stays inside");
            assert_eq!(out[at + 8], 0.2);
            assert!((out.iter().sum::<f32>() - 1.2).abs() < 1e-6);
            seen.insert((at % 8, at / 8));
        }
        let all = (1..=5).flat_map(|y| (2..=6).map(move |x| (x, y))).collect();
        assert_eq!(seen, all);
    }
}
