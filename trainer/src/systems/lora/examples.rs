//! Pictures and captions as a step is given them: latents and states, computed once and kept beside the run.
use crate::checkpoint::Checkpoint;
use crate::data::captioned::Captioned;
use crate::error::{Error, Result};
use crate::param::{State, Values};
use crate::systems::text2image::latents::known;
use crate::target::LATENTS;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    FirstStage, LatentInfo, LatentRequest, OpenOptions, PromptSyntax, SessionOptions, Stored, TextToImage,
};
use nijimi_runtime::raw::nn::AutoencoderKl;
use nijimi_runtime::raw::rng::Stream;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// A picture's latents.
pub struct Example {
    /// Height and width.
    pub size: [usize; 2],
    /// `(h, w, c)`, scaled as the U-Net sees them.
    pub latents: Vec<f32>,
    /// What is said of it.
    pub caption: String,
}

/// All of them, and what the U-Net is told of captions.
pub struct Examples {
    /// The pictures, in the data's order.
    pub pictures: Vec<Example>,
    /// States of a text; 0 where the text encoders are trained.
    pub tokens: usize,
    /// By caption, states and pooled states.
    texts: HashMap<String, [Vec<f32>; 2]>,
}

/// The name of a text's states in the cache.
fn text_name(what: &str, caption: &str) -> String {
    format!("{what}.{caption}")
}

impl Examples {
    /// Encodes all pictures and captions, or takes them from `folder`, where they were kept under the same `key`.
    ///
    /// # Errors
    /// An autoencoder that is not Stable Diffusion's; a file that cannot be written.
    pub fn compute(
        stored: &Arc<dyn Stored>,
        info: &LatentInfo,
        data: &Captioned,
        (folder, key): (&Path, String),
        texts: bool,
        threads: usize,
    ) -> Result<Self> {
        let (path, names) = (folder.join(LATENTS), |i: usize| format!("latents.{i}"));
        let mut captions: BTreeSet<&str> = data.pictures.iter().map(|p| &*p.name).collect();
        captions.insert("");
        let captions: Vec<&str> = if texts { captions.into_iter().collect() } else { Vec::new() };
        let kept = if path.exists() { Checkpoint::load(&path).ok() } else { None };
        let mut tensors = match kept.filter(|kept| kept.facts.get("fingerprint") == Some(&key)) {
            Some(kept) => kept.tensors,
            None => {
                let mut tensors = latents(&stored.file().map_err(nijimi_runtime::Error::from)?, data, names, threads)?;
                if texts {
                    tensors.extend(states(stored, info, &captions, threads)?);
                }
                let new = Checkpoint { tensors, facts: HashMap::from([("fingerprint".to_owned(), key)]) };
                new.save(&path)?;
                new.tensors
            }
        };
        let mut take = |name: &str| {
            let lost = || Error::data(&path, format!("{name} is missing: remove the file, and it is made anew"));
            tensors.remove(name).ok_or_else(lost)
        };
        let mut pictures = Vec::new();
        for (i, picture) in data.pictures.iter().enumerate() {
            let Values { shape, data } = take(&names(i))?;
            pictures.push(Example { size: [shape[0], shape[1]], latents: data, caption: picture.name.clone() });
        }
        let (mut tokens, mut known) = (0, HashMap::new());
        for caption in captions {
            let [states, pooled] = [take(&text_name("states", caption))?, take(&text_name("pooled", caption))?];
            tokens = states.shape[0];
            known.insert(caption.to_owned(), [states.data, pooled.data]);
        }
        Ok(Self { pictures, tokens, texts: known })
    }

    /// States and pooled states of a caption.
    ///
    /// # Panics
    /// If it was not encoded.
    pub fn states(&self, caption: &str) -> &[Vec<f32>; 2] {
        &self.texts[caption]
    }

    /// The batches of an epoch: pictures of one size each, in an order of its own.
    pub fn batches(&self, batch: usize, seed: u64, epoch: u64) -> Vec<Vec<u32>> {
        let mut draw = Stream::new(seed, "data order", epoch);
        let mut sizes: BTreeMap<[usize; 2], Vec<u32>> = BTreeMap::new();
        for (i, picture) in self.pictures.iter().enumerate() {
            sizes.entry(picture.size).or_default().push(i as u32);
        }
        let mut batches = Vec::new();
        for of in sizes.values_mut() {
            draw.shuffle(of);
            batches.extend(of.chunks(batch).map(<[u32]>::to_vec));
        }
        draw.shuffle(&mut batches);
        batches
    }
}

fn latents(file: &File<'_>, data: &Captioned, name: impl Fn(usize) -> String, threads: usize) -> Result<State> {
    let stage = FirstStage::read(file)?;
    let network = known(&stage)?;
    let [encoder, _] = stage.load(file)?;
    let options = SessionOptions { threads, ..SessionOptions::default() };
    let sizes: BTreeSet<[usize; 2]> = data.pictures.iter().map(|p| p.size).collect();
    let mut tensors = State::new();
    for size in sizes {
        let graph = network.encoder(FirstStage::PREFIX, 1, size).map_err(nijimi_runtime::Error::from)?;
        let mut encoder = encoder.evaluator(vec![graph], &options)?;
        let [h, w] = size.map(|side| side / network.factor());
        for (i, picture) in data.pictures.iter().enumerate().filter(|(_, p)| p.size == size) {
            let pixels: Vec<f32> = picture.pixels.iter().map(|p| f32::from(*p) / 127.5 - 1.0).collect();
            encoder.evaluate(0, &[(AutoencoderKl::PICTURE, &pixels)], &[])?;
            let len = h * w * network.latent_channels;
            let (mut mean, mut log_variance) = (vec![0f32; len], vec![0f32; len]);
            network.moments(encoder.output(AutoencoderKl::MOMENTS)?, &mut mean, &mut log_variance);
            mean.iter_mut().for_each(|z| *z = (*z - stage.shift_factor) * stage.scaling_factor);
            tensors.insert(name(i), Values { shape: vec![h, w, network.latent_channels], data: mean });
        }
    }
    Ok(tensors)
}

/// States of captions, as the runtime makes them where it draws; what no caption is told as, as the model has it.
fn states(stored: &Arc<dyn Stored>, info: &LatentInfo, captions: &[&str], threads: usize) -> Result<State> {
    let model = TextToImage::open(stored.clone(), OpenOptions::default())?;
    let calls = model.calls_by(None, None, 1)?;
    let request = LatentRequest {
        prompts: captions.to_vec(),
        negatives: vec![None; captions.len()],
        seeds: vec![0; captions.len()],
        guidance_scale: 1.0,
        prompt_syntax: PromptSyntax::Plain,
        options: SessionOptions { threads, ..SessionOptions::default() },
        ..model.request("", 0, &calls)
    };
    let encoded = model.encode_prompts(&request)?;
    let of = |values: &[f32], i: usize| {
        values[values.len() / captions.len() * i..][..values.len() / captions.len()].to_vec()
    };
    let mut tensors = State::new();
    for (i, caption) in captions.iter().enumerate() {
        let [mut states, mut pooled] = [encoded.states(), encoded.pooled()].map(|values| of(values, i));
        if caption.is_empty() && info.zeros_for_empty {
            [&mut states, &mut pooled].into_iter().for_each(|values| values.fill(0.0));
        }
        let (width, rest) = (info.denoiser.text_width(), pooled.len());
        let shape = vec![states.len() / width, width];
        tensors.insert(text_name("states", caption), Values { shape, data: states });
        tensors.insert(text_name("pooled", caption), Values { shape: vec![rest], data: pooled });
    }
    Ok(tensors)
}
