//! What a file says of a latent diffusion model.

use super::super::info::{kind, text};
use super::super::scheduler::SchedulerInfo;
use super::super::unet_keys::{UNET, maybe, size, unet};
use super::super::z_image_keys;
use super::super::{flux2_keys, mmdit_keys};
use super::defaults::LatentDefaults;
use super::first_stage::{FirstStage, LatentStatistics};
use super::keys;
use super::language::LanguageInfo;
use crate::Error;
use crate::gguf::File;
use crate::model::options::{check, in_range};
use crate::model::{ModelError, RequestError};
use crate::nn::{Autoencoder, ClipText, Denoiser, SdRequest, SdUnet, TextStates};
use crate::sampler::{Field, is_edm};
use crate::text::{Special, Tokenizer, Windows};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A text encoder: its tensors' prefix, its network, and how it reads a text.
#[derive(Clone, Debug)]
pub struct TextInfo {
    /// `text_encoder.` or `text_encoder_2.`.
    pub prefix: &'static str,
    /// The network.
    pub network: ClipText,
    /// Which of its states condition.
    pub states: TextStates,
    /// What makes ids of a text.
    pub tokenizer: Tokenizer,
}

/// A model's description, from the file's metadata (`docs/format.md`).
#[derive(Clone, Debug)]
pub struct LatentInfo {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// `sd1`, `sd2`, `sdxl`, `sd3`, `z-image`, `flux2`, or another word for what it is a form of, for people.
    pub family: String,
    /// The network that takes noise away.
    pub denoiser: Denoiser,
    /// What makes pictures of latents.
    pub autoencoder: Autoencoder,
    /// The denoiser's latents are `(z - shift_factor) * scaling_factor`.
    pub scaling_factor: f32,
    /// See [`Self::scaling_factor`].
    pub shift_factor: f32,
    /// See [`FirstStage::statistics`].
    pub statistics: Option<LatentStatistics>,
    /// One text encoder, or SDXL's and Stable Diffusion 3's two; none where a language model reads alone.
    pub texts: Vec<TextInfo>,
    /// A language model that reads texts, beside them or alone.
    pub language: Option<LanguageInfo>,
    /// Whether no negative prompt is zeros in place of an empty one's states.
    pub zeros_for_empty: bool,
    /// The scheduler's class, by diffusers' name.
    pub scheduler: String,
    /// Its settings, by diffusers' names.
    pub settings: Vec<(String, Field)>,
    /// Side of the latents that the model was trained on.
    pub sample_size: usize,
    /// How it is best sampled, where the file says so.
    pub defaults: LatentDefaults,
}

pub(super) const KEYS: [(&str, &str); 1] = [("nijimi.system", "latent-diffusion")];
pub(super) const NETWORK: &str = "nijimi.network";

/// The denoiser's name in a file, and where the file says for what size it was trained.
pub(super) const fn named(denoiser: &Denoiser) -> [&'static str; 2] {
    match denoiser {
        Denoiser::Unet(_) => ["sd-unet", "nijimi.unet.sample_size"],
        Denoiser::Mmdit(_) => ["mmdit", "nijimi.mmdit.sample_size"],
        Denoiser::ZImage(_) => ["z-image", "nijimi.z_image.sample_size"],
        Denoiser::Flux2(_) => ["flux2", "nijimi.flux2.sample_size"],
    }
}

fn denoiser(file: &File<'_>) -> Result<Denoiser, Error> {
    match file.str(NETWORK)? {
        "sd-unet" => Ok(unet(file, &UNET)?.into()),
        "mmdit" => Ok(mmdit_keys::mmdit(file)?.into()),
        "z-image" => Ok(z_image_keys::z_image(file)?.into()),
        "flux2" => Ok(flux2_keys::flux2(file)?.into()),
        other => {
            let (found, expected) = (format!("{other:?}"), "sd-unet, mmdit, z-image or flux2");
            Err(ModelError::Unsupported { key: NETWORK, found, expected }.into())
        }
    }
}

impl LatentInfo {
    /// Reads a file's metadata, and no tensor.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type, unknown to this version, or contradicts itself.
    pub fn read(file: &File<'_>) -> Result<Self, Error> {
        kind(file, &KEYS)?;
        keys::check(file)?;
        let [name, license, family] = ["general.name", "general.license", "nijimi.family"].map(|key| text(file, key));
        // First what a build may lack.
        let (language, denoiser) = (LanguageInfo::read(file)?, denoiser(file)?);
        let SchedulerInfo { class: scheduler, settings } = SchedulerInfo::read(file)?;
        let FirstStage { network: autoencoder, scaling_factor, shift_factor, statistics } = FirstStage::read(file)?;
        let [_, sample_size] = named(&denoiser);
        let info = Self {
            name,
            license,
            family,
            texts: texts(file, &denoiser)?,
            language,
            denoiser,
            autoencoder,
            scaling_factor,
            shift_factor,
            statistics,
            zeros_for_empty: file.bool("nijimi.text.force_zeros_for_empty_prompt")?,
            scheduler,
            settings,
            sample_size: file.u32(sample_size)? as usize,
            defaults: LatentDefaults::read(file)?,
        };
        info.check()?;
        Ok(info)
    }

    /// How many times a picture's side is that of its latents.
    pub fn factor(&self) -> usize {
        self.autoencoder.factor()
    }

    /// What the sides of pictures must be multiples of: [`Self::factor`], or twice that where the latents are cut into patches.
    pub fn multiple(&self) -> usize {
        self.factor() * self.denoiser.multiple()
    }

    /// Height and width of the latents of pictures of that size.
    ///
    /// # Errors
    /// Sides that are no multiples of [`Self::multiple`], with the nearest that are; larger ones than the denoiser knows.
    pub fn latent_size(&self, size @ [height, width]: [usize; 2]) -> Result<[usize; 2], RequestError> {
        let (multiple, longest) = (self.multiple(), self.denoiser.longest() * self.factor());
        for (what, side) in [("height", height), ("width", width)] {
            if side == 0 || side % multiple != 0 {
                let near = Self::near(side, multiple);
                check(false, what, side, format!("a multiple of {multiple}: {near}"))?;
            }
            in_range(what, side, 1, longest)?;
        }
        Ok(size.map(|side| side / self.factor()))
    }

    /// The multiples of `factor` beside a side that is none, in words: `64 or 72`.
    #[must_use]
    pub fn near(side: usize, factor: usize) -> String {
        let below = side / factor * factor;
        if below == 0 { format!("{factor}") } else { format!("{below} or {}", below.saturating_add(factor)) }
    }

    /// States of a text of so many windows, as the denoiser is given them.
    pub(in crate::model) fn states(&self, windows: usize) -> usize {
        match self.denoiser.text_multiple() {
            Some(multiple) => windows * multiple,
            None => windows * self.texts.first().map_or(1, |text| text.network.positions) + self.other_states(),
        }
    }

    /// What a run asks of the denoiser, whose texts have so many states, with nothing added to it; `size` as of
    /// [`Self::latent_size`].
    pub(in crate::model) fn sd_request(
        &self,
        pictures: usize,
        guided: bool,
        size: [usize; 2],
        tokens: usize,
    ) -> Result<SdRequest, RequestError> {
        let [height, width] = self.latent_size(size)?;
        let texts = if guided { self.guided_texts() } else { 1 };
        let batch = texts * pictures;
        Ok(SdRequest::new(batch, [height, width], tokens))
    }

    /// The U-Net, which alone is led by what is called `kind`.
    pub(in crate::model) fn led(&self, kind: &'static str) -> Result<&SdUnet, ModelError> {
        let (control, model) = ("a U-Net".into(), format!("a {}", self.denoiser.name()));
        let what = "network that it leads";
        self.denoiser.unet().ok_or(ModelError::Control { kind, what, control, model })
    }

    /// Whether the denoiser reads so many channels.
    pub(super) fn reads(&self, channels: usize) -> bool {
        self.denoiser.channels()[0] == channels
    }

    /// That the whole network can be left out for some calls, as often as is asked ([`SdCache`](crate::nn::SdCache)).
    pub(super) fn check_cache(&self, interval: usize) -> Result<(), RequestError> {
        in_range("cache_interval", interval, 1, 1 << 16)?;
        if interval > 1 && self.denoiser.unet().is_none() {
            return Err(RequestError::NotOf { what: "cache_interval", of: "models with a U-Net" });
        }
        Ok(())
    }

    /// What the U-Net of a model for inpainting reads: latents, those of what is kept, and the mask.
    pub(super) fn inpainting_channels(&self) -> usize {
        2 * self.autoencoder.latent_channels() + 1
    }

    /// What the U-Net of a model that changes pictures reads: latents, and those of the picture.
    pub(super) fn editing_channels(&self) -> usize {
        2 * self.autoencoder.latent_channels()
    }

    /// Texts for which the U-Net is evaluated, of a guided picture.
    pub(super) fn guided_texts(&self) -> usize {
        if self.edits() { 3 } else { 2 }
    }

    /// Windows of the longest prompt, each some 75 words, or some 25 where a language model alone reads it: its states, and what is
    /// computed of them, grow with it. Prompts of a run are all given as many as the longest has, so a picture is the same beside
    /// others only if theirs are no longer; where a language model alone reads them, whatever the others are.
    #[must_use]
    pub fn windows(&self, prompts: &[&str]) -> usize {
        if let (Some(multiple), Some(language)) = (self.denoiser.text_multiple(), &self.language) {
            let of = |prompt: &&str| language.tokens(prompt).len().div_ceil(multiple);
            return prompts.iter().map(of).max().unwrap_or(1).max(1);
        }
        let of = |text: &TextInfo| prompts.iter().map(|p| Windows::new(&text.tokenizer, p).0.len()).max();
        self.texts.iter().filter_map(of).max().unwrap_or(1)
    }

    /// Whether it is a model for inpainting, which sees what is kept, and the mask.
    pub fn repaints(&self) -> bool {
        self.reads(self.inpainting_channels())
    }

    /// Whether it is a model that changes a picture by instruction (Brooks et al. 2023, InstructPix2Pix), which it sees beside
    /// the latents.
    pub fn edits(&self) -> bool {
        self.reads(self.editing_channels())
    }

    /// Whether the picture that an editing model sees is scaled as latents are: of models of EDM (CosXL Edit), as diffusers'
    /// `is_cosxl_edit` says; of others it is as the autoencoder has it.
    pub(super) fn edits_scaled(&self) -> bool {
        is_edm(&self.scheduler)
    }

    /// Whether guidance was distilled into the network, which is not told a scale: FLUX.2-klein's.
    pub fn is_distilled(&self) -> bool {
        matches!(&self.denoiser, Denoiser::Flux2(network) if network.distilled)
    }

    /// Whether a scale asks for guidance, which evaluates the network twice, and for a model that edits three times: above 1, of a network into which guidance was
    /// not distilled.
    pub fn is_guided(&self, guidance_scale: f32) -> bool {
        guidance_scale > 1.0 && self.denoiser.guidance_code() == 0 && !self.is_distilled()
    }
}

fn texts(file: &File<'_>, denoiser: &Denoiser) -> Result<Vec<TextInfo>, Error> {
    // Where a language model reads alone.
    if denoiser.text_multiple().is_some() {
        return Ok(Vec::new());
    }
    let key = "nijimi.text.hidden_state";
    let penultimate = match file.str(key)? {
        "final" => false,
        "penultimate" => true,
        other => {
            let expected = "final or penultimate";
            return Err(ModelError::Unsupported { key, found: format!("{other:?}"), expected }.into());
        }
    };
    let states = if penultimate { TextStates::PENULTIMATE } else { TextStates::LAST };
    // A U-Net is told the pooled state of SDXL's second encoder, or of the only one; Stable Diffusion 3's transformer both.
    let pools = match denoiser {
        Denoiser::Unet(unet) => unet.added.is_some() && file.get("nijimi.text_encoder_2.width").is_none(),
        _ => true,
    };
    let mut texts = Vec::new();
    for (i, (key, prefix)) in
        [("nijimi.text_encoder", "text_encoder."), ("nijimi.text_encoder_2", "text_encoder_2.")].into_iter().enumerate()
    {
        if i > 0 && file.get(&format!("{key}.width")).is_none() {
            break;
        }
        let at = |part: &str| format!("{key}.{part}");
        let name = file.str(&at("activation"))?;
        let unknown = || ModelError::Unsupported {
            key: "nijimi.text_encoder.activation",
            found: format!("{name:?}"),
            expected: "quick_gelu or gelu",
        };
        let network = ClipText {
            vocabulary: size(file, &at("vocab_size"))?,
            positions: size(file, &at("positions"))?,
            width: size(file, &at("width"))?,
            layers: size(file, &at("layers"))?,
            heads: size(file, &at("heads"))?,
            hidden: size(file, &at("mlp_width"))?,
            activation: ClipText::activation_of(name).ok_or_else(unknown)?,
            eps: file.f32(&at("norm_eps"))?,
            projection: maybe(file, &at("projection_dim"))?,
        };
        network.validate()?;
        let states = TextStates { pooled: i > 0 || pools, ..states };
        texts.push(TextInfo { prefix, network, states, tokenizer: tokenizer(file, i, network.positions)? });
    }
    Ok(texts)
}

fn tokenizer(file: &File<'_>, i: usize, length: usize) -> Result<Tokenizer, Error> {
    let own = ["tokenizer.ggml", "tokenizer_2.ggml"][i.min(1)];
    // The second has lists of its own only where they differ.
    let lists = if file.get(&format!("{own}.tokens")).is_some() { own } else { "tokenizer.ggml" };
    let special = Special {
        start: file.u32(&format!("{own}.bos_token_id"))?,
        end: file.u32(&format!("{own}.eos_token_id"))?,
        pad: file.u32(&format!("{own}.padding_token_id"))?,
        length,
    };
    let list = |part: &str| file.strs(&format!("{lists}.{part}"));
    let added = if file.get(&format!("{lists}.added_tokens")).is_some() { list("added_tokens")? } else { Vec::new() };
    let [tokens, merges, added] = [list("tokens")?, list("merges")?, added].map(Vec::into_iter);
    Ok(Tokenizer::from_parts(tokens, merges, added, special)?)
}
