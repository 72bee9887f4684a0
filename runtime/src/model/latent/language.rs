//! A text encoder that is a language model: Stable Diffusion 3's T5 beside CLIP's encoders, or Qwen3 alone. It reads a text as it is,
//! without weights, in one window.

use super::super::info::wrong;
use super::super::unet_keys::{n, ns, size, sizes};
use super::TextToImage;
use super::info::LatentInfo;
use super::stages::Stage;
use crate::Error;
use crate::gguf::{File, Writer};
use crate::graph::Graph;
#[cfg(not(feature = "language"))]
use crate::model::ModelError;
use crate::model::SessionOptions;
use crate::nn::{NetworkError, Qwen3, T5Encoder};
use crate::text::prompt::{Part, parse};
use crate::text::{ByteLevel, Pieces, Unigram, Vocabulary};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The encoder: its network, and how it reads a text.
#[derive(Clone, Debug)]
pub struct LanguageInfo {
    /// The network, with its tokenizer.
    pub model: LanguageModel,
    /// Tokens of its window: of T5 always as many, of Qwen3 the most.
    pub length: usize,
}

/// A language model.
#[derive(Clone, Debug)]
pub enum LanguageModel {
    /// Stable Diffusion 3's third text encoder.
    T5 {
        /// The network.
        network: T5Encoder,
        /// What makes ids of a text.
        tokenizer: Unigram,
        /// What the tokenizer was made of.
        pieces: Pieces,
    },
    /// Z-Image's and FLUX.2-klein's only one.
    Qwen3 {
        /// The network.
        network: Qwen3,
        /// What makes ids of a text.
        tokenizer: ByteLevel,
        /// What the tokenizer was made of.
        vocabulary: Vocabulary,
        /// How it is put to the model.
        turn: Turn,
    },
}

const T5: &str = "nijimi.text_encoder_3";
const T5_TOKENIZER: &str = "tokenizer_3.ggml";
const QWEN3: &str = "nijimi.text_encoder";
const QWEN3_TOKENIZER: &str = "tokenizer.ggml";
/// How a user's words are put to Qwen3: as a turn of a conversation, in which it is to speak next (its chat template).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Whether it is to think before it speaks; if not, it is told that it has thought already.
    pub thinks: bool,
    /// The token that fills its window up, whose states are told, too; if none, there are as many states as tokens.
    pub pad: Option<u32>,
}

impl Turn {
    fn around(self, text: &str) -> String {
        let thought = if self.thinks { "" } else { "<think>\n\n</think>\n\n" };
        ["<|im_start|>user\n", text, "<|im_end|>\n<|im_start|>assistant\n", thought].concat()
    }
}

/// What fills a text up, if several are read at once.
const PAD: u32 = 0;

impl LanguageInfo {
    /// What may stand behind the keys' beginnings.
    pub(super) const T5_KEYS: &[&str] =
        &["vocab_size", "width", "layers", "heads", "head_channels", "mlp_width", "norm_eps", "length"];

    /// What its tensors' names begin with.
    pub const fn prefix(&self) -> &'static str {
        match self.model {
            LanguageModel::T5 { .. } => "text_encoder_3.",
            LanguageModel::Qwen3 { .. } => "text_encoder.",
        }
    }

    /// Width of its states.
    pub fn width(&self) -> usize {
        match &self.model {
            LanguageModel::T5 { network, .. } => network.width,
            LanguageModel::Qwen3 { network, .. } => network.state_width(),
        }
    }

    /// The tokens that the tokenizer knows, and the rows of the network's table.
    pub(super) fn vocabulary(&self) -> [usize; 2] {
        match &self.model {
            LanguageModel::T5 { network, tokenizer, .. } => [tokenizer.tokens(), network.vocabulary],
            LanguageModel::Qwen3 { network, tokenizer, .. } => [tokenizer.tokens(), network.vocabulary],
        }
    }

    /// The network for a text of so many tokens.
    ///
    /// # Errors
    /// As the network's.
    pub fn graph(&self, tokens: usize) -> Result<Graph, NetworkError> {
        match &self.model {
            LanguageModel::T5 { network, .. } => network.graph(self.prefix(), tokens),
            LanguageModel::Qwen3 { network, .. } => network.graph(self.prefix(), tokens),
        }
    }

    /// The ids of a text, as the network is given them.
    #[must_use]
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        match &self.model {
            LanguageModel::T5 { tokenizer, .. } => tokenizer.window(text, self.length),
            LanguageModel::Qwen3 { tokenizer, turn, .. } => {
                let mut ids = tokenizer.encode(&turn.around(text));
                ids.truncate(self.length);
                ids
            }
        }
    }

    /// That of a file, if it has one.
    pub(super) fn read(file: &File<'_>) -> Result<Option<Self>, Error> {
        if file.get(&format!("{T5}.width")).is_some() {
            return Self::read_t5(file).map(Some);
        }
        match file.get(&format!("{QWEN3}.model")) {
            Some(_) => Self::read_qwen3(file).map(Some),
            None => Ok(None),
        }
    }

    fn read_t5(file: &File<'_>) -> Result<Self, Error> {
        #[cfg(not(feature = "language"))]
        let never = Err(ModelError::NoLanguage { key: "nijimi.text_encoder_3.width" })?;
        let number = |part: &str| size(file, &format!("{T5}.{part}"));
        let network = T5Encoder {
            vocabulary: number("vocab_size")?,
            width: number("width")?,
            layers: number("layers")?,
            heads: number("heads")?,
            head_channels: number("head_channels")?,
            hidden: number("mlp_width")?,
            eps: file.f32(&format!("{T5}.norm_eps"))?,
            #[cfg(not(feature = "language"))]
            never,
        };
        network.validate()?;
        let key = |part: &str| format!("{T5_TOKENIZER}.{part}");
        let pieces = Pieces {
            tokens: list(file, &key("tokens"))?,
            scores: file.f32s(&key("scores"))?,
            added: list(file, &key("added_tokens"))?,
            charsmap: file.u8s(&key("precompiled_charsmap"))?,
            unknown: file.u32(&key("unknown_token_id"))?,
            end: file.u32(&key("eos_token_id"))?,
            pad: file.u32(&key("padding_token_id"))?,
        };
        let tokenizer = Unigram::new(&pieces)?;
        Ok(Self { model: LanguageModel::T5 { network, tokenizer, pieces }, length: number("length")? })
    }

    fn read_qwen3(file: &File<'_>) -> Result<Self, Error> {
        #[cfg(not(feature = "language"))]
        let never = Err(ModelError::NoLanguage { key: "nijimi.text_encoder.model" })?;
        let at = |part: &str| format!("{QWEN3}.{part}");
        if file.str(&at("model"))? != "qwen3" {
            return Err(wrong("nijimi.text_encoder.model", file.str(&at("model"))?, "qwen3"));
        }
        let number = |part: &str| size(file, &at(part));
        let network = Qwen3 {
            vocabulary: number("vocab_size")?,
            width: number("width")?,
            heads: number("heads")?,
            kv_heads: number("kv_heads")?,
            head_channels: number("head_channels")?,
            hidden: number("mlp_width")?,
            eps: file.f32(&at("norm_eps"))?,
            theta: file.f32(&at("rope_theta"))?,
            states: sizes(file, &at("states"))?,
            #[cfg(not(feature = "language"))]
            never,
        };
        network.validate()?;
        let key = |part: &str| format!("{QWEN3_TOKENIZER}.{part}");
        let vocabulary = Vocabulary {
            tokens: list(file, &key("tokens"))?,
            merges: list(file, &key("merges"))?,
            added: list(file, &key("added_tokens"))?,
        };
        let tokenizer = ByteLevel::new(&vocabulary)?;
        let (thinks, pad) = (at("enable_thinking"), key("padding_token_id"));
        let turn = Turn {
            thinks: file.get(&thinks).is_none() || file.bool(&thinks)?,
            pad: file.get(&pad).is_some().then(|| file.u32(&pad)).transpose()?,
        };
        Ok(Self { model: LanguageModel::Qwen3 { network, tokenizer, vocabulary, turn }, length: number("length")? })
    }

    /// Writes what [`Self::read`] reads.
    pub(super) fn write(&self, w: &mut Writer) -> Result<(), Error> {
        match &self.model {
            LanguageModel::T5 { network, pieces, .. } => self.write_t5(w, network, pieces),
            LanguageModel::Qwen3 { network, vocabulary, turn, .. } => self.write_qwen3(w, network, vocabulary, *turn),
        }
    }

    fn write_t5(&self, w: &mut Writer, network: &T5Encoder, pieces: &Pieces) -> Result<(), Error> {
        network.validate()?;
        Unigram::new(pieces)?;
        let numbers = [
            ("vocab_size", network.vocabulary),
            ("width", network.width),
            ("layers", network.layers),
            ("heads", network.heads),
            ("head_channels", network.head_channels),
            ("mlp_width", network.hidden),
            ("length", self.length),
        ];
        numbers.into_iter().try_for_each(|(part, value)| w.meta(&format!("{T5}.{part}"), n(value)))?;
        w.meta(&format!("{T5}.norm_eps"), network.eps)?;
        let key = |part: &str| format!("{T5_TOKENIZER}.{part}");
        w.meta(&key("model"), "t5")?;
        w.meta(&key("tokens"), pieces.tokens.clone())?;
        w.meta(&key("scores"), pieces.scores.clone())?;
        w.meta(&key("added_tokens"), pieces.added.clone())?;
        w.meta(&key("precompiled_charsmap"), pieces.charsmap.clone())?;
        w.meta(&key("unknown_token_id"), pieces.unknown)?;
        w.meta(&key("eos_token_id"), pieces.end)?;
        Ok(w.meta(&key("padding_token_id"), pieces.pad)?)
    }

    fn write_qwen3(&self, w: &mut Writer, network: &Qwen3, vocabulary: &Vocabulary, turn: Turn) -> Result<(), Error> {
        network.validate()?;
        ByteLevel::new(vocabulary)?;
        let at = |part: &str| format!("{QWEN3}.{part}");
        w.meta(&at("model"), "qwen3")?;
        let numbers = [
            ("vocab_size", network.vocabulary),
            ("width", network.width),
            ("heads", network.heads),
            ("kv_heads", network.kv_heads),
            ("head_channels", network.head_channels),
            ("mlp_width", network.hidden),
            ("length", self.length),
        ];
        numbers.into_iter().try_for_each(|(part, value)| w.meta(&at(part), n(value)))?;
        w.meta(&at("norm_eps"), network.eps)?;
        w.meta(&at("rope_theta"), network.theta)?;
        w.meta(&at("states"), ns(network.states.iter().copied()))?;
        if !turn.thinks {
            w.meta(&at("enable_thinking"), false)?;
        }
        let key = |part: &str| format!("{QWEN3_TOKENIZER}.{part}");
        // As llama.cpp calls them.
        w.meta(&key("model"), "gpt2")?;
        w.meta(&key("pre"), "qwen2")?;
        w.meta(&key("tokens"), vocabulary.tokens.clone())?;
        w.meta(&key("merges"), vocabulary.merges.clone())?;
        w.meta(&key("added_tokens"), vocabulary.added.clone())?;
        match turn.pad {
            Some(pad) => Ok(w.meta(&key("padding_token_id"), pad)?),
            None => Ok(()),
        }
    }
}

fn list(file: &File<'_>, key: &str) -> Result<Vec<String>, Error> {
    Ok(file.strs(key)?.into_iter().map(ToOwned::to_owned).collect())
}

impl LatentInfo {
    /// States of a text beside those of CLIP's encoders: T5's, or zeros in their place.
    pub(super) fn other_states(&self) -> usize {
        match &self.language {
            Some(LanguageInfo { model: LanguageModel::T5 { .. }, length }) => *length,
            _ => self.denoiser.zero_states(),
        }
    }

    /// How many text encoders there are.
    pub(super) fn encoders(&self) -> usize {
        self.texts.len() + usize::from(self.language.is_some())
    }

    /// How many tokens of a prompt a language model that reads alone leaves out, as the reference does: those beyond its window.
    #[must_use]
    pub fn left_out(&self, prompt: &str) -> usize {
        match &self.language {
            Some(LanguageInfo { model: LanguageModel::Qwen3 { tokenizer, turn, .. }, length }) => {
                tokenizer.encode(&turn.around(prompt)).len().saturating_sub(*length)
            }
            _ => 0,
        }
    }
}

impl TextToImage {
    /// What the language model, if there is one, says of texts: of each the states of its tokens.
    pub(super) async fn encode_language(
        &self,
        texts: &[String],
        options: &SessionOptions,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let Some(language) = &self.info().language else { return Ok(Vec::new()) };
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| language.tokens(text)).collect();
        let (pad, fills) = match language.model {
            LanguageModel::Qwen3 { turn: Turn { pad: Some(pad), .. }, .. } => (pad, true),
            _ => (PAD, false),
        };
        let longest = ids.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let most = if fills { language.length } else { longest };
        let mut evaluator =
            self.parts.evaluator(self.info(), Stage::language(language, self.info(), most)?, options)?;
        let mut states: Vec<Vec<f32>> = Vec::new();
        for (i, own) in ids.iter().enumerate() {
            if let Some(same) = ids[..i].iter().position(|other| other == own) {
                states.push(states[same].clone());
                continue;
            }
            let mut padded = own.clone();
            padded.resize(most, pad);
            let name = match &language.model {
                LanguageModel::T5 { network, .. } => {
                    evaluator.evaluate_async(0, &[], &network.ids(&padded)?).await?;
                    T5Encoder::STATE
                }
                LanguageModel::Qwen3 { network, .. } => {
                    let (angles, ids) = (network.angles(most), network.ids(&padded, own.len())?);
                    evaluator.evaluate_async(0, &[(Qwen3::ANGLES, &angles)], &ids).await?;
                    Qwen3::STATE
                }
            };
            let told = if fills { most } else { own.len() };
            states.push(evaluator.output(name)?[..told * language.width()].to_vec());
        }
        Ok(states)
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
