//! A model's description as metadata: the inverse of [`LatentInfo::read`].

use super::super::info::{begin, wrong};
use super::super::unet_keys::{self, UNET, n};
use super::super::z_image_keys;
use super::super::{flux2_keys, mmdit_keys};
use super::FirstStage;
use super::info::{KEYS, LatentInfo, NETWORK, TextInfo, named};
use crate::Error;
use crate::gguf::{MetaValue, Writer};
use crate::nn::{Denoiser, TextStates};
use crate::quant::DType;
use crate::text::{Tokenizer, Vocabulary};
use alloc::format;

impl LatentInfo {
    /// Writes all metadata of a model's file, most of whose weights are `dtype`. `vocabularies` are the tokenizers', or one that
    /// all have.
    ///
    /// # Errors
    /// What [`Self::read`] would refuse or could not give back: a network that is none, a vocabulary that is not the
    /// tokenizer's, states that no published model conditions on, a schedule that is not all said; keys that were written
    /// already.
    pub fn write(&self, writer: &mut Writer, vocabularies: &[&Vocabulary], dtype: DType) -> Result<(), Error> {
        let w = writer;
        let [network, sample_size] = named(&self.denoiser);
        begin(w, [&self.name, &self.license], dtype, &[&KEYS[..], &[(NETWORK, network)]].concat())?;
        w.meta("nijimi.family", self.family.as_str())?;
        self.denoiser.validate()?;
        self.autoencoder.validate()?;
        self.check()?;
        match &self.denoiser {
            Denoiser::Unet(network) => unet_keys::write(w, &UNET, network)?,
            Denoiser::Mmdit(network) => mmdit_keys::write(w, network)?,
            Denoiser::ZImage(network) => z_image_keys::write(w, network)?,
            Denoiser::Flux2(network) => flux2_keys::write(w, network)?,
        }
        w.meta(sample_size, n(self.sample_size))?;
        self.first_stage().write(w)?;
        self.texts(w)?;
        w.meta("nijimi.text.force_zeros_for_empty_prompt", self.zeros_for_empty)?;
        self.scheduling().write(w)?;
        self.tokenizers(w, vocabularies)?;
        if let Some(language) = &self.language {
            language.write(w)?;
        }
        self.defaults.write(w)
    }

    /// The autoencoder, with what its latents are scaled by.
    pub fn first_stage(&self) -> FirstStage {
        let Self { scaling_factor, shift_factor, .. } = *self;
        let (network, statistics) = (self.autoencoder.clone(), self.statistics.clone());
        FirstStage { network, scaling_factor, shift_factor, statistics }
    }

    fn texts(&self, w: &mut Writer) -> Result<(), Error> {
        if self.texts.is_empty() {
            return Ok(());
        }
        let states = |text: &TextInfo| TextStates { pooled: false, ..text.states };
        let first = self.texts.first().map(states);
        let same = self.texts.iter().all(|text| Some(states(text)) == first);
        let name = match first.filter(|_| same) {
            Some(TextStates::LAST) => "final",
            Some(TextStates::PENULTIMATE) => "penultimate",
            _ => return Err(wrong("nijimi.text.hidden_state", format!("{first:?}"), "final or penultimate, of all")),
        };
        self.texts.iter().try_for_each(|info| text(w, info))?;
        Ok(w.meta("nijimi.text.hidden_state", name)?)
    }

    /// Each tokenizer's ids, and its vocabulary; of the second's, where it is the first's, nothing.
    fn tokenizers(&self, w: &mut Writer, vocabularies: &[&Vocabulary]) -> Result<(), Error> {
        let none = Vocabulary::default();
        let of = |i: usize| *vocabularies.get(i).or(vocabularies.last()).unwrap_or(&&none);
        for ((i, info), key) in self.texts.iter().enumerate().zip(["tokenizer.ggml", "tokenizer_2.ggml"]) {
            let (own, special) = (of(i), info.tokenizer.special());
            // What would be read: refuses a vocabulary that is another's.
            Tokenizer::new(own, special)?;
            let mut meta = |part: &str, value: MetaValue| w.meta(&format!("{key}.{part}"), value);
            meta("model", "clip".into())?;
            if i == 0 || own != of(0) {
                meta("tokens", own.tokens.clone().into())?;
                meta("merges", own.merges.clone().into())?;
                if !own.added.is_empty() {
                    meta("added_tokens", own.added.clone().into())?;
                }
            }
            meta("bos_token_id", special.start.into())?;
            meta("eos_token_id", special.end.into())?;
            meta("padding_token_id", special.pad.into())?;
        }
        Ok(())
    }
}

fn text(w: &mut Writer, text: &TextInfo) -> Result<(), Error> {
    let network = &text.network;
    network.validate()?;
    // The keys begin as the tensors do.
    let mut meta = |key: &str, value: MetaValue| w.meta(&format!("nijimi.{}{key}", text.prefix), value);
    meta("vocab_size", n(network.vocabulary).into())?;
    meta("positions", n(network.positions).into())?;
    meta("width", n(network.width).into())?;
    meta("mlp_width", n(network.hidden).into())?;
    meta("layers", n(network.layers).into())?;
    meta("heads", n(network.heads).into())?;
    meta("activation", network.hidden_act().into())?;
    meta("norm_eps", network.eps.into())?;
    match network.projection {
        Some(features) => Ok(meta("projection_dim", n(features).into())?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
