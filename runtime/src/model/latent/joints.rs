//! What the parts of a model hand to each other: that each takes what another gives.

use super::super::ModelError;
use super::super::info::wrong;
use super::LatentInfo;
use super::info::named;
use super::language::{LanguageInfo, LanguageModel};
use super::refine::SIZES;
use crate::Error;
use crate::nn::Denoiser;
use alloc::format;
use alloc::string::{String, ToString};

fn joint(one: &'static str, found: String, other: &'static str, expected: String) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(ModelError::Joint { one, found, other, expected }.into()) }
}

impl LatentInfo {
    /// Whether the parts fit each other, as [`Self::read`] and [`Self::write`] ask; whether each is a network by itself, its
    /// graph tells.
    ///
    /// # Errors
    /// [`ModelError::Joint`] and [`ModelError::Reads`], with both sides and both numbers; a number that is none.
    pub fn check(&self) -> Result<(), Error> {
        let Self { denoiser, autoencoder, .. } = self;
        let [reads, answers] = denoiser.channels();
        let latent = autoencoder.latent_channels();
        let channels = |n: usize| format!("{n} channels");
        let other = "the autoencoder's latents have";
        let answering = match denoiser {
            Denoiser::Unet(_) => "the U-Net answers with",
            Denoiser::Mmdit(_) | Denoiser::ZImage(_) | Denoiser::Flux2(_) => "the transformer answers with",
        };
        joint(answering, channels(answers), other, channels(latent))?;
        let inpainting = self.inpainting_channels();
        let editing = self.editing_channels();
        let depth = self.depth_channels();
        if ![latent, depth, inpainting, editing].contains(&reads) {
            return Err(ModelError::Reads { found: reads, latent, depth, inpainting, editing }.into());
        }
        let [reads, makes] = [autoencoder.in_channels(), autoencoder.out_channels()];
        joint("the autoencoder reads pictures of", channels(reads), "its decoder makes pictures of", channels(makes))?;
        if ![1, 3].contains(&makes) {
            return Err(wrong("nijimi.autoencoder.out_channels", makes, "1 (gray) or 3 (red, green, blue)"));
        }
        self.check_texts()?;
        self.first_stage().check()?;
        // Sides of pictures are counted in u32.
        if !(1..=16384).contains(&self.sample_size) {
            return Err(wrong(named(denoiser)[1], self.sample_size, "1 to 16384"));
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), Error> {
        if self.denoiser.text_multiple().is_some() {
            return self.check_language_alone();
        }
        let Some(first) = self.texts.first() else {
            return Err(wrong("nijimi.text_encoder.width", "missing", "given: there is no text encoder"));
        };
        let width = self.texts.iter().map(|text| text.network.width).sum::<usize>();
        self.check_states(width)?;
        for text in &self.texts {
            let (tokens, rows) = (text.tokenizer.tokens(), text.network.vocabulary);
            // Published tables may have rows to spare.
            if tokens > rows {
                let (found, expected) = (format!("{tokens} tokens"), rows.to_string());
                return joint("the tokenizer has", found, "its text encoder knows", expected);
            }
            let length = text.tokenizer.special().length;
            let (found, positions) = (format!("{length} tokens"), format!("{} tokens", text.network.positions));
            joint("the tokenizer's windows have", found, "its text encoder reads", positions.clone())?;
            let other = format!("{} tokens", first.network.positions);
            joint("the second text encoder reads", positions, "the first one", other)?;
        }
        if let Some(language) = &self.language {
            self.check_language(language)?;
            let is_t5 = matches!(language.model, LanguageModel::T5 { .. });
            if !is_t5 || self.denoiser.zero_states() == 0 || !(1..=512).contains(&language.length) {
                let expected = "1 to 512, of a model whose transformer reads it (Stable Diffusion 3)";
                return Err(wrong("nijimi.text_encoder_3.length", language.length, expected));
            }
        }
        let numbers = |n: usize| format!("{n} numbers");
        match &self.denoiser {
            Denoiser::Unet(unet) => {
                let Some(added) = unet.added.filter(|_| !self.refines()) else { return Ok(()) };
                let given = numbers(self.pooled() + SIZES * added.code);
                let own = numbers(added.width);
                joint("the U-Net is told", own, "the text's pooled state and the codes of six sizes are", given)
            }
            Denoiser::Mmdit(network) => {
                let (own, given) = (numbers(network.pooled_width), numbers(self.pooled()));
                joint("the transformer is told", own, "the text encoders' pooled states together are", given)
            }
            Denoiser::ZImage(_) | Denoiser::Flux2(_) => Ok(()),
        }
    }

    /// That the denoiser reads a language model's states, and the model its tokenizer's tokens.
    fn check_language(&self, language: &LanguageInfo) -> Result<(), Error> {
        let (own, read) = (language.width().to_string(), self.denoiser.text_width().to_string());
        joint("the language model's states are of width", own, "the transformer reads states of width", read)?;
        match language.vocabulary() {
            [tokens, rows] if tokens > rows => {
                joint("the tokenizer has", format!("{tokens} tokens"), "its text encoder knows", rows.to_string())
            }
            _ => Ok(()),
        }
    }

    /// Where no other encoder reads.
    fn check_language_alone(&self) -> Result<(), Error> {
        let Some(language) = &self.language else {
            return Err(wrong("nijimi.text_encoder.model", "missing", "given: there is no text encoder"));
        };
        self.check_language(language)?;
        if !matches!(language.model, LanguageModel::Qwen3 { .. }) || !self.texts.is_empty() {
            return Err(wrong("nijimi.text_encoder.model", "another text encoder", "qwen3, and no other beside it"));
        }
        if !(1..=512).contains(&language.length) {
            return Err(wrong("nijimi.text_encoder.length", language.length, "1 to 512"));
        }
        Ok(())
    }

    /// That the denoiser reads states of texts as wide as the encoders' together.
    fn check_states(&self, width: usize) -> Result<(), Error> {
        let (own, other) = (self.denoiser.text_width(), "those of the text encoders together are");
        let reads = match &self.denoiser {
            Denoiser::Unet(_) => "the U-Net reads text states of width",
            // What is left is filled with zeros.
            _ if width <= own => return Ok(()),
            _ => "the transformer reads text states of width",
        };
        joint(reads, own.to_string(), other, width.to_string())
    }
}
