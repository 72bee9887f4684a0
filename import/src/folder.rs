//! Pipeline folders as diffusers writes them.

use super::checkpoint::{Checkpoint, Format, Found, LanguageVocabulary, Options};
use super::config::{Config, Family, Language, Model};
use super::detect::{UNET, per_level};
use super::error::{ImportError, refused};
use super::json::Json;
use super::parts::Part;
use super::tokenizer::Tokenizer;
use super::{aside, expect, files, flux2, header, llama, marks, names, parse, parts, pieces, pixels, z_image};
use nijimi_runtime::raw::nn::{Denoiser, SdUnet};
use nijimi_runtime::sampler::is_edm;
use serde_json::Value;
use std::path::Path;

/// The parts of a pipeline that are read, those that look at pictures when they are drawn, and its settings; others would
/// take part in the picture (ControlNets, adapters).
const KNOWN: [&str; 20] = [
    "unet",
    "transformer",
    "vae",
    "text_encoder",
    "text_encoder_2",
    "text_encoder_3",
    "tokenizer",
    "tokenizer_2",
    "tokenizer_3",
    "scheduler",
    "safety_checker",
    "feature_extractor",
    "image_encoder",
    "requires_safety_checker",
    "force_zeros_for_empty_prompt",
    "add_watermarker",
    "is_cosxl_edit",
    "requires_aesthetics_score",
    "is_distilled",
    // It makes the depth of a picture, which is given here.
    "depth_estimator",
];

/// `[null, null]` stands for a part that is left out.
pub(super) fn only_known(index: &Json) -> Result<(), ImportError> {
    let there = |value: &Value| match value {
        Value::Array(pair) => pair.iter().any(|v| !v.is_null()),
        Value::Null | Value::Bool(false) => false,
        _ => true,
    };
    let known = |key: &str| key.starts_with('_') || KNOWN.contains(&key);
    match index.map.iter().find(|(key, value)| there(value) && !known(key)) {
        Some((key, _)) => Err(index.wrong(key, "no such part or setting: it would not take part in the picture")),
        None => Ok(()),
    }
}

/// A file of a part of the pipeline.
pub(super) fn part_json(folder: &Path, name: &str, file: &str) -> Result<Json, ImportError> {
    let path = folder.join(name).join(file);
    if path.is_file() {
        return Json::open(&path);
    }
    Err(ImportError::MissingFile { path, remedy: "model_index.json names this part: download the whole folder" })
}

/// Reads a folder with this `model_index.json`.
pub(super) fn open(folder: &Path, index: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let class = index.str("_class_name", "")?;
    if pixels::is_pipeline(class) {
        return pixels::open_pipeline(folder, index, options);
    }
    if z_image::is_pipeline(class) {
        return z_image::open_folder(folder, index, options);
    }
    if flux2::is_pipeline(class) {
        return flux2::open_folder(folder, index, options);
    }
    if !class.starts_with("StableDiffusion") && !class.starts_with("LatentConsistencyModel") {
        return Err(index.wrong(
            "_class_name",
            "a pipeline of Stable Diffusion 1.x, 2.x, XL or 3, of Z-Image or FLUX.2-klein, or an unconditional one of DDPM, DDIM or PNDM",
        ));
    }
    only_known(index)?;
    let part = |name: &str| match index.get(name) {
        Some(Value::Array(pair)) => pair.iter().any(|v| !v.is_null()),
        _ => false,
    };
    // The refiner has SDXL's second text encoder alone.
    let refiner = !part("text_encoder") && part("text_encoder_2");
    let [first, vocabulary] = if refiner { ["text_encoder_2", "tokenizer_2"] } else { ["text_encoder", "tokenizer"] };
    let denoises = if part("transformer") { "transformer" } else { "unet" };
    for name in [denoises, "vae", first, vocabulary, "scheduler"] {
        if !part(name) {
            return Err(index.wrong(name, "the library and class of this part, which the model needs"));
        }
    }
    let json = |name: &str, file: &str| part_json(folder, name, file);
    let denoiser_json = json(denoises, "config.json")?;
    let denoiser: Denoiser = match denoises {
        "transformer" => parse::mmdit(&denoiser_json)?.into(),
        _ => parse::unet(&denoiser_json)?.into(),
    };
    let vae_json = json("vae", "config.json")?;
    let vae = parse::vae(&vae_json)?;
    let scheduler = parse::scheduler(&json("scheduler", "scheduler_config.json")?)?;

    // Whether the picture that is changed is scaled as latents are, which our file tells by the noise levels.
    let edits = denoiser.channels()[0] == 2 * vae.network.latent_channels();
    if edits && index.bool("is_cosxl_edit", false)? != is_edm(&scheduler.class) {
        return Err(index.wrong("is_cosxl_edit", "true exactly where the scheduler is one of EDM's"));
    }

    let mut found = Found::default();
    let mut ranges = vec![];
    let mut text_configs = vec![];
    let second = (!refiner && part("text_encoder_2")).then_some("text_encoder_2");
    let third = part("text_encoder_3").then_some("text_encoder_3");
    for name in [first].into_iter().chain(second).chain(third).chain([denoises, "vae"]) {
        let start = found.files.len();
        match Part::ALL
            .into_iter()
            .find_map(|part| options.part(part).filter(|_| part.name() == name).map(|path| (part, path)))
        {
            Some((part, path)) => found.files.push(parts::open(part, path, second.is_some())?),
            None => found.files.extend(files::open(&folder.join(name), options.variant.as_deref())?),
        }
        if name.starts_with("text_encoder") && Some(name) != third {
            let projected = found.files[start..]
                .iter()
                .any(|file| file.tensors().keys().any(|name| name.contains("text_projection")));
            text_configs.push(parse::text(&json(name, "config.json")?, projected)?);
        }
        ranges.push((name, start..found.files.len()));
    }
    let mut text_configs = text_configs.into_iter();
    let text = text_configs.next().ok_or_else(|| index.wrong("text_encoder", "a text encoder"))?;
    let text_2 = text_configs.next();

    let wide = text.width + text_2.as_ref().map_or(0, |text| text.width);
    let family = match (&denoiser, &text_2) {
        (Denoiser::Unet(SdUnet { added: Some(_), .. }), None) if refiner => Family::SdxlRefiner,
        (Denoiser::Unet(SdUnet { added: Some(_), .. }), Some(_)) => Family::Sdxl,
        (Denoiser::Unet(SdUnet { added: None, linear_projection: true, .. }), None) => Family::Sd2,
        (Denoiser::Unet(SdUnet { added: None, .. }), None) => Family::Sd1,
        (Denoiser::Mmdit(network), Some(_)) if network.qk_norm => Family::Sd35,
        (Denoiser::Mmdit(_), Some(_)) => Family::Sd3,
        (Denoiser::Mmdit(_), None) => return Err(index.wrong("text_encoder_2", "there, as this model has two")),
        _ => return Err(index.wrong("text_encoder_2", "there exactly where the U-Net has an addition_embed_type")),
    };
    let text_3 = third.map(|name| parse::t5(&json(name, "config.json")?)).transpose()?;
    if text_3.is_some() && !family.is_sd3() {
        return Err(index.wrong("text_encoder_3", "null: only Stable Diffusion 3 has a third text encoder"));
    }
    if !family.is_sd3() && wide != denoiser.text_width() {
        return Err(denoiser_json.wrong("cross_attention_dim", format!("{wide}, the width of the text states")));
    }
    let force_zeros_for_empty_prompt = index.bool("force_zeros_for_empty_prompt", family == Family::Sdxl)?;
    // What it is told beside sizes: a score, where the pipeline says so.
    let scored = index.bool("requires_aesthetics_score", false)?;
    if scored != refiner {
        return Err(
            index.wrong("requires_aesthetics_score", "true exactly where text_encoder_2 is the only text encoder")
        );
    }
    let mut config = Config {
        family,
        denoiser,
        sample_size: denoiser_json.size("sample_size", Some(if family.is_sd3() { 128 } else { 64 }))?,
        vae,
        vae_sample_size: vae_json.size("sample_size", Some(512))?,
        force_upcast: vae_json.bool("force_upcast", true)?,
        text: Some(text),
        text_2,
        language: text_3.map(Language::T5),
        scheduler,
        force_zeros_for_empty_prompt,
    };

    let mut notes = Vec::new();
    if let Some(path) = options.part(Part::Llm) {
        let why = "it is given as a language model (--llm), and this pipeline has none".into();
        return Err(ImportError::Part { path: path.into(), why });
    }
    if let Some(path) = options.part(Part::ClipG).filter(|_| second.is_none()) {
        let why = "it is given as SDXL's second text encoder (--clip-g), and this pipeline has one alone".into();
        return Err(ImportError::Part { path: path.into(), why });
    }
    if let Some(path) = options.part(Part::T5).filter(|_| third.is_none()) {
        let why = "it is given as the third text encoder (--t5xxl), and this pipeline has none".into();
        return Err(ImportError::Part { path: path.into(), why });
    }
    if let Some(path) = options.part(Part::Unet) {
        // What is said of a U-Net is said where it is.
        let file = ranges.iter().find(|(name, _)| *name == denoises).map_or(0, |(_, range)| range.start);
        let file = &found.files[file];
        if let Some((name, why)) = aside::refused(&file.shapes()) {
            let why = format!("its tensor {name:?} says that {why}");
            return Err(ImportError::NotAModel { path: path.into(), why });
        }
        notes = header::notes(file);
        marks::obey(path, file, &mut config, options.prediction_type.is_some(), &mut notes)?;
    }
    llama::obey(&found.files, &mut config)?;
    for (part, expected) in expect::parts(&config).map_err(refused(folder))? {
        let own = if part == "text_encoder" { first } else { part };
        let range = ranges.iter().find(|(name, _)| *name == own).map_or(0..0, |(_, range)| range.clone());
        if options.parts.iter().any(|(own, _)| own.name() == part) {
            let per_level = found.files.get(range.start).map_or(0, |file| per_level(&file.shapes(), UNET));
            found
                .take(folder, part, expected, range.clone(), |name| names::original(part, name, &config, per_level))?;
            found.left_over(range, aside::is)?;
            continue;
        }
        found.take(&folder.join(own), part, expected, range.clone(), |name| names::diffusers(part, name))?;
        let counter = |name: &str| {
            name.ends_with("position_ids")
                || part.starts_with("text") && name.ends_with("logit_scale")
                // The same as `shared.weight`.
                || part == "text_encoder_3" && name == "encoder.embed_tokens.weight"
        };
        found.left_over(range, counter)?;
    }
    let tokenizer = match &options.tokenizer {
        Some(path) => Tokenizer::open(path)?,
        None => Tokenizer::open(&folder.join(vocabulary))?,
    };
    let tokenizer_2 = match second {
        Some(_) if part("tokenizer_2") => Some(Tokenizer::open(&folder.join("tokenizer_2"))?),
        Some(_) => return Err(index.wrong("tokenizer_2", "the tokenizer of the second text encoder")),
        None => None,
    };
    let language = match third {
        Some(_) if part("tokenizer_3") => Some(LanguageVocabulary::T5(pieces::open(&folder.join("tokenizer_3"))?)),
        Some(_) => return Err(index.wrong("tokenizer_3", "the tokenizer of the third text encoder")),
        None => None,
    };
    let found = found.checkpoint(folder, Format::Diffusers, Model::TextToImage(Box::new(config)));
    let checkpoint =
        Checkpoint { tokenizer: Some(tokenizer), tokenizer_2, language, parts: options.parts.clone(), notes, ..found };
    checkpoint.check_vocabulary()?;
    Ok(checkpoint)
}
