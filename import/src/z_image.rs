//! Z-Image: pipelines of diffusers, and its transformer, its text encoder and its autoencoder as files of their own, by the names of
//! the original code (Tongyi-MAI/Z-Image) and ComfyUI's.

use super::checkpoint::{Checkpoint, Options};
use super::config::{Config, Family, Language};
use super::detect::{Detected, Shapes, UNET, count, dim, need, vae};
use super::error::ImportError;
use super::folder::part_json;
use super::json::Json;
use super::names::{Candidate, Form, candidate, replace_start};
use super::{language, parse};
use nijimi_runtime::model::LatentDefaults;
use nijimi_runtime::raw::nn::{Qwen3, ZImage};
use nijimi_runtime::sampler::Field;
use std::path::Path;

/// A tensor that no other model has, of a checkpoint of one file.
pub(super) const MARK: &str = "model.diffusion_model.cap_embedder.1.weight";
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
    let language = language::qwen3(shapes, last_but_one)?.map(Language::Qwen3);
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

/// Where a tensor is, of a checkpoint of one file.
pub(super) fn original(name: &str) -> Vec<Candidate> {
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

/// A norm of the original code that nothing uses.
pub(super) fn is_aside(name: &str) -> bool {
    name == "model.diffusion_model.norm_final.weight"
}

/// Reads a pipeline's folder.
pub(super) fn open_folder(folder: &Path, index: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let network = parse::z_image(&part_json(folder, "transformer", "config.json")?)?;
    let (text, layers) = language::text_encoder(folder)?;
    let states = last_but_one(layers).map_err(|why| ImportError::NotAModel { path: folder.into(), why })?;
    let language = Qwen3 { states, ..text };
    language::open_folder(folder, index, options, (Family::ZImage, network.into(), language), in_diffusers)
}

/// The states that its pipelines take: before the last layer.
fn last_but_one(layers: usize) -> Result<Vec<usize>, String> {
    match layers.checked_sub(1) {
        None | Some(0) => Err("its text encoder has no two layers".into()),
        Some(last) => Ok(vec![last]),
    }
}
