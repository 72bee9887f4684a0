//! What is asked of a model: prompts, seeds, sizes, and init images.

use super::TextToImage;
use super::depth::DepthMap;
use super::encoded::{EncodedInit, EncodedPrompts};
use super::info::LatentInfo;
use super::references::EncodedReferences;
use super::tiling::Tiling;
use crate::Error;
use crate::model::ip_adapter::ImagePrompt;
use crate::model::noise::NoiseSource;
use crate::model::options::check;
use crate::model::{Control, RequestError, SessionOptions, TinyAutoencoder};
use crate::nn::Denoiser;
use crate::sampler::Calls;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// What to draw: from [`TextToImage::request`](super::TextToImage::request), with whatever is to be another.
#[derive(Clone, Debug)]
pub struct LatentRequest<'a> {
    /// One a picture.
    pub prompts: Vec<&'a str>,
    /// What the picture shall not show, one a picture; `None` is nothing said.
    pub negatives: Vec<Option<&'a str>>,
    /// The prompts' states from [`TextToImage::encode_prompts`](super::TextToImage::encode_prompts), in place of `prompts` and
    /// `negatives`, which are then not looked at: for many runs of the same prompts.
    pub encoded_prompts: Option<&'a EncodedPrompts>,
    /// How `prompts` and `negatives` are read.
    pub prompt_syntax: PromptSyntax,
    /// Layers of the text encoders that are left out at the end, counted as stable-diffusion.cpp and A1111 do: 1 is
    /// none, 2 the last; 0 what the model was trained with.
    pub clip_skip: usize,
    /// One a picture. A picture depends on its own seed and prompt alone, never on its neighbours.
    pub seeds: Vec<u64>,
    /// What draws the noise of a seed.
    pub noise: NoiseSource,
    /// Height and width of the pictures, multiples of [`TextToImage::factor`](super::TextToImage::factor).
    pub size: [usize; 2],
    /// How to get there, from [`TextToImage::calls`](super::TextToImage::calls).
    pub calls: &'a Calls,
    /// Strength of classifier-free guidance (Ho and Salimans 2022); 1 and less is none, as in diffusers. Models into which
    /// guidance was distilled are told it, and are evaluated once.
    pub guidance_scale: f32,
    /// Of models that change pictures by instruction, how strongly the picture is kept to where a run is guided: 1 and more
    /// (Brooks et al. 2023); none is [`LatentInfo::image_guidance_scale`](super::LatentInfo::image_guidance_scale).
    pub image_guidance_scale: Option<f32>,
    /// How far a guided answer's spread is brought back to the conditional one's (Lin et al. 2023): 0 is not at all.
    pub guidance_rescale: f32,
    /// How many times the conditional answer's length a guided one may have: longer ones are shortened (diffusers'
    /// `cfg_normalization`, of Z-Image; 1 is usual). None is any; not beside `guidance_rescale`.
    pub guidance_normalization: Option<f32>,
    /// The picture's share in the sample, 0 to 1, from which on there is no guidance (diffusers' `cfg_truncation`, of Z-Image). None
    /// is all steps.
    pub guidance_truncation: Option<f32>,
    /// How often the whole U-Net is evaluated: 1 for each call; more for the first of so many calls, of which the others take the
    /// deep features over from it ([`SdCache`](crate::nn::SdCache)): faster, and another picture. Not beside ControlNets; beside
    /// T2I-Adapters it is, whose features are part of what is taken over.
    pub cache_interval: usize,
    /// Skip-layer guidance, of runs that are guided and a network that is a transformer: it costs half a call more at its steps.
    pub skip_layers: Option<SkipLayers<'a>>,
    /// The initial noise, standard normal, `(n, h, w, latent_channels)` of the latents' size; drawn by the seeds if none is
    /// given.
    pub latents: Option<&'a [f32]>,
    /// Pictures to start from, in [0, 1], `(n, height, width, 3)`, or one for all: the run begins at its first call's
    /// noise level (Meng et al. 2022, SDEdit), which [`SolverSettings::start`](crate::sampler::SolverSettings::start) chooses.
    pub init_image: Option<&'a [f32]>,
    /// What [`TextToImage::encode_init`](super::TextToImage::encode_init) made of `init_image` and `mask`, which are then not looked
    /// at: for many runs from the same pictures, or to have the encoder out of memory before the U-Net comes.
    pub encoded_init: Option<&'a EncodedInit>,
    /// 1 where the init image is repainted, 0 where it is kept, `(n, height, width)`, or one for all: from 0.5 on a pixel is.
    /// Inpainting models need it and `init_image`; with others, what is kept is put back after every step (Lugmayr et al. 2022,
    /// eq. 8).
    pub mask: Option<&'a [f32]>,
    /// How near everything is, for all pictures: models that are led by depth need it, and others have no use for it.
    pub depth: Option<DepthMap<'a>>,
    /// ControlNets and T2I-Adapters, whose residuals and features are added up.
    pub controls: Vec<LatentControl<'a>>,
    /// Pictures that lead as the prompt does, by an IP-Adapter: all pictures of the request alike. Where a run is guided, it is
    /// guided away from no picture.
    pub image_prompt: Option<ImagePrompt<'a>>,
    /// Pictures that are looked at while one is drawn, all pictures of the request alike: of models that know them (FLUX.2).
    pub references: Vec<ReferenceImage<'a>>,
    /// What [`TextToImage::encode_references`](super::TextToImage::encode_references) made of `references`, which are then not
    /// looked at: for many runs.
    pub encoded_references: Option<&'a EncodedReferences>,
    /// How latents become pictures.
    pub decoding: Decoding<'a>,
    /// Threads, limits and devices; [`SessionOptions::batch`] is ignored here.
    pub options: SessionOptions,
}

/// Skip-layer guidance: the answer is moved away from what the network says without some of its blocks, which makes fewer broken
/// shapes (Stability AI for Stable Diffusion 3.5 medium; diffusers' `skip_guidance_layers`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SkipLayers<'a> {
    /// The blocks, from 0.
    pub layers: &'a [usize],
    /// How far: 2.8 is usual.
    pub scale: f32,
    /// At which of the steps: those later than this share of them, and
    pub start: f64,
    /// earlier than this one.
    pub stop: f64,
}

impl Default for SkipLayers<'_> {
    /// What Stability AI recommends for Stable Diffusion 3.5 medium.
    fn default() -> Self {
        Self { layers: &[7, 8, 9], scale: 2.8, start: 0.01, stop: 0.2 }
    }
}

impl SkipLayers<'_> {
    /// Of `n` steps, those that are guided so: `start n < i < stop n`.
    #[must_use]
    pub fn steps(&self, n: usize) -> Range<usize> {
        let n = n as f64;
        let first = libm::floor(self.start * n) + 1.0;
        let end = libm::ceil(self.stop * n).min(n).max(first);
        first as usize..end as usize
    }

    pub(super) fn check(&self, info: &LatentInfo, guided: bool) -> Result<(), Error> {
        let not_of = |of| Err(RequestError::NotOf { what: "skip_layers", of }.into());
        if !matches!(info.denoiser, Denoiser::Mmdit(_)) {
            return not_of("models whose network is Stable Diffusion 3's transformer");
        }
        if !guided {
            return not_of("guided runs");
        }
        check(self.scale.is_finite(), "scale of skip-layer guidance", self.scale, "a finite number")?;
        check(!self.layers.is_empty(), "layers that are skipped", "none", "one or more")?;
        for (what, share) in [("start of skip-layer guidance", self.start), ("stop of skip-layer guidance", self.stop)]
        {
            check((0.0..=1.0).contains(&share), what, share, "from 0 to 1")?;
        }
        Ok(())
    }
}

/// How a prompt is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PromptSyntax {
    /// With AUTOMATIC1111's weights, `(word:1.2)`, and `BREAK`, in as many windows as it takes.
    #[default]
    Weighted,
    /// As it is written, in one window, which cuts what is too long: as diffusers reads it.
    Plain,
}

/// A ControlNet or a T2I-Adapter with what it is shown.
#[derive(Clone, Copy, Debug)]
pub struct LatentControl<'a> {
    /// The network.
    pub network: &'a Control,
    /// In [0, 1], `(height, width, channels)`, for all pictures, of the network's channels.
    pub picture: &'a [f32],
    /// What its residuals or features are multiplied by: 1 as it was trained.
    pub strength: f32,
}

/// A picture that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceImage<'a> {
    /// In [0, 1], `(height, width, 3)`.
    pub picture: &'a [f32],
    /// Height and width, of its own, multiples of [`LatentInfo::multiple`].
    pub size: [usize; 2],
}

/// How latents become pictures, and pictures latents.
#[derive(Clone, Copy, Debug, Default)]
pub enum Decoding<'a> {
    /// By the model's autoencoder, at once.
    #[default]
    Whole,
    /// By the model's autoencoder, in tiles that overlap: pictures of any size in the memory of a small one, at the price of
    /// seams that may be seen.
    Tiled(Tiling),
    /// By a small autoencoder of the same latents: TAESD.
    Tiny(&'a TinyAutoencoder),
}

impl<'a> Decoding<'a> {
    /// How the model's own autoencoder cuts, if it does.
    pub(super) fn tiling(self) -> Option<Tiling> {
        if let Self::Tiled(tiling) = self { Some(tiling) } else { None }
    }

    /// What works in its place.
    pub(super) fn tiny(self) -> Option<&'a TinyAutoencoder> {
        if let Self::Tiny(tiny) = self { Some(tiny) } else { None }
    }
}

impl TextToImage {
    /// One picture, of the size and with the guidance that suit the model.
    pub fn request<'a>(&self, prompt: &'a str, seed: u64, calls: &'a Calls) -> LatentRequest<'a> {
        LatentRequest {
            prompts: vec![prompt],
            negatives: vec![None],
            encoded_prompts: None,
            prompt_syntax: PromptSyntax::default(),
            clip_skip: 0,
            seeds: vec![seed],
            noise: NoiseSource::default(),
            size: self.info().size(),
            calls,
            guidance_scale: self.info().guidance_scale(),
            image_guidance_scale: None,
            guidance_rescale: 0.0,
            guidance_normalization: None,
            guidance_truncation: None,
            cache_interval: 1,
            skip_layers: None,
            latents: None,
            init_image: None,
            encoded_init: None,
            mask: None,
            depth: None,
            controls: Vec::new(),
            image_prompt: None,
            references: Vec::new(),
            encoded_references: None,
            decoding: Decoding::default(),
            options: SessionOptions::default(),
        }
    }
}
