//! Language models in GGUF files of llama.cpp, Qwen3 and T5's encoder: their names, the numbers of their headers, and the vocabularies
//! that they bring along.

use super::checkpoint::LanguageVocabulary;
use super::config::{Config, Language};
use super::error::ImportError;
use super::gguf::whole;
use super::names::replace_start;
use super::numbers::Numbers;
use super::parts::Part;
use super::tensor_file::TensorFile;
use super::tokenizer::missing_turn;
use nijimi_runtime::gguf::{Array, File, Value};
use nijimi_runtime::raw::text::{Pieces, Vocabulary};
use std::path::Path;

/// What the header of such a file says.
#[derive(Debug)]
pub(super) struct Llama {
    /// `qwen3`, `t5encoder`, …
    pub architecture: String,
    /// Its vocabulary, or why it has none that can be used.
    pub vocabulary: Result<LanguageVocabulary, String>,
    /// What it says of its layers, by name without the architecture's.
    numbers: Vec<(&'static str, f64)>,
    /// How its rotary positions are stretched, if they are.
    scaling: Option<String>,
}

/// What added to a norm's mean square.
const EPS: &str = "attention.layer_norm_rms_epsilon";
/// The base of rotary positions.
const THETA: &str = "rope.freq_base";
const HEADS: &str = "attention.head_count";
const KV_HEADS: &str = "attention.head_count_kv";
const LAYERS: &str = "block_count";
const BUCKETS: &str = "attention.relative_buckets_count";
const NUMBERS: [&str; 6] = [EPS, THETA, HEADS, KV_HEADS, LAYERS, BUCKETS];

/// `tokenizer.ggml.token_type`: an id of the vocabulary's own, one that was added, and one that no text has.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;

/// Splits texts as Qwen's pattern does.
const QWEN: &str = "qwen2";

impl Llama {
    /// What a file says, if it is one of llama.cpp's.
    pub fn read(file: &File<'_, Numbers>) -> Option<Self> {
        let Some(Value::Str(architecture)) = file.get("general.architecture") else { return None };
        // Its reader needs them; ComfyUI-GGUF's and stable-diffusion.cpp's files have none.
        file.get("tokenizer.ggml.model").or_else(|| file.get(&format!("{architecture}.{LAYERS}")))?;
        let number = |name: &&'static str| Some((*name, number(file.get(&format!("{architecture}.{name}"))?)?));
        let scaling = match file.get(&format!("{architecture}.rope.scaling.type")) {
            Some(Value::Str(kind)) if kind != "none" => Some(kind.to_owned()),
            _ => None,
        };
        Some(Self {
            architecture: architecture.into(),
            numbers: NUMBERS.iter().filter_map(number).collect(),
            vocabulary: vocabulary(file),
            scaling,
        })
    }

    /// What it says under this name.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|(own, _)| *own == name).map(|(_, number)| *number)
    }

    /// That it is of one of these architectures, and that what it says fits the sizes of its tensors.
    pub fn check(&self, path: &Path, architectures: &[&str], sizes: &[(&str, usize)]) -> Result<(), ImportError> {
        let refuse = |why: String| Err(ImportError::NotAModel { path: path.into(), why });
        if !architectures.contains(&&*self.architecture) {
            let Self { architecture, .. } = self;
            return refuse(format!(
                "it is a language model of the architecture {architecture:?}, not {}",
                architectures[0]
            ));
        }
        if let Some(kind) = &self.scaling {
            return refuse(format!(
                "it stretches its positions ({}.rope.scaling.type {kind:?}), which is not obeyed",
                self.architecture
            ));
        }
        for (name, size) in sizes {
            if let Some(found) = self.number(name).filter(|found| *found != *size as f64) {
                return refuse(format!(
                    "its {}.{name} is {found}, and its tensors are those of {size}: it is damaged",
                    self.architecture
                ));
            }
        }
        Ok(())
    }
}

/// llama.cpp's words for it.
pub(super) fn of(language: &Language) -> &'static [&'static str] {
    match language {
        Language::Qwen3(_) => &["qwen3"],
        Language::T5(_) => &["t5encoder", "t5"],
    }
}

/// Obeys what the files say of a language model, which their tensors do not tell, and refuses what contradicts these.
pub(super) fn obey(files: &[TensorFile], config: &mut Config) -> Result<(), ImportError> {
    for (file, llama) in files.iter().filter_map(|file| Some((file, file.llama()?))) {
        let eps = |own: f32| llama.number(EPS).map_or(own, |eps| eps as f32);
        let architectures = config.language.as_ref().map_or(&[][..], of);
        match &mut config.language {
            Some(Language::Qwen3(network)) if Part::Llm.is_in(file) => {
                let sizes = [(HEADS, network.heads), (KV_HEADS, network.kv_heads)];
                llama.check(file.path(), architectures, &sizes)?;
                network.eps = eps(network.eps);
                network.theta = llama.number(THETA).map_or(network.theta, |theta| theta as f32);
            }
            Some(Language::T5(network)) if Part::T5.is_in(file) => {
                let sizes = [(HEADS, network.heads), (LAYERS, network.layers), (BUCKETS, 32)];
                llama.check(file.path(), architectures, &sizes)?;
                network.eps = eps(network.eps);
            }
            _ => {}
        }
    }
    Ok(())
}

/// transformers' name of a tensor of Qwen3.
pub(super) fn qwen3(name: &str) -> String {
    let whole = [("token_embd.", "model.embed_tokens."), ("output_norm.", "model.norm."), ("output.", "lm_head.")];
    let layers = [
        ("attn_norm.", "input_layernorm."),
        ("ffn_norm.", "post_attention_layernorm."),
        ("attn_q.", "self_attn.q_proj."),
        ("attn_k.", "self_attn.k_proj."),
        ("attn_v.", "self_attn.v_proj."),
        ("attn_output.", "self_attn.o_proj."),
        ("attn_q_norm.", "self_attn.q_norm."),
        ("attn_k_norm.", "self_attn.k_norm."),
        ("ffn_gate.", "mlp.gate_proj."),
        ("ffn_up.", "mlp.up_proj."),
        ("ffn_down.", "mlp.down_proj."),
    ];
    renamed(name, ("blk.", "model.layers."), &whole, &layers)
}

/// transformers' name of a tensor of T5's encoder.
pub(super) fn t5(name: &str) -> String {
    let whole = [("token_embd.", "shared."), ("enc.output_norm.", "encoder.final_layer_norm.")];
    let layers = [
        ("attn_norm.", "layer.0.layer_norm."),
        ("attn_q.", "layer.0.SelfAttention.q."),
        ("attn_k.", "layer.0.SelfAttention.k."),
        ("attn_v.", "layer.0.SelfAttention.v."),
        ("attn_o.", "layer.0.SelfAttention.o."),
        ("attn_rel_b.", "layer.0.SelfAttention.relative_attention_bias."),
        ("ffn_norm.", "layer.1.layer_norm."),
        ("ffn_gate.", "layer.1.DenseReluDense.wi_0."),
        ("ffn_up.", "layer.1.DenseReluDense.wi_1."),
        ("ffn_down.", "layer.1.DenseReluDense.wo."),
    ];
    renamed(name, ("enc.blk.", "encoder.block."), &whole, &layers)
}

/// A name that is not known stays, and is told of as it is.
fn renamed(name: &str, block: (&str, &str), whole: &[(&str, &str)], layers: &[(&str, &str)]) -> String {
    match name.strip_prefix(block.0).and_then(|rest| rest.split_once('.')) {
        Some((i, rest)) if layers.iter().any(|(own, _)| rest.starts_with(own)) => {
            format!("{}{i}.{}", block.1, replace_start(rest, layers))
        }
        Some(_) => name.into(),
        None => replace_start(name, whole),
    }
}

fn vocabulary(file: &File<'_, Numbers>) -> Result<LanguageVocabulary, String> {
    let get = |name: &str| file.get(&format!("tokenizer.ggml.{name}"));
    let text = |name: &str| match get(name) {
        Some(Value::Str(text)) => text,
        _ => "",
    };
    let tokens = texts(get("tokens")).ok_or("it has no list of tokens (tokenizer.ggml.tokens)")?;
    let types: Vec<i64> = array(get("token_type")).into_iter().flat_map(|a| a.iter()).filter_map(whole).collect();
    if !types.is_empty() && types.len() != tokens.len() {
        return Err(format!("it has {} tokens, and {} of their types", tokens.len(), types.len()));
    }
    let of = |kinds: &[i64]| {
        let each = tokens.iter().zip(&types).filter(|(_, kind)| kinds.contains(kind));
        each.map(|(token, _)| token.clone()).collect::<Vec<String>>()
    };
    match text("model") {
        "gpt2" if text("pre") == QWEN => {
            let merges = texts(get("merges")).ok_or("it has no list of pairs (tokenizer.ggml.merges)")?;
            let added = of(&[CONTROL, USER_DEFINED]);
            if let Some(turn) = missing_turn(added.iter().map(String::as_str)) {
                return Err(format!("its vocabulary has no added token {turn}: it is not Qwen's"));
            }
            Ok(LanguageVocabulary::Qwen3(Vocabulary { tokens, merges, added }))
        }
        "t5" => {
            let scores = array(get("scores")).ok_or("it has no scores of its tokens (tokenizer.ggml.scores)")?;
            let id = |name: &str, otherwise: u32| match get(name) {
                None => Ok(otherwise),
                Some(value) => {
                    let id = whole(value).and_then(|id| u32::try_from(id).ok());
                    id.ok_or_else(|| format!("its tokenizer.ggml.{name} is {}", value.describe()))
                }
            };
            let bytes = |value: Value<'_>| match value {
                Value::U8(byte) => Some(byte),
                Value::I8(byte) => Some(byte as u8),
                _ => None,
            };
            let charsmap = array(get("precompiled_charsmap"));
            Ok(LanguageVocabulary::T5(Pieces {
                scores: scores.iter().map(|score| number(score).unwrap_or(f64::NAN) as f32).collect(),
                // Those that no text has are found in none either, if they are no pieces.
                added: of(&[CONTROL, USER_DEFINED, UNUSED]),
                tokens,
                charsmap: charsmap.into_iter().flat_map(|a| a.iter()).filter_map(bytes).collect(),
                unknown: id("unknown_token_id", 2)?,
                end: id("eos_token_id", 1)?,
                pad: id("padding_token_id", 0)?,
            }))
        }
        model => Err(format!(
            "its vocabulary is of another kind (tokenizer.ggml.model {model:?}, pre {:?}) than Qwen's and T5's",
            text("pre")
        )),
    }
}

fn array(value: Option<Value<'_>>) -> Option<Array<'_>> {
    match value {
        Some(Value::Array(array)) => Some(array),
        _ => None,
    }
}

fn texts(value: Option<Value<'_>>) -> Option<Vec<String>> {
    let text = |value: Value<'_>| match value {
        Value::Str(text) => Some(text.to_owned()),
        _ => None,
    };
    array(value)?.iter().map(text).collect()
}

fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::F32(n) => Some(n.into()),
        Value::F64(n) => Some(n),
        value => whole(value).map(|n| n as f64),
    }
}
