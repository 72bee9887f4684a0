//! The latents of all pictures, computed once by the runtime from the autoencoder's file, and kept beside the run.
use crate::checkpoint::Checkpoint;
use crate::data::captioned::Captioned;
use crate::error::{Error, Result};
use crate::param::{State, Values};
use crate::target::LATENTS;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{FirstStage, SessionOptions};
use nijimi_runtime::raw::layout::channels_last;
use nijimi_runtime::raw::nn::AutoencoderKl;
use rayon::prelude::*;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// The first stage's network, if it is of the kind that is trained here and its latents are but moved and scaled.
///
/// # Errors
/// Another kind.
pub fn known(stage: &FirstStage) -> Result<&AutoencoderKl> {
    let what = "the autoencoder is of another kind (tiny, or with statistics of its latents): it can be drawn with, but not \
                trained with";
    stage.network.kl().filter(|_| stage.statistics.is_none()).ok_or_else(|| Error::File(what.into()))
}

/// Latents as the U-Net sees them, scaled: for each picture, as it is and mirrored, `(c, h, w)`.
pub struct Latents {
    /// Channels.
    pub channels: usize,
    /// Height and width.
    pub side: usize,
    values: Vec<f32>,
}

impl Latents {
    /// Values of one picture's latents.
    pub fn len(&self) -> usize {
        self.channels * self.side * self.side
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Those of picture `i`.
    pub fn of(&self, i: usize, mirrored: bool) -> &[f32] {
        let n = self.len();
        &self.values[(2 * i + usize::from(mirrored)) * n..][..n]
    }

    /// Of all pictures of `data`: read from the folder `cache` where the same were computed before, else computed, and
    /// written there.
    ///
    /// # Errors
    /// An autoencoder that the runtime refuses, pictures whose sides it cannot halve, a file that cannot be written.
    pub fn compute(autoencoder: &[u8], data: &Captioned, cache: &Path) -> Result<Self> {
        let file = File::new_checked(autoencoder).map_err(nijimi_runtime::Error::from)?;
        let stage = FirstStage::read(&file)?;
        let network = known(&stage)?;
        let (factor, channels) = (network.factor(), network.latent_channels);
        if !data.side.is_multiple_of(factor) {
            let what = format!("pictures of {0}x{0}: the autoencoder takes multiples of {factor}", data.side);
            return Err(Error::Usage(what));
        }
        let side = data.side / factor;
        let (path, key) = (cache.join(LATENTS), fingerprint(autoencoder, data));
        if path.exists()
            && let Ok(saved) = Checkpoint::load(&path)
            && saved.facts.get("fingerprint") == Some(&key)
            && let Some(values) = saved.tensors.get("latents")
        {
            return Ok(Self { channels, side, values: values.data.clone() });
        }
        let [encoder, _] = stage.load(&file)?;
        let len = channels * side * side;
        let mut values = vec![0f32; 2 * data.pictures.len() * len];
        // A session for each piece of work; the values do not depend on how the work is cut.
        let part = data.pictures.len().div_ceil(rayon::current_num_threads()).max(1);
        let parts = values.par_chunks_mut(2 * part * len).zip(data.pictures.par_chunks(part));
        parts.try_for_each(|(values, pictures)| -> Result<()> {
            let graph = network.encoder(FirstStage::PREFIX, 1, [data.side, data.side]);
            let graph = graph.map_err(nijimi_runtime::Error::from)?;
            let mut encoder = encoder.evaluator(vec![graph], &SessionOptions { threads: 1, ..Default::default() })?;
            let (mut mean, mut log_variance) = (vec![0f32; len], vec![0f32; len]);
            for (out, i) in values.chunks_exact_mut(len).zip(0..) {
                let pixels = &pictures[i / 2].pixels;
                let row = data.side * 3;
                let value = |j: usize| {
                    let (y, x) = (j / row, j % row);
                    let x = if i % 2 == 1 { (data.side - 1 - x / 3) * 3 + x % 3 } else { x };
                    f32::from(pixels[y * row + x]) / 127.5 - 1.0
                };
                let picture: Vec<f32> = (0..pixels.len()).map(value).collect();
                encoder.evaluate(0, &[(AutoencoderKl::PICTURE, &picture)], &[])?;
                network.moments(encoder.output(AutoencoderKl::MOMENTS)?, &mut mean, &mut log_variance);
                mean.iter_mut().for_each(|z| *z = (*z - stage.shift_factor) * stage.scaling_factor);
                out.copy_from_slice(&channels_last(&mean, side * side, channels));
            }
            Ok(())
        })?;
        let shape = vec![data.pictures.len(), 2, channels, side, side];
        let tensors = State::from([("latents".to_owned(), Values { shape, data: values.clone() })]);
        Checkpoint { tensors, facts: HashMap::from([("fingerprint".to_owned(), key)]) }.save(&path)?;
        Ok(Self { channels, side, values })
    }
}

/// What tells these latents from others.
fn fingerprint(autoencoder: &[u8], data: &Captioned) -> String {
    let mut hasher = DefaultHasher::new();
    autoencoder.hash(&mut hasher);
    data.side.hash(&mut hasher);
    for picture in &data.pictures {
        (&picture.file, &picture.pixels).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests;
