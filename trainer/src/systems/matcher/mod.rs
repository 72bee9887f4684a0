//! Training, keeping and asking the matcher: which of many captions a picture shows.
mod augment;
pub mod command;
pub mod retrieval;
#[cfg(test)]
mod tests;

use crate::checkpoint::Checkpoint;
use crate::data::captioned::{Captioned, Picture};
use crate::data::captions;
use crate::error::{Error, Result};
use crate::nn::matcher::{FEATURES, Matcher, SHRINK, Tokens};
use crate::ops::Kit;
use crate::optim::{AdamW, Optimizer};
use crate::param;
use crate::progress::Progress;
use crate::tensor::T4;
use crate::text;
use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::raw::text::{Tokenizer, Vocabulary};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// How a matcher is trained.
#[derive(Clone, Copy, Debug)]
pub struct MatcherSettings {
    /// Passes over the subjects; each pass shows one picture of each.
    pub epochs: u64,
    /// Subjects in a batch: a caption's rivals.
    pub batch: usize,
    /// First learning rate; it falls along half a cosine to 0.
    pub lr: f64,
    /// Pictures, of whole subjects, that training never sees.
    pub hold_out: usize,
    /// Most tokens of the vocabulary.
    pub vocabulary: usize,
    /// Keys everything random.
    pub seed: u64,
}

impl Default for MatcherSettings {
    fn default() -> Self {
        Self { epochs: 120, batch: 128, lr: 2e-3, hold_out: 160, vocabulary: 4096, seed: 1 }
    }
}

/// Most tokens of a caption that are read.
const LONGEST: usize = 24;
/// Decoupled weight decay.
const DECAY: f64 = 0.02;
/// Steps for which the learning rate stays the same.
const LR_STEPS: u64 = 10;
/// Pictures, or captions, in one evaluation pass.
const EVAL_BATCH: usize = 128;
const KIND: &str = "nijimi matcher 1";

/// Which pictures of a set are for what, by index; those without a caption are for nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// Pictures to train on, by subject, at least one each.
    pub train: BTreeMap<u32, Vec<u32>>,
    /// Of subjects with at least four pictures, one that is held out though the subject is known.
    pub variants: Vec<u32>,
    /// Pictures of subjects that are held out.
    pub unknown: Vec<u32>,
}

impl Parts {
    /// Divides a set, keyed by `seed`.
    pub fn new(set: &Captioned, hold_out: usize, seed: u64) -> Self {
        let named = |i: &u32| !set.pictures[*i as usize].name.is_empty();
        let (known, unknown) = set.hold_out(hold_out, seed);
        let mut train = BTreeMap::<u32, Vec<u32>>::new();
        for i in known.into_iter().filter(named) {
            train.entry(set.pictures[i as usize].subject).or_default().push(i);
        }
        let mut variants = Vec::new();
        for (subject, pictures) in train.iter_mut().filter(|(_, p)| p.len() >= 4) {
            let which = Stream::new(seed, "held-out variants", u64::from(*subject)).below(pictures.len() as u64);
            variants.push(pictures.remove(which as usize));
        }
        Self { train, variants, unknown: unknown.into_iter().filter(named).collect() }
    }
}

/// A matcher of pictures of one size.
pub struct TrainedMatcher<D: Kit> {
    device: D,
    network: Matcher<D>,
    vocabulary: Vocabulary,
    tokenizer: Tokenizer,
    side: usize,
    /// How many pictures were held out, and the seed that chose them.
    pub held_out: (usize, u64),
}

impl<D: Kit> TrainedMatcher<D> {
    fn new(device: D, vocabulary: Vocabulary, side: usize, held_out: (usize, u64), seed: u64) -> Result<Self> {
        if side == 0 || !side.is_multiple_of(SHRINK) {
            let what = format!("the matcher shrinks pictures by {SHRINK}, so {side}x{side} cannot be judged");
            return Err(Error::Usage(format!("{what}: use a multiple of {SHRINK}")));
        }
        let tokenizer = Tokenizer::new(&vocabulary, text::special(&vocabulary, LONGEST + 2))
            .map_err(|e| Error::Usage(format!("the matcher's vocabulary: {e}")))?;
        let network = Matcher::new(&device, seed, side, vocabulary.tokens.len());
        Ok(Self { device, network, vocabulary, tokenizer, side, held_out })
    }

    /// Trains a matcher on the pictures that [`Parts::train`] names.
    ///
    /// # Errors
    /// Fewer than two subjects, sides that are no multiple of 16, a loss that is not finite.
    pub fn train(device: D, set: &Captioned, settings: &MatcherSettings) -> Result<Self> {
        let parts = Parts::new(set, settings.hold_out, settings.seed);
        let mut subjects: Vec<&Vec<u32>> = parts.train.values().collect();
        if subjects.len() < 2 || settings.batch < 2 || settings.epochs == 0 {
            let what = format!("a matcher needs two subjects with captions and a batch of two, has {}", subjects.len());
            return Err(Error::Usage(what));
        }
        let texts = subjects.iter().flat_map(|s| s.iter()).map(|i| set.pictures[*i as usize].clone());
        let vocabulary = text::train(captions::texts(&texts.collect::<Vec<_>>()), settings.vocabulary)?;
        let mut new = Self::new(device, vocabulary, set.side, (settings.hold_out, settings.seed), settings.seed)?;
        let batch = settings.batch.min(subjects.len());
        // What is left over is in another epoch's batches: all batches are of one size, so that rivals are as many.
        let per_epoch = (subjects.len() / batch) as u64;
        let total = settings.epochs.saturating_mul(per_epoch);
        let mut progress = Progress::new(0, total, per_epoch, settings.epochs);
        let adam = AdamW { lr: settings.lr, weight_decay: DECAY, warmup: 0, clip: Some(1.0), muon: None };
        let mut optimizer = Optimizer::new(adam);
        let mut epoch_sum = 0.0;
        for step in 0..total {
            let (epoch, index) = (step / per_epoch, (step % per_epoch) as usize);
            if index == 0 {
                Stream::new(settings.seed, "matcher order", epoch).shuffle(&mut subjects);
            }
            if step % LR_STEPS == 0 {
                let fall = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / total as f64).cos());
                optimizer.set_lr(settings.lr * fall);
            }
            let first = step * batch as u64;
            let (x, ids) = new.batch(set, &subjects[index * batch..(index + 1) * batch], settings.seed, first);
            let gradients = param::zero_gradients(&mut new.network);
            let pictures = new.network.pictures_train(x.traced(gradients));
            let captions = new.network.captions(&ids);
            let (loss, value) = new.network.contrast(pictures, captions);
            if !value.is_finite() {
                let checkpoint = "none: the matcher is trained anew".to_owned();
                return Err(Error::Diverged { what: "the loss", value, step: step + 1, epoch: epoch + 1, checkpoint });
            }
            optimizer.update(&mut new.network, &mut loss.backward(), None);
            epoch_sum += value;
            progress.step(step + 1, value);
            if index + 1 == per_epoch as usize {
                if (epoch + 1) % 10 == 0 || epoch + 1 == settings.epochs {
                    progress.note(&format!("matcher, epoch {}: loss {:.5}", epoch + 1, epoch_sum / per_epoch as f64));
                }
                epoch_sum = 0.0;
            }
        }
        Ok(new)
    }

    /// One changed picture of each subject, with one of its captions.
    fn batch(&self, set: &Captioned, subjects: &[&Vec<u32>], seed: u64, first: u64) -> (T4<D>, Tokens) {
        let size = 3 * self.side * self.side;
        let mut values = vec![0f32; subjects.len() * size];
        let (side, tokenizer) = (self.side, &self.tokenizer);
        let rows = values.par_chunks_mut(size).zip(subjects.par_iter()).enumerate().map(|(i, (out, pictures))| {
            let mut draw = Stream::new(seed, "matcher picture", first + i as u64);
            let picture = &set.pictures[pictures[draw.below(pictures.len() as u64) as usize] as usize];
            augment::changed(&picture.pixels, side, captions::may_flip(picture), &mut draw, out);
            tokenizer.encode(&wording(picture, &mut draw))
        });
        let ids: Vec<Vec<u32>> = rows.collect();
        let shape = (subjects.len(), 3, self.side, self.side);
        (self.device.tensor_from_vec(values, shape), Tokens::new(&ids, LONGEST))
    }

    /// Side of the pictures that it judges.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Unit vectors of pictures `(n, side, side, 3)` of bytes, `n * FEATURES`.
    ///
    /// # Panics
    /// If they are not whole pictures.
    pub fn pictures(&self, pixels: &[u8]) -> Vec<f32> {
        let size = 3 * self.side * self.side;
        assert_eq!(pixels.len() % size, 0, "whole pictures of {0}x{0}", self.side);
        let mut values = vec![0f32; pixels.len()];
        values.par_chunks_mut(size).zip(pixels.par_chunks(size)).for_each(|(out, pixels)| augment::plain(pixels, out));
        self.values(&values)
    }

    /// As [`Self::pictures`], each changed as in training, keyed by `seed`.
    pub fn changed(&self, pictures: &[&Picture], seed: u64) -> Vec<f32> {
        let (side, size) = (self.side, 3 * self.side * self.side);
        let mut values = vec![0f32; pictures.len() * size];
        values.par_chunks_mut(size).zip(pictures).enumerate().for_each(|(i, (out, picture))| {
            let mut draw = Stream::new(seed, "matcher changed", i as u64);
            augment::changed(&picture.pixels, side, captions::may_flip(picture), &mut draw, out);
        });
        self.values(&values)
    }

    /// Unit vectors of pictures `(n, 3, side, side)`, -1 to 1.
    fn values(&self, values: &[f32]) -> Vec<f32> {
        let size = 3 * self.side * self.side;
        let pass = |batch: &[f32]| {
            let shape = (batch.len() / size, 3, self.side, self.side);
            self.network.pictures(self.device.tensor_from_vec(batch.to_vec(), shape)).as_vec()
        };
        values.chunks(EVAL_BATCH * size).flat_map(pass).collect()
    }

    /// Unit vectors of captions, `n * FEATURES`.
    pub fn captions<S: AsRef<str>>(&self, captions: &[S]) -> Vec<f32> {
        let pass = |batch: &[S]| {
            let ids: Vec<Vec<u32>> = batch.iter().map(|c| self.tokenizer.encode(c.as_ref())).collect();
            self.network.captions::<NoneTape>(&Tokens::new(&ids, LONGEST)).as_vec()
        };
        captions.chunks(EVAL_BATCH).flat_map(pass).collect()
    }

    /// Writes the matcher with its vocabulary as a safetensors file; `facts` are kept in it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&mut self, path: &Path, facts: &[(&str, String)]) -> Result<()> {
        let mut all: HashMap<String, String> = facts.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let own = [
            ("kind", KIND.to_owned()),
            ("side", self.side.to_string()),
            ("hold_out", self.held_out.0.to_string()),
            ("hold_out_seed", self.held_out.1.to_string()),
            ("tokens", self.vocabulary.tokens.join("\n")),
            ("merges", self.vocabulary.merges.join("\n")),
        ];
        all.extend(own.map(|(k, v)| (k.to_owned(), v)));
        Checkpoint { tensors: param::state(&mut self.network, ""), facts: all }.save(path)
    }

    /// Reads a matcher.
    ///
    /// # Errors
    /// If the file is damaged, not a matcher, or its tensors do not fit.
    pub fn load(device: D, path: &Path) -> Result<Self> {
        let saved = Checkpoint::load(path)?;
        let bad = |what: String| Error::Checkpoint { path: path.into(), what };
        if saved.facts.get("kind").map(String::as_str) != Some(KIND) {
            return Err(bad("not a matcher's weights; `nijimi-train matcher` makes some".into()));
        }
        let side: usize = saved.fact(path, "side")?;
        // Before anything of that size is allocated.
        if !(SHRINK..=1024).contains(&side) {
            return Err(bad(format!("{side}x{side}: not a size that a matcher can have")));
        }
        let lines = |key: &str| -> Result<Vec<String>> {
            let text: String = saved.fact(path, key)?;
            Ok(text.lines().map(String::from).collect())
        };
        let vocabulary = Vocabulary { tokens: lines("tokens")?, merges: lines("merges")?, added: Vec::new() };
        let held_out = (saved.fact(path, "hold_out")?, saved.fact(path, "hold_out_seed")?);
        let mut new = Self::new(device, vocabulary, side, held_out, 0).map_err(|e| bad(e.to_string()))?;
        param::load(&mut new.network, "", &saved.tensors).map_err(bad)?;
        Ok(new)
    }
}

/// A caption that has the name in it: the category or a tag alone fits many pictures.
fn wording(picture: &Picture, draw: &mut Stream) -> String {
    let name = captions::name(picture);
    let begin = name.split(", ").next().unwrap_or_default();
    let tries = (0..3).map(|_| captions::caption(picture, draw));
    let found = tries.into_iter().find(|text| text.contains(begin));
    found.unwrap_or(name)
}

/// Length of the vectors.
pub const WIDTH: usize = FEATURES;
