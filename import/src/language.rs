//! Models whose texts a language model alone reads, Qwen3: what their pipelines' folders and their parts in files of their own have in
//! common.

use super::checkpoint::{Checkpoint, Format, Found, LanguageVocabulary, Options};
use super::config::{Config, Family, Language, Model};
use super::detect::{Shapes, count, has, need};
use super::error::{ImportError, refused};
use super::folder::{only_known, part_json};
use super::json::Json;
use super::names::{self, Candidate, Form, candidate};
use super::parts::Part;
use super::tokenizer::Tokenizer;
use super::{aside, expect, files, parse, parts};
use nijimi_runtime::raw::nn::{Denoiser, Qwen3};
use serde_json::Value;
use std::path::Path;

/// The text encoder in a checkpoint of one file.
pub(super) const QWEN3: &str = "text_encoders.qwen3_4b.transformer.";
/// Tokens that the published pipelines read of a prompt (`max_sequence_length`).
pub(super) const LENGTH: usize = 512;
/// Side of the pictures that they were trained at.
const SIDE: usize = 1024;

/// A text encoder that is there; `states` are those that a model of so many layers is asked for.
pub(super) fn qwen3(
    shapes: &Shapes,
    states: impl Fn(usize) -> Result<Vec<usize>, String>,
) -> Result<Option<Qwen3>, String> {
    if !has(shapes, QWEN3) {
        return Ok(None);
    }
    let name = |rest: &str| format!("{QWEN3}model.{rest}");
    let of = |rest: &str, at: usize| need(shapes, &name(rest), at);
    let head_channels = of("layers.0.self_attn.q_norm.weight", 0)?;
    let layers = count(shapes, |i| name(&format!("layers.{i}.self_attn.q_proj.weight")));
    Ok(Some(Qwen3 {
        vocabulary: of("embed_tokens.weight", 0)?,
        width: of("embed_tokens.weight", 1)?,
        heads: of("layers.0.self_attn.q_proj.weight", 0)? / head_channels,
        kv_heads: of("layers.0.self_attn.k_proj.weight", 0)? / head_channels,
        head_channels,
        hidden: of("layers.0.mlp.gate_proj.weight", 0)?,
        eps: 1e-6,
        theta: 1e6,
        states: states(layers)?,
    }))
}

/// Where a tensor of the text encoder is, of a checkpoint of one file.
pub(super) fn original(name: &str) -> Vec<Candidate> {
    vec![candidate(format!("{QWEN3}model.{name}"), Form::Same)]
}

/// Tensors of the text encoder that nothing uses: layers after those whose states are taken, and what comes after them.
pub(super) fn is_aside(name: &str) -> bool {
    name.strip_prefix(QWEN3).is_some_and(|rest| {
        let rest = rest.strip_prefix("model.").unwrap_or(rest);
        ["norm.", "lm_head.", "layers."].iter().any(|first| rest.starts_with(first))
    })
}

/// The text encoder of a pipeline's folder, of which no state is taken yet, and its layers.
pub(super) fn text_encoder(folder: &Path) -> Result<(Qwen3, usize), ImportError> {
    parse::qwen3(&part_json(folder, "text_encoder", "config.json")?)
}

/// Reads the rest of a pipeline's folder. `in_diffusers` tells where a tensor of the transformer is.
pub(super) fn open_folder(
    folder: &Path,
    index: &Json,
    options: &Options,
    (family, denoiser, language): (Family, Denoiser, Qwen3),
    in_diffusers: impl Fn(&str) -> Candidate,
) -> Result<Checkpoint, ImportError> {
    only_known(index)?;
    for name in ["transformer", "vae", "text_encoder", "tokenizer", "scheduler"] {
        if !matches!(index.get(name), Some(Value::Array(pair)) if pair.iter().any(|v| !v.is_null())) {
            return Err(index.wrong(name, "the library and class of this part, which the model needs"));
        }
    }
    for part in [Part::ClipL, Part::ClipG, Part::T5] {
        if let Some(path) = options.part(part) {
            let why =
                format!("it is given with {}, and the text encoder of this model is another: --llm", part.option());
            return Err(ImportError::Part { path: path.into(), why });
        }
    }
    let vae_json = part_json(folder, "vae", "config.json")?;
    let vae = parse::vae(&vae_json)?;
    let mut config = Config {
        family,
        denoiser,
        sample_size: SIDE / vae.network.factor().max(1),
        vae,
        vae_sample_size: vae_json.size("sample_size", Some(SIDE))?,
        force_upcast: vae_json.bool("force_upcast", true)?,
        text: None,
        text_2: None,
        language: Some(Language::Qwen3(language)),
        scheduler: parse::scheduler(&part_json(folder, "scheduler", "scheduler_config.json")?)?,
        force_zeros_for_empty_prompt: false,
    };

    let mut found = Found::default();
    let mut ranges = Vec::new();
    for (name, part) in [("text_encoder", Part::Llm), ("transformer", Part::Unet), ("vae", Part::Vae)] {
        let start = found.files.len();
        let own = options.part(part);
        match own {
            Some(path) => found.files.push(parts::open(part, path, false)?),
            None => found.files.extend(files::open(&folder.join(name), options.variant.as_deref())?),
        }
        ranges.push((name, start..found.files.len(), own.is_some()));
    }
    super::flux2::statistics(&found.files, &vae_json, &mut config)?;
    super::llama::obey(&found.files, &mut config)?;
    let mut expected = expect::parts(&config).map_err(refused(folder))?;
    for (name, range, own) in ranges {
        let at = expected.iter().position(|(of, _)| *of == name);
        let Some((_, tensors)) = at.map(|at| expected.swap_remove(at)) else { continue };
        if own {
            found.take(folder, name, tensors, range.clone(), |tensor| names::original(name, tensor, &config, 0))?;
            found.left_over(range, aside::is)?;
            continue;
        }
        found.take(&folder.join(name), name, tensors, range.clone(), |tensor| match name {
            // With or without the model's head, which has a name of its own.
            "text_encoder" => [format!("model.{tensor}"), tensor.into()].map(|name| candidate(name, Form::Same)).into(),
            "transformer" => vec![in_diffusers(tensor)],
            _ => names::vae_in_folder(tensor, &config),
        })?;
        found.left_over(range, |tensor| match name {
            "text_encoder" => is_aside(&format!("{QWEN3}{tensor}")),
            "vae" => tensor.starts_with("bn."),
            _ => false,
        })?;
    }
    let tokenizer = options.tokenizer.clone().unwrap_or_else(|| folder.join("tokenizer"));
    let language = Some(LanguageVocabulary::Qwen3(Tokenizer::open_bytes(&tokenizer)?));
    let found = found.checkpoint(folder, Format::Diffusers, Model::TextToImage(Box::new(config)));
    let checkpoint = Checkpoint { language, parts: options.parts.clone(), ..found };
    checkpoint.check_vocabulary()?;
    Ok(checkpoint)
}
