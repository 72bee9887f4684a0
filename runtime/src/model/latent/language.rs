//! A text encoder that is a language model, beside CLIP's: Stable Diffusion 3's T5. It reads a text as it is, without weights, in
//! one window.

use super::super::unet_keys::{n, size};
use super::info::LatentInfo;
use crate::Error;
use crate::gguf::{File, Writer};
use crate::model::network::Evaluator;
use crate::nn::T5Encoder;
use crate::text::prompt::{Part, parse};
use crate::text::{Pieces, Unigram};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The encoder: its network, and how it reads a text.
#[derive(Clone, Debug)]
pub struct LanguageInfo {
    /// The network.
    pub network: T5Encoder,
    /// What makes ids of a text.
    pub tokenizer: Unigram,
    /// What the tokenizer was made of.
    pub pieces: Pieces,
    /// Tokens of its window.
    pub length: usize,
}

const KEY: &str = "nijimi.text_encoder_3";
const TOKENIZER: &str = "tokenizer_3.ggml";

impl LanguageInfo {
    /// What its tensors' names begin with.
    pub const PREFIX: &'static str = "text_encoder_3.";
    /// What may stand behind [`KEY`].
    pub(super) const KEYS: &[&str] =
        &["vocab_size", "width", "layers", "heads", "head_channels", "mlp_width", "norm_eps", "length"];

    /// That of a file, if it has one.
    pub(super) fn read(file: &File<'_>) -> Result<Option<Self>, Error> {
        let at = |part: &str| format!("{KEY}.{part}");
        if file.get(&at("width")).is_none() {
            return Ok(None);
        }
        let number = |part: &str| size(file, &at(part));
        let network = T5Encoder {
            vocabulary: number("vocab_size")?,
            width: number("width")?,
            layers: number("layers")?,
            heads: number("heads")?,
            head_channels: number("head_channels")?,
            hidden: number("mlp_width")?,
            eps: file.f32(&at("norm_eps"))?,
        };
        network.validate()?;
        let key = |part: &str| format!("{TOKENIZER}.{part}");
        let list = |part: &str| -> Result<Vec<String>, Error> {
            Ok(file.strs(&key(part))?.into_iter().map(ToOwned::to_owned).collect())
        };
        let pieces = Pieces {
            tokens: list("tokens")?,
            scores: file.f32s(&key("scores"))?,
            added: list("added_tokens")?,
            charsmap: file.u8s(&key("precompiled_charsmap"))?,
            unknown: file.u32(&key("unknown_token_id"))?,
            end: file.u32(&key("eos_token_id"))?,
            pad: file.u32(&key("padding_token_id"))?,
        };
        Ok(Some(Self { network, tokenizer: Unigram::new(&pieces)?, pieces, length: number("length")? }))
    }

    /// Writes what [`Self::read`] reads.
    pub(super) fn write(&self, w: &mut Writer) -> Result<(), Error> {
        self.network.validate()?;
        let pieces = &self.pieces;
        Unigram::new(pieces)?;
        let numbers = [
            ("vocab_size", self.network.vocabulary),
            ("width", self.network.width),
            ("layers", self.network.layers),
            ("heads", self.network.heads),
            ("head_channels", self.network.head_channels),
            ("mlp_width", self.network.hidden),
            ("length", self.length),
        ];
        numbers.into_iter().try_for_each(|(part, value)| w.meta(&format!("{KEY}.{part}"), n(value)))?;
        w.meta(&format!("{KEY}.norm_eps"), self.network.eps)?;
        let key = |part: &str| format!("{TOKENIZER}.{part}");
        w.meta(&key("model"), "t5")?;
        w.meta(&key("tokens"), pieces.tokens.clone())?;
        w.meta(&key("scores"), pieces.scores.clone())?;
        w.meta(&key("added_tokens"), pieces.added.clone())?;
        w.meta(&key("precompiled_charsmap"), pieces.charsmap.clone())?;
        w.meta(&key("unknown_token_id"), pieces.unknown)?;
        w.meta(&key("eos_token_id"), pieces.end)?;
        Ok(w.meta(&key("padding_token_id"), pieces.pad)?)
    }

    /// The states of texts, one after the other.
    pub(super) async fn encode(&self, mut evaluator: Evaluator, texts: &[String]) -> Result<Vec<Vec<f32>>, Error> {
        let mut states = Vec::new();
        for text in texts {
            let ids = self.network.ids(&self.tokenizer.window(text, self.length))?;
            evaluator.evaluate_async(0, &[], &ids).await?;
            states.push(evaluator.output(T5Encoder::STATE)?.to_vec());
        }
        Ok(states)
    }
}

impl LatentInfo {
    /// States of a text beside those of CLIP's encoders: the language model's, or zeros in their place.
    pub(super) fn other_states(&self) -> usize {
        self.language.as_ref().map_or(self.denoiser.zero_states(), |language| language.length)
    }

    /// How many text encoders there are.
    pub(super) fn encoders(&self) -> usize {
        self.texts.len() + usize::from(self.language.is_some())
    }
}

/// A prompt's words, without the notation of weights.
pub(super) fn words(prompt: &str) -> String {
    let mut words = String::new();
    for part in parse(prompt) {
        match part {
            Part::Text { text, .. } => words.push_str(&text),
            Part::Break => words.push(' '),
        }
    }
    words
}
