//! Z-Image: pipelines of diffusers, and its transformer, its text encoder and its autoencoder as files of their own, by the names of
//! the original code (Tongyi-MAI/Z-Image) and ComfyUI's.

use super::checkpoint::{Checkpoint, Format, Found, LanguageVocabulary, Options};
use super::config::{Config, Family, Language, Model};
use super::detect::{Detected, Shapes, UNET, count, dim, has, need, vae};
use super::error::{ImportError, refused};
use super::folder::{only_known, part_json};
use super::json::Json;
use super::names::{self, Candidate, Form, candidate, replace_start};
use super::parts::Part;
use super::tokenizer::Tokenizer;
use super::{aside, expect, files, parse, parts};
use nijimi_runtime::model::LatentDefaults;
use nijimi_runtime::raw::nn::{Qwen3, ZImage};
use nijimi_runtime::sampler::Field;
use serde_json::Value;
use std::path::Path;

/// The text encoder in a checkpoint of one file.
pub(super) const QWEN3: &str = "text_encoders.qwen3_4b.transformer.";
/// A tensor that no other model has, of a checkpoint of one file.
pub(super) const MARK: &str = "model.diffusion_model.cap_embedder.1.weight";
/// Tokens that the published pipelines read of a prompt (`max_sequence_length`).
pub(super) const LENGTH: usize = 512;
/// Side of the latents of the pictures that it was trained at.
const SAMPLE_SIZE: usize = 128;
/// The shift of the model that is distilled, Turbo: few steps, and no guidance.
const TURBO_SHIFT: f64 = 3.0;

/// Whether the pipeline is one of these.
pub(super) fn is_pipeline(class: &str) -> bool {
    ["ZImagePipeline", "ZImageImg2ImgPipeline"].contains(&class)
}

/// Whether it has this transformer.
pub(super) fn is(shapes: &Shapes) -> bool {
    shapes.contains_key(MARK)
}

/// What its authors recommend, which no file says: Turbo is told by its shift.
pub(super) fn defaults(config: &Config) -> LatentDefaults {
    let turbo =
        config.scheduler.settings.iter().any(|(name, value)| name == "shift" && *value == Field::Number(TURBO_SHIFT));
    let (steps, guidance_scale) = if turbo { (8, 1.0) } else { (28, 4.0) };
    LatentDefaults { steps: Some(steps), guidance_scale: Some(guidance_scale), ..LatentDefaults::default() }
}

/// What there is of it, or what it lacks, if it is to be a `whole` model.
pub(super) fn detect(shapes: &Shapes, whole: bool) -> Result<Detected, String> {
    let network = transformer(shapes).map_err(|why| format!("it is a transformer (Z-Image), of which {why}"))?;
    let language = qwen3(shapes)?.map(Language::Qwen3);
    if whole && language.is_none() {
        return Err(
            "it is a transformer (Z-Image) without its text encoder: give Qwen3 with --llm FILE, or use the pipeline's folder"
                .into(),
        );
    }
    let vae = vae(shapes, Family::ZImage)?;
    Ok(Detected { family: Family::ZImage, denoiser: network.into(), vae, text: None, text_2: None, language })
}

fn transformer(shapes: &Shapes) -> Result<ZImage, String> {
    let either = |names: [&str; 2], at: usize| {
        let found = names.iter().find_map(|name| dim(shapes, &format!("{UNET}{name}"), at));
        found.ok_or_else(|| format!("the tensor {UNET}{} is missing", names[0]))
    };
    let embedder = ["x_embedder.weight", "all_x_embedder.2-1.weight"];
    let (width, patch) = (either(embedder, 0)?, either(embedder, 1)?);
    let head = either(["layers.0.attention.q_norm.weight", "layers.0.attention.norm_q.weight"], 0)?;
    let blocks = |of: &str| count(shapes, |i| format!("{UNET}{of}.{i}.feed_forward.w1.weight"));
    // A quarter of a head's channels tell the place in the text, and the others evenly that in the picture.
    let sides = head / 8 * 3;
    Ok(ZImage {
        channels: patch / 4,
        layers: blocks("layers"),
        refiner_layers: blocks("noise_refiner"),
        heads: (width / head).max(1),
        text_width: need(shapes, &format!("{UNET}cap_embedder.0.weight"), 0)?,
        axes: [head.saturating_sub(2 * sides), sides, sides],
        places: [1536, 512, 512],
        theta: 256.0,
        eps: 1e-5,
        time_scale: 1000.0,
    })
}

fn qwen3(shapes: &Shapes) -> Result<Option<Qwen3>, String> {
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
        states: last_but_one(layers)?,
    }))
}

/// The states that its pipelines take: before the last layer.
fn last_but_one(layers: usize) -> Result<Vec<usize>, String> {
    match layers.checked_sub(1) {
        None | Some(0) => Err("its text encoder has no two layers".into()),
        Some(last) => Ok(vec![last]),
    }
}

/// Where a tensor is, of a checkpoint of one file.
pub(super) fn original(part: &str, name: &str) -> Vec<Candidate> {
    if part == "text_encoder" {
        return vec![candidate(format!("{QWEN3}model.{name}"), Form::Same)];
    }
    let [first, other] = [in_original(name), in_diffusers(name)];
    [first, other].map(|Candidate { name, form }| candidate(format!("{UNET}{name}"), form)).into()
}

/// diffusers' name.
fn in_diffusers(name: &str) -> Candidate {
    match name {
        "all_x_embedder.2-1.weight" => candidate(name, Form::Patches),
        "x_pad_token.weight" | "cap_pad_token.weight" => candidate(name.trim_end_matches(".weight"), Form::Same),
        _ => candidate(name, Form::Same),
    }
}

/// The original code's.
fn in_original(name: &str) -> Candidate {
    let starts = [("all_x_embedder.2-1.", "x_embedder."), ("all_final_layer.2-1.", "final_layer.")];
    let Candidate { name, form } = in_diffusers(name);
    let name = replace_start(&name, &starts);
    let Some((block, rest)) = name.split_once(".attention.") else { return candidate(name, form) };
    let thirds = ["to_q.", "to_k.", "to_v."].iter().enumerate();
    if let Some((third, rest)) = thirds.into_iter().find_map(|(i, of)| Some((i, rest.strip_prefix(of)?))) {
        return candidate(format!("{block}.attention.qkv.{rest}"), Form::Third(third));
    }
    let rest = replace_start(rest, &[("to_out.0.", "out."), ("norm_q.", "q_norm."), ("norm_k.", "k_norm.")]);
    candidate(format!("{block}.attention.{rest}"), form)
}

/// Tensors that nothing uses: the language model's last layer and what comes after it, and a norm of the original code.
pub(super) fn is_aside(name: &str) -> bool {
    name == "model.diffusion_model.norm_final.weight"
        || name.strip_prefix(QWEN3).is_some_and(|rest| {
            let rest = rest.strip_prefix("model.").unwrap_or(rest);
            ["norm.", "lm_head.", "layers."].iter().any(|first| rest.starts_with(first))
        })
}

/// Reads a pipeline's folder.
pub(super) fn open_folder(folder: &Path, index: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    only_known(index)?;
    for name in ["transformer", "vae", "text_encoder", "tokenizer", "scheduler"] {
        if !matches!(index.get(name), Some(Value::Array(pair)) if pair.iter().any(|v| !v.is_null())) {
            return Err(index.wrong(name, "the library and class of this part, which the model needs"));
        }
    }
    for part in [Part::ClipL, Part::ClipG, Part::T5] {
        if let Some(path) = options.part(part) {
            let why = format!("it is given with {}, and the text encoder of Z-Image is another: --llm", part.option());
            return Err(ImportError::Part { path: path.into(), why });
        }
    }
    let text_json = part_json(folder, "text_encoder", "config.json")?;
    let (text, layers) = parse::qwen3(&text_json)?;
    let states = last_but_one(layers).map_err(|_| text_json.wrong("num_hidden_layers", "2 or more"))?;
    let vae_json = part_json(folder, "vae", "config.json")?;
    let config = Config {
        family: Family::ZImage,
        denoiser: parse::z_image(&part_json(folder, "transformer", "config.json")?)?.into(),
        sample_size: SAMPLE_SIZE,
        vae: parse::vae(&vae_json)?,
        vae_sample_size: vae_json.size("sample_size", Some(1024))?,
        force_upcast: vae_json.bool("force_upcast", true)?,
        text: None,
        text_2: None,
        language: Some(Language::Qwen3(Qwen3 { states, ..text })),
        scheduler: parse::scheduler(&part_json(folder, "scheduler", "scheduler_config.json")?)?,
        force_zeros_for_empty_prompt: false,
    };

    let mut found = Found::default();
    let parts_of = [("text_encoder", Part::Llm), ("transformer", Part::Unet), ("vae", Part::Vae)];
    let mut expected = expect::parts(&config).map_err(refused(folder))?;
    for (name, part) in parts_of {
        let start = found.files.len();
        let own = options.part(part);
        match own {
            Some(path) => found.files.push(parts::open(part, path, false)?),
            None => found.files.extend(files::open(&folder.join(name), options.variant.as_deref())?),
        }
        let range = start..found.files.len();
        let at = expected.iter().position(|(of, _)| *of == name);
        let Some((_, tensors)) = at.map(|at| expected.swap_remove(at)) else { continue };
        if own.is_some() {
            found.take(folder, name, tensors, range.clone(), |tensor| names::original(name, tensor, &config, 0))?;
            found.left_over(range, aside::is)?;
        } else {
            found.take(&folder.join(name), name, tensors, range.clone(), |tensor| in_folder(name, tensor))?;
            found.left_over(range, |tensor| name == "text_encoder" && is_aside(&format!("{QWEN3}{tensor}")))?;
        }
    }
    let tokenizer = options.tokenizer.clone().unwrap_or_else(|| folder.join("tokenizer"));
    let language = Some(LanguageVocabulary::Qwen3(Tokenizer::open_bytes(&tokenizer)?));
    let found = found.checkpoint(folder, Format::Diffusers, Model::TextToImage(Box::new(config)));
    let checkpoint = Checkpoint { language, parts: options.parts.clone(), ..found };
    checkpoint.check_vocabulary()?;
    Ok(checkpoint)
}

/// In a part's folder.
fn in_folder(part: &str, name: &str) -> Vec<Candidate> {
    match part {
        // With or without the model's head, which has a name of its own.
        "text_encoder" => [format!("model.{name}"), name.into()].map(|name| candidate(name, Form::Same)).into(),
        "transformer" => vec![in_diffusers(name)],
        _ => names::diffusers(part, name),
    }
}
