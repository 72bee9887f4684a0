//! A model's description as metadata: the inverse of [`LatentInfo::read`].

use super::super::info::{FORMAT_VERSION, wrong};
use super::super::unet_keys::UNET;
use super::FirstStage;
use super::info::{KEYS, LatentInfo, SCHEDULER, TextInfo};
use crate::Error;
use crate::gguf::{MetaValue, WriteError, Writer};
use crate::nn::{SdUnet, TextStates};
use crate::quant::{DType, QUANTIZATION_VERSION};
use crate::sampler::Field;
use crate::text::{Tokenizer, Vocabulary};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// A size as it is written; sizes are far below 2^32 in any network that can be.
pub(super) fn n(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

pub(super) fn ns(sizes: impl Iterator<Item = usize>) -> Vec<u32> {
    sizes.map(n).collect()
}

/// diffusers' settings that are whole numbers.
const WHOLE: [&str; 4] = ["num_train_timesteps", "steps_offset", "solver_order", "original_inference_steps"];

impl LatentInfo {
    /// Writes all metadata of a model's file, most of whose weights are `dtype`. `vocabulary` is the tokenizers'.
    ///
    /// # Errors
    /// What [`Self::read`] would refuse or could not give back: a network that is none, a vocabulary that is not the
    /// tokenizers', states that no published model conditions on, a schedule that is not all said; keys that were written
    /// already.
    pub fn write(&self, writer: &mut Writer, vocabulary: &Vocabulary, dtype: DType) -> Result<(), Error> {
        let w = writer;
        self.begin(w, dtype)?;
        w.meta("nijimi.family", self.family.as_str())?;
        self.unet.validate()?;
        self.autoencoder.validate()?;
        unet(w, &self.unet)?;
        w.meta("nijimi.unet.sample_size", n(self.sample_size))?;
        self.first_stage().write(w)?;
        self.texts(w, vocabulary)?;
        w.meta("nijimi.text.force_zeros_for_empty_prompt", self.zeros_for_empty)?;
        self.scheduler(w)?;
        self.defaults.write(w)
    }

    /// The autoencoder, with what its latents are scaled by.
    pub fn first_stage(&self) -> FirstStage {
        let Self { scaling_factor, shift_factor, .. } = *self;
        FirstStage { network: self.autoencoder.clone(), scaling_factor, shift_factor }
    }

    /// What says whose file it is.
    fn begin(&self, w: &mut Writer, dtype: DType) -> Result<(), WriteError> {
        w.meta("general.architecture", "nijimi")?;
        w.meta("general.name", self.name.as_str())?;
        if !self.license.is_empty() {
            w.meta("general.license", self.license.as_str())?;
        }
        w.meta("general.file_type", dtype.file_type())?;
        w.meta("general.quantization_version", QUANTIZATION_VERSION)?;
        w.meta("nijimi.format_version", FORMAT_VERSION)?;
        KEYS.iter().try_for_each(|&(key, value)| w.meta(key, value))
    }

    fn texts(&self, w: &mut Writer, vocabulary: &Vocabulary) -> Result<(), Error> {
        let width: usize = self.texts.iter().map(|text| text.network.width).sum();
        if width != self.unet.text_width {
            let expected = format!("{width}, the width of the text encoders' states");
            return Err(wrong(UNET.cross_attention_dim, self.unet.text_width, expected));
        }
        let states = |text: &TextInfo| TextStates { pooled: false, ..text.states };
        let first = self.texts.first().map(states);
        let same = self.texts.iter().all(|text| Some(states(text)) == first);
        let name = match first.filter(|_| same) {
            Some(TextStates::LAST) => "final",
            Some(TextStates::PENULTIMATE) => "penultimate",
            _ => return Err(wrong("nijimi.text.hidden_state", format!("{first:?}"), "final or penultimate, of all")),
        };
        w.meta("nijimi.text.hidden_state", name)?;
        for (i, info) in self.texts.iter().enumerate() {
            text(w, info)?;
            tokenizer(w, i, &info.tokenizer, vocabulary)?;
        }
        Ok(())
    }

    fn scheduler(&self, w: &mut Writer) -> Result<(), Error> {
        w.meta("nijimi.scheduler.class", self.scheduler.as_str())?;
        let named = [
            ("beta_schedule", "nijimi.schedule.kind"),
            ("num_train_timesteps", "nijimi.schedule.steps"),
            ("beta_start", "nijimi.schedule.beta_start"),
            ("beta_end", "nijimi.schedule.beta_end"),
            ("prediction_type", "nijimi.prediction_type"),
        ];
        for (name, key) in named {
            let field = self.settings.iter().find(|(own, _)| own == name).map(|(_, field)| field);
            let missing = || wrong(key, "missing", format!("said by the setting {name}"));
            w.meta(key, field.and_then(|field| value(name, field)).ok_or_else(missing)?)?;
        }
        for (name, field) in self.settings.iter().filter(|(own, _)| !named.iter().any(|(name, _)| own == name)) {
            if let Some(value) = value(name, field) {
                w.meta(&format!("{SCHEDULER}{name}"), value)?;
            }
        }
        Ok(())
    }
}

/// A setting as it is written; none where it says nothing.
fn value(name: &str, field: &Field) -> Option<MetaValue> {
    Some(match field {
        Field::Null => return None,
        Field::Flag(flag) => (*flag).into(),
        Field::Number(number) if WHOLE.contains(&name) => (*number as u32).into(),
        Field::Number(number) => (*number).into(),
        Field::Text(text) => text.as_str().into(),
        Field::Numbers(numbers) => numbers.clone().into(),
    })
}

fn unet(w: &mut Writer, unet: &SdUnet) -> Result<(), WriteError> {
    w.meta(UNET.in_channels, n(unet.in_channels))?;
    w.meta(UNET.out_channels, n(unet.out_channels))?;
    w.meta(UNET.channels, ns(unet.levels.iter().map(|level| level.channels)))?;
    w.meta(UNET.layers_per_block, n(unet.layers_per_block))?;
    w.meta(UNET.heads, ns(unet.levels.iter().map(|level| level.heads)))?;
    // A level without has 0; the middle has as many as the last level, or would have.
    let own = unet.levels.iter().map(|level| if level.attends { level.layers } else { 0 });
    w.meta(UNET.transformer_layers, ns(own))?;
    w.meta(UNET.mid_transformer_layers, n(unet.levels.last().map_or(0, |level| level.layers)))?;
    w.meta(UNET.cross_attention_dim, n(unet.text_width))?;
    w.meta(UNET.linear_projection, unet.linear_projection)?;
    w.meta(UNET.norm_groups, n(unet.norm_groups))?;
    w.meta(UNET.norm_eps, unet.norm_eps)?;
    w.meta(UNET.flip_sin_to_cos, unet.time_code.cosine_first)?;
    w.meta(UNET.freq_shift, unet.time_code.shift as f32)?;
    if let Some(added) = unet.added {
        if added.code > 0 {
            w.meta(UNET.addition_time_embed_dim, n(added.code))?;
        }
        w.meta(UNET.addition_input_dim, n(added.width))?;
    }
    if unet.guidance_code > 0 {
        w.meta(UNET.time_cond_proj_dim, n(unet.guidance_code))?;
    }
    Ok(())
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

/// The first tokenizer's vocabulary and ids; of the second, which reads by the same, the ids.
fn tokenizer(w: &mut Writer, i: usize, tokenizer: &Tokenizer, vocabulary: &Vocabulary) -> Result<(), Error> {
    let special = tokenizer.special();
    // What would be read: refuses a vocabulary that is another's.
    Tokenizer::new(vocabulary, special)?;
    let key = ["tokenizer.ggml", "tokenizer_2.ggml"][i.min(1)];
    let mut meta = |part: &str, value: MetaValue| w.meta(&format!("{key}.{part}"), value);
    meta("model", "clip".to_string().into())?;
    if i == 0 {
        meta("tokens", vocabulary.tokens.clone().into())?;
        meta("merges", vocabulary.merges.clone().into())?;
    }
    meta("bos_token_id", special.start.into())?;
    meta("eos_token_id", special.end.into())?;
    Ok(meta("padding_token_id", special.pad.into())?)
}

#[cfg(test)]
mod tests;
