//! FLUX.2-klein: pipelines of diffusers, and its transformer, its text encoder and its autoencoder as files of their own, by the names
//! of the original code (Black Forest Labs, flux2) and ComfyUI's.

use super::checkpoint::{Checkpoint, Options};
use super::config::{Config, Family, Language};
use super::detect::{Detected, Shapes, UNET, VAE, count, need, vae};
use super::error::ImportError;
use super::folder::part_json;
use super::json::Json;
use super::names::{Candidate, Form, candidate, replace_start};
use super::tensor_file::TensorFile;
use super::{language, parse};
use nijimi_runtime::model::{LatentDefaults, LatentStatistics};
use nijimi_runtime::raw::nn::{Denoiser, Flux2, Qwen3};
use std::path::Path;

/// A tensor that no other model has, of a checkpoint of one file.
pub(super) const MARK: &str = "model.diffusion_model.double_stream_modulation_img.lin.weight";
/// Added to the variances of latents, unless its configuration says otherwise (`batch_norm_eps`).
pub(super) const EPS: f64 = 1e-4;
/// After how many layers of the text encoder its pipelines take states (a default of theirs, which no file says).
const STATES: [usize; 3] = [9, 18, 27];

/// Whether the pipeline is one of these.
pub(super) fn is_pipeline(class: &str) -> bool {
    class == "Flux2KleinPipeline"
}

/// Whether it has this transformer.
pub(super) fn is(shapes: &Shapes) -> bool {
    shapes.contains_key(MARK)
}

/// What its authors recommend, which no file says: few steps without guidance where guidance was distilled.
pub(super) fn defaults(config: &Config) -> LatentDefaults {
    let distilled = matches!(&config.denoiser, Denoiser::Flux2(network) if network.distilled);
    let (steps, guidance_scale) = if distilled { (4, 1.0) } else { (50, 4.0) };
    LatentDefaults { steps: Some(steps), guidance_scale: Some(guidance_scale), ..LatentDefaults::default() }
}

/// What there is of it, or what it lacks, if it is to be a `whole` model.
pub(super) fn detect(shapes: &Shapes, whole: bool) -> Result<Detected, String> {
    let network = transformer(shapes).map_err(|why| format!("it is a transformer (FLUX.2), of which {why}"))?;
    let language = language::qwen3(shapes, states)?.map(Language::Qwen3);
    if whole && language.is_none() {
        return Err(
            "it is a transformer (FLUX.2) without its text encoder: give Qwen3 with --llm FILE, or use the pipeline's folder"
                .into(),
        );
    }
    let vae = vae(shapes, Family::Flux2)?;
    Ok(Detected { family: Family::Flux2, denoiser: network.into(), vae, text: None, text_2: None, language })
}

fn states(layers: usize) -> Result<Vec<usize>, String> {
    match STATES.into_iter().max() {
        Some(most) if most > layers => Err(format!("its text encoder has {layers} layers, and {most} are needed")),
        _ => Ok(STATES.into()),
    }
}

fn transformer(shapes: &Shapes) -> Result<Flux2, String> {
    let name = |rest: &str| format!("{UNET}{rest}");
    let width = need(shapes, &name("img_in.weight"), 0)?;
    let head = need(shapes, &name("double_blocks.0.img_attn.norm.query_norm.scale"), 0)?;
    let hidden = need(shapes, &name("double_blocks.0.img_mlp.2.weight"), 1)?;
    Ok(Flux2 {
        channels: need(shapes, &name("img_in.weight"), 1)?,
        layers: count(shapes, |i| name(&format!("double_blocks.{i}.img_attn.qkv.weight"))),
        single_layers: count(shapes, |i| name(&format!("single_blocks.{i}.linear1.weight"))),
        heads: (width / head).max(1),
        text_width: need(shapes, &name("txt_in.weight"), 1)?,
        axes: [head / 4; 4],
        mlp_ratio: hidden as f32 / width as f32,
        theta: 2000.0,
        // As the model that most use; the base model's file is the same.
        distilled: true,
    })
}

/// Where a tensor of the transformer is, of a checkpoint of one file.
pub(super) fn original(name: &str, config: &Config) -> Vec<Candidate> {
    let [own, diffusers] = [in_original(name, config), in_diffusers(name, sizes(config))];
    [own, diffusers].map(|Candidate { name, form }| candidate(format!("{UNET}{name}"), form)).into()
}

/// Width of a token, and of a perceptron's features.
fn sizes(config: &Config) -> [usize; 2] {
    match &config.denoiser {
        Denoiser::Flux2(network) => [network.width(), (network.width() as f32 * network.mlp_ratio) as usize],
        _ => [0; 2],
    }
}

/// The rows that a layer has of those that are one with it, below one another: where they begin, and how many all are.
fn rows(layer: &str, single: bool, [d, hidden]: [usize; 2]) -> Option<(usize, usize)> {
    let all = if single { 3 * d + 2 * hidden } else { 2 * hidden };
    let first = if single { 3 * d } else { 0 };
    Some(match layer {
        "to_q" if single => (0, all),
        "to_k" if single => (d, all),
        "to_v" if single => (2 * d, all),
        "gate" => (first, all),
        "up" => (first + hidden, all),
        _ => return None,
    })
}

/// `transformer_blocks.0.ff`, `gate` and `weight` of `transformer_blocks.0.ff.gate.weight`.
fn last_words(name: &str) -> [&str; 3] {
    let (rest, kind) = name.rsplit_once('.').unwrap_or(("", name));
    let (before, layer) = rest.rsplit_once('.').unwrap_or(("", rest));
    [before, layer, kind]
}

/// The original code's.
fn in_original(name: &str, config: &Config) -> Candidate {
    if let Some(block) = name.strip_prefix("single_transformer_blocks.") {
        let (i, rest) = block.split_once(".attn.").unwrap_or((block, ""));
        let layer = rest.trim_end_matches(".weight");
        return match rows(layer, true, sizes(config)) {
            Some((from, of)) => candidate(format!("single_blocks.{i}.linear1.weight"), Form::Rows { from, of }),
            None => {
                let pairs = [
                    ("to_out.", "linear2."),
                    ("norm_q.weight", "norm.query_norm.scale"),
                    ("norm_k.weight", "norm.key_norm.scale"),
                ];
                candidate(format!("single_blocks.{i}.{}", replace_start(rest, &pairs)), Form::Same)
            }
        };
    }
    if let Some(block) = name.strip_prefix("transformer_blocks.") {
        let (i, rest) = block.split_once('.').unwrap_or((block, ""));
        let at = |rest: String, form: Form| candidate(format!("double_blocks.{i}.{rest}"), form);
        let thirds = [("attn.to_", "img_attn"), ("attn.add_", "txt_attn")];
        for (start, stored) in thirds {
            let Some(rest) = rest.strip_prefix(start) else { continue };
            let which = rest.split('.').next().unwrap_or(rest).trim_end_matches("_proj");
            if let Some(third) = ["q", "k", "v"].iter().position(|of| which == *of) {
                return at(format!("{stored}.qkv.weight"), Form::Third(third));
            }
        }
        for (start, stored) in [("ff.", "img_mlp"), ("ff_context.", "txt_mlp")] {
            let Some(layer) = rest.strip_prefix(start) else { continue };
            return match rows(layer.trim_end_matches(".weight"), false, sizes(config)) {
                Some((from, of)) => at(format!("{stored}.0.weight"), Form::Rows { from, of }),
                None => at(format!("{stored}.2.weight"), Form::Same),
            };
        }
        let pairs = [
            ("attn.to_out.0.", "img_attn.proj."),
            ("attn.to_add_out.", "txt_attn.proj."),
            ("attn.norm_q.weight", "img_attn.norm.query_norm.scale"),
            ("attn.norm_k.weight", "img_attn.norm.key_norm.scale"),
            ("attn.norm_added_q.weight", "txt_attn.norm.query_norm.scale"),
            ("attn.norm_added_k.weight", "txt_attn.norm.key_norm.scale"),
        ];
        return at(replace_start(rest, &pairs), Form::Same);
    }
    let starts = [
        ("x_embedder.", "img_in."),
        ("context_embedder.", "txt_in."),
        ("time_guidance_embed.timestep_embedder.linear_1.", "time_in.in_layer."),
        ("time_guidance_embed.timestep_embedder.linear_2.", "time_in.out_layer."),
        ("double_stream_modulation_img.linear.", "double_stream_modulation_img.lin."),
        ("double_stream_modulation_txt.linear.", "double_stream_modulation_txt.lin."),
        ("single_stream_modulation.linear.", "single_stream_modulation.lin."),
        ("norm_out.linear.", "final_layer.adaLN_modulation.1."),
        ("proj_out.", "final_layer.linear."),
    ];
    // Shift and scale are the other way round there.
    let form = if name.starts_with("norm_out.") { Form::Swapped } else { Form::Same };
    candidate(replace_start(name, &starts), form)
}

/// What normalizes latents, the running statistics of the autoencoder's batch norm, of one that packs.
pub(super) fn statistics(files: &[TensorFile], json: &Json, config: &mut Config) -> Result<(), ImportError> {
    let eps = json.number("batch_norm_eps", EPS)?;
    read_statistics(files, eps, config)
}

/// The same, of a checkpoint of one file.
pub(super) fn read_statistics(files: &[TensorFile], eps: f64, config: &mut Config) -> Result<(), ImportError> {
    if !config.vae.network.kl().is_some_and(|network| network.packed) {
        return Ok(());
    }
    let read = |rest: &str| -> Result<Vec<f32>, ImportError> {
        for (file, first) in files.iter().flat_map(|file| [(file, ""), (file, VAE)]) {
            let name = format!("{first}bn.{rest}");
            if let Some(entry) = file.tensors().get(&name) {
                let mut values = Vec::new();
                file.read(&name, 0..entry.elements() as usize, &mut values)?;
                return Ok(values);
            }
        }
        let (path, name) =
            (files.first().map_or_else(Default::default, |file| file.path().into()), format!("bn.{rest}"));
        Err(ImportError::MissingTensor { path, name, expected: vec![config.vae.network.latent_channels()] })
    };
    let std = |var: f32| (f64::from(var) + eps).sqrt() as f32;
    let statistics =
        LatentStatistics { mean: read("running_mean")?, std: read("running_var")?.into_iter().map(std).collect() };
    config.vae.statistics = Some(statistics);
    Ok(())
}

/// Reads a pipeline's folder.
pub(super) fn open_folder(folder: &Path, index: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let json = part_json(folder, "transformer", "config.json")?;
    let network = Flux2 { distilled: index.bool("is_distilled", false)?, ..parse::flux2(&json)? };
    let (text, layers) = language::text_encoder(folder)?;
    let states = states(layers).map_err(|why| ImportError::NotAModel { path: folder.into(), why })?;
    let [d, hidden] = [network.width(), (network.width() as f32 * network.mlp_ratio) as usize];
    let of = (Family::Flux2, network.into(), Qwen3 { states, ..text });
    language::open_folder(folder, index, options, of, |name| in_diffusers(name, [d, hidden]))
}

/// diffusers' name.
fn in_diffusers(name: &str, sizes: [usize; 2]) -> Candidate {
    let single = name.starts_with("single_transformer_blocks.");
    let [before, layer, _] = last_words(name);
    match rows(layer, single, sizes) {
        Some((from, of)) => {
            let fused = if single { "to_qkv_mlp_proj" } else { "linear_in" };
            candidate(format!("{before}.{fused}.weight"), Form::Rows { from, of })
        }
        None => candidate(name, Form::Same),
    }
}
