//! Pipeline folders as diffusers writes them.

use super::checkpoint::{Checkpoint, Format, Options, take};
use super::config::{Config, Family, Model};
use super::error::{ImportError, io};
use super::json::Json;
use super::names;
use super::safetensors::Safetensors;
use super::tokenizer::Tokenizer;
use super::{control, expect, parse, tiny};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Reads a folder with a `model_index.json`, or with the `config.json` of what goes beside such a pipeline.
pub(super) fn open(folder: &Path, options: &Options) -> Result<Checkpoint, ImportError> {
    let index = folder.join("model_index.json");
    if !index.is_file() {
        return component(folder, options);
    }
    let index = Json::open(&index)?;
    let class = index.str("_class_name", "")?;
    let known = class.starts_with("StableDiffusion") || class.starts_with("LatentConsistencyModel");
    if !known || class.starts_with("StableDiffusion3") {
        return Err(index.wrong("_class_name", "a pipeline of Stable Diffusion 1.x, 2.x or SDXL"));
    }
    let part = |name: &str| match index.get(name) {
        Some(Value::Array(pair)) => pair.iter().any(|v| !v.is_null()),
        _ => false,
    };
    for name in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
        if !part(name) {
            return Err(index.wrong(name, "the library and class of this part, which the model needs"));
        }
    }
    let json = |name: &str, file: &str| {
        let path = folder.join(name).join(file);
        if path.is_file() {
            return Json::open(&path);
        }
        Err(ImportError::MissingFile { path, remedy: "model_index.json names this part: download the whole folder" })
    };
    let unet = parse::unet(&json("unet", "config.json")?)?;
    let vae = parse::vae(&json("vae", "config.json")?)?;
    let scheduler = parse::scheduler(&json("scheduler", "scheduler_config.json")?)?;

    let mut files: Vec<Safetensors> = Vec::new();
    let mut ranges = vec![];
    let mut text_configs = vec![];
    let second = part("text_encoder_2").then_some("text_encoder_2");
    for name in ["text_encoder"].into_iter().chain(second).chain(["unet", "vae"]) {
        let start = files.len();
        for path in weights(&folder.join(name), options.variant.as_deref())? {
            files.push(Safetensors::open(&path)?);
        }
        if name.starts_with("text_encoder") {
            let projected = files[start..].iter().any(|file| file.tensors().contains_key("text_projection.weight"));
            text_configs.push(parse::text(&json(name, "config.json")?, projected)?);
        }
        ranges.push((name, start..files.len()));
    }
    let mut text_configs = text_configs.into_iter();
    let text = text_configs.next().ok_or_else(|| index.wrong("text_encoder", "a text encoder"))?;
    let text_2 = text_configs.next();

    let wide = text.width + text_2.as_ref().map_or(0, |text| text.width);
    let family = match (&unet.addition, &text_2) {
        (Some(_), Some(_)) => Family::Sdxl,
        (None, None) if unet.linear_projection => Family::Sd2,
        (None, None) => Family::Sd1,
        _ => return Err(index.wrong("text_encoder_2", "there exactly where the U-Net has an addition_embed_type")),
    };
    if wide != unet.cross_attention_dim {
        let unet_json = json("unet", "config.json")?;
        return Err(unet_json.wrong("cross_attention_dim", format!("{wide}, the width of the text states")));
    }
    let force_zeros_for_empty_prompt = index.bool("force_zeros_for_empty_prompt", family == Family::Sdxl)?;
    let config = Config { family, unet, vae, text, text_2, scheduler, force_zeros_for_empty_prompt };

    let mut tensors = Vec::new();
    let mut aside = Vec::new();
    for (part, expected) in expect::parts(&config) {
        let range = ranges.iter().find(|(name, _)| *name == part).map_or(0..0, |(_, range)| range.clone());
        let mut used = BTreeSet::new();
        let at = folder.join(part);
        take(
            &at,
            part,
            &expected,
            &files,
            range.clone(),
            |name| names::diffusers(part, name),
            &mut used,
            &mut tensors,
        )?;
        let counter =
            |name: &str| name.ends_with("position_ids") || part.starts_with("text") && name.ends_with("logit_scale");
        aside.extend(left_over(&files[range], &used, counter)?);
    }
    let tokenizer = match &options.tokenizer {
        Some(path) => Tokenizer::open(path)?,
        None => Tokenizer::open(&folder.join("tokenizer"))?,
    };
    let tokenizer_2 = match second {
        Some(_) if part("tokenizer_2") => Some(Tokenizer::open(&folder.join("tokenizer_2"))?),
        Some(_) => return Err(index.wrong("tokenizer_2", "the tokenizer of the second text encoder")),
        None => None,
    };
    let checkpoint = Checkpoint {
        path: folder.into(),
        format: Format::Diffusers,
        model: Model::LatentDiffusion(Box::new(config)),
        tokenizer: Some(tokenizer),
        tokenizer_2,
        files,
        tensors,
        aside,
        notes: Vec::new(),
    };
    checkpoint.check_vocabulary()?;
    Ok(checkpoint)
}

/// Reads the folder of a ControlNet or a tiny autoencoder.
fn component(folder: &Path, options: &Options) -> Result<Checkpoint, ImportError> {
    let path = folder.join("config.json");
    let refuse = |why: String| Err(ImportError::NotAModel { path: folder.into(), why });
    if !path.is_file() {
        return refuse(
            "it has neither a model_index.json nor a config.json: name the folder of the whole pipeline, of a ControlNet or \
             of a tiny autoencoder, or a single .safetensors file"
                .into(),
        );
    }
    let json = Json::open(&path)?;
    match json.str("_class_name", "")? {
        "ControlNetModel" => control::open_folder(folder, &json, options),
        "AutoencoderTiny" => tiny::open_folder(folder, &json, options),
        "" => refuse("its config.json names no class (_class_name), and it has no model_index.json".into()),
        class => refuse(format!(
            "it has no model_index.json, and its config.json is that of {class}: name the folder of the whole pipeline, \
             which this may be a part of"
        )),
    }
}

/// The tensors that nobody took; an error unless they are known to be `aside`.
pub(super) fn left_over(
    files: &[Safetensors],
    used: &BTreeSet<String>,
    aside: impl Fn(&str) -> bool,
) -> Result<Vec<String>, ImportError> {
    let all = files.iter().flat_map(|file| file.tensors().iter().map(move |(name, entry)| (file, name, entry)));
    let mut names = Vec::new();
    for (file, name, entry) in all.filter(|(_, name, _)| !used.contains(name.as_str())) {
        if !aside(name) {
            let (path, found) = (file.path().into(), entry.shape.clone());
            return Err(ImportError::ExtraTensor { path, name: name.clone(), found });
        }
        names.push(name.clone());
    }
    Ok(names)
}

/// The weight files of a part: whole or in shards, of the variant that is asked for, or else the plain one, or else the
/// only one.
pub(super) fn weights(folder: &Path, variant: Option<&str>) -> Result<Vec<PathBuf>, ImportError> {
    let names: Vec<String> = match fs::read_dir(folder) {
        Ok(entries) => {
            let mut names: Vec<String> = entries
                .filter_map(|e| e.ok()?.file_name().into_string().ok())
                .filter(|n| !n.starts_with('.'))
                .collect();
            names.sort_unstable();
            names
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let remedy = "model_index.json names this part: download the whole folder";
            return Err(ImportError::MissingFile { path: folder.into(), remedy });
        }
        Err(e) => return Err(io("read", folder)(e)),
    };
    let has = |name: &str| names.iter().any(|n| n == name);
    let variants: Vec<&str> = match variant {
        Some(variant) => vec![variant],
        None => ["", "fp16", "bf16", "fp32"].into(),
    };
    for variant in variants {
        for base in ["diffusion_pytorch_model", "model"] {
            let dot = if variant.is_empty() { String::new() } else { format!(".{variant}") };
            let whole = format!("{base}{dot}.safetensors");
            if has(&whole) {
                return Ok(vec![folder.join(whole)]);
            }
            for index in [format!("{base}.safetensors.index{dot}.json"), format!("{base}{dot}.safetensors.index.json")]
            {
                if has(&index) {
                    return shards(folder, &index);
                }
            }
        }
    }
    let ends = |end: &str| names.iter().find(|n| n.ends_with(end));
    if let Some(name) = ends(".bin").or_else(|| ends(".ckpt")).or_else(|| ends(".pt"))
        && ends(".safetensors").is_none()
    {
        return Err(ImportError::Pickle { path: folder.join(name) });
    }
    let remedy = match ends(".safetensors") {
        Some(name) if name.contains("-of-") => "there are shards, but not their index: download that too",
        Some(_) if variant.is_some() => "there are other variants: name one of those with --variant, or none",
        Some(_) => "there are other files: say which with --variant, as in --variant fp16 for model.fp16.safetensors",
        None => "this part has no weights: download the whole folder",
    };
    Err(ImportError::MissingFile { path: folder.join("*.safetensors"), remedy })
}

/// The files that an index names.
fn shards(folder: &Path, index: &str) -> Result<Vec<PathBuf>, ImportError> {
    let json = Json::open(&folder.join(index))?;
    let Some(map) = json.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty()) else {
        return Err(json.wrong("weight_map", "the file of each tensor"));
    };
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        // Nothing outside the folder.
        let plain =
            file.as_str().filter(|f| f.ends_with(".safetensors") && !f.contains(['/', '\\']) && !f.contains(".."));
        let Some(file) = plain else {
            let why = format!("the file of {tensor:?} is {file}, expected the name of a .safetensors file beside it");
            return Err(ImportError::Json { path: json.path, why });
        };
        names.insert(file.to_string());
    }
    for name in &names {
        let path = folder.join(name);
        if !path.is_file() {
            return Err(ImportError::MissingFile { path, remedy: "the index names this shard: download it too" });
        }
    }
    Ok(names.iter().map(|name| folder.join(name)).collect())
}
