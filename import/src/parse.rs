//! Configurations as diffusers and transformers write them.

mod flux2;
mod mmdit;
mod pixels;
mod qwen3;
mod t5;
mod unet;
mod z_image;

pub(super) use flux2::flux2;
pub(super) use mmdit::mmdit;
pub(super) use pixels::unet_of_pixels;
pub(super) use qwen3::qwen3;
pub(super) use t5::t5;
pub(super) use unet::{ABSENT, UNET, trunk, unet};
pub(super) use z_image::z_image;

use super::config::SchedulerConfig;
use super::error::ImportError;
use super::json::Json;
use super::tiny;
use nijimi_runtime::model::{FirstStage, LatentStatistics};
use nijimi_runtime::raw::nn::{Autoencoder, AutoencoderKl, ClipText};
use nijimi_runtime::sampler::{Field, is_flow};
use serde_json::{Value, json};

/// Most layers of anything: a configuration that says more is not one.
const MAX_LAYERS: usize = 256;

/// Whether each level has attention.
fn block_types(json: &Json, key: &str, n: usize, with: &str, without: &str) -> Result<Vec<bool>, ImportError> {
    let is = |v: &Value| match v.as_str() {
        Some(name) if name == with => Some(true),
        Some(name) if name == without => Some(false),
        _ => None,
    };
    let list = json.get(key).and_then(Value::as_array).filter(|list| list.len() == n);
    let types = list.and_then(|list| list.iter().map(is).collect());
    types.ok_or_else(|| json.wrong(key, format!("{n} of {with} and {without}")))
}

fn groups(json: &Json, channels: &[usize]) -> Result<usize, ImportError> {
    let groups = json.size("norm_num_groups", Some(32))?;
    match channels.iter().all(|c| c.is_multiple_of(groups)) {
        true => Ok(groups),
        false => Err(json.wrong("norm_num_groups", format!("a divisor of the channels {channels:?}"))),
    }
}

/// What [`vae`] reads; that its decoder overflows half precision is no matter here, nor the size of its training's pictures.
const VAE: [&str; 18] = [
    "act_fn",
    "block_out_channels",
    "down_block_types",
    "up_block_types",
    "layers_per_block",
    "in_channels",
    "out_channels",
    "latent_channels",
    "norm_num_groups",
    "mid_block_add_attention",
    "use_quant_conv",
    "use_post_quant_conv",
    "scaling_factor",
    "shift_factor",
    "latents_mean",
    "latents_std",
    "sample_size",
    "force_upcast",
];

/// `vae/config.json`.
pub(super) fn vae(json: &Json) -> Result<FirstStage, ImportError> {
    if json.str("_class_name", "AutoencoderKL")? == "AutoencoderTiny" {
        let network = Autoencoder::Tiny(tiny::parse(json)?.network);
        return Ok(FirstStage { network, scaling_factor: 1.0, shift_factor: 0.0, statistics: None });
    }
    let packed = json.str("_class_name", "AutoencoderKL")? == "AutoencoderKLFlux2";
    if packed {
        json.only("patch_size", json!([2, 2]))?;
        json.nothing_else(&[&VAE[..], &["batch_norm_eps", "batch_norm_momentum", "patch_size"]].concat())?;
    } else {
        json.only("_class_name", json!("AutoencoderKL"))?;
        json.nothing_else(&VAE)?;
    }
    json.only("act_fn", json!("silu"))?;
    let channels = json.sizes("block_out_channels")?;
    block_types(json, "down_block_types", channels.len(), "DownEncoderBlock2D", "DownEncoderBlock2D")?;
    block_types(json, "up_block_types", channels.len(), "UpDecoderBlock2D", "UpDecoderBlock2D")?;
    let layers_per_block = json.size("layers_per_block", Some(1))?;
    if layers_per_block > MAX_LAYERS {
        return Err(json.wrong("layers_per_block", format!("at most {MAX_LAYERS}")));
    }
    let network = AutoencoderKl {
        in_channels: json.size("in_channels", Some(3))?,
        out_channels: json.size("out_channels", Some(3))?,
        // In squares of 2x2.
        latent_channels: if packed {
            4 * json.size("latent_channels", Some(32))?
        } else {
            json.size("latent_channels", Some(4))?
        },
        layers_per_block,
        norm_groups: groups(json, &channels)?,
        mid_attention: json.bool("mid_block_add_attention", true)?,
        quant_conv: json.bool("use_quant_conv", true)?,
        post_quant_conv: json.bool("use_post_quant_conv", true)?,
        packed,
        channels,
    };
    let floats = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
    let statistics = match (json.numbers("latents_mean")?, json.numbers("latents_std")?) {
        (None, None) => None,
        (Some(mean), Some(std)) => Some(LatentStatistics { mean: floats(mean), std: floats(std) }),
        (Some(_), None) => return Err(json.wrong("latents_std", "given, as latents_mean is")),
        (None, Some(_)) => return Err(json.wrong("latents_mean", "given, as latents_std is")),
    };
    Ok(FirstStage {
        network: network.into(),
        // Configurations older than the key are of Stable Diffusion 1.x; FLUX.2's latents are normalized instead.
        scaling_factor: json.number("scaling_factor", if packed { 1.0 } else { 0.18215 })? as f32,
        shift_factor: json.number("shift_factor", 0.0)? as f32,
        statistics,
    })
}

/// `text_encoder/config.json`; `projected` where the file has a projection.
pub(super) fn text(json: &Json, projected: bool) -> Result<ClipText, ImportError> {
    let activation = ClipText::activation_of(json.str("hidden_act", "quick_gelu")?);
    let activation = activation.ok_or_else(|| json.wrong("hidden_act", "\"quick_gelu\" or \"gelu\""))?;
    match json.str("model_type", "clip_text_model")? {
        "clip_text_model" | "clip" => {}
        _ => return Err(json.wrong("model_type", "\"clip_text_model\"")),
    }
    let (width, heads) = (json.size("hidden_size", None)?, json.size("num_attention_heads", None)?);
    if !width.is_multiple_of(heads) {
        return Err(json.wrong("num_attention_heads", format!("a divisor of the width {width}")));
    }
    let layers = json.size("num_hidden_layers", None)?;
    if layers > MAX_LAYERS {
        return Err(json.wrong("num_hidden_layers", format!("at most {MAX_LAYERS}")));
    }
    Ok(ClipText {
        vocabulary: json.size("vocab_size", Some(49408))?,
        positions: json.size("max_position_embeddings", Some(77))?,
        width,
        hidden: json.size("intermediate_size", None)?,
        layers,
        heads,
        activation,
        eps: json.number("layer_norm_eps", 1e-5)? as f32,
        projection: if projected { Some(json.size("projection_dim", None)?) } else { None },
    })
}

/// Settings that none of the lists has: what is read where they are obeyed, or refused there by name.
fn others(json: &Json, settings: &mut Vec<(String, Field)>) -> Result<(), ImportError> {
    for (key, value) in &json.map {
        let listed = settings.iter().any(|(known, _)| known == key) || SILENT.contains(&key.as_str());
        if listed || key.starts_with('_') {
            continue;
        }
        let field = match value {
            Value::Null | Value::Bool(false) => continue,
            Value::Bool(true) => Field::Flag(true),
            Value::Number(_) => Field::Number(json.number(key, 0.0)?),
            // All noise, which is the default.
            Value::String(text) if key == "lambda_min_clipped" && text.starts_with("-Inf") => continue,
            Value::String(text) => Field::Text(text.clone()),
            Value::Array(list) if list.is_empty() => continue,
            Value::Array(_) => Field::Numbers(json.numbers(key)?.unwrap_or_default()),
            Value::Object(_) => return Err(json.wrong(key, "no such setting")),
        };
        settings.push((key.clone(), field));
    }
    Ok(())
}

const U32S: [&str; 4] = ["num_train_timesteps", "steps_offset", "solver_order", "original_inference_steps"];
const BOOLS: [&str; 12] = [
    "clip_sample",
    "set_alpha_to_one",
    "rescale_betas_zero_snr",
    "thresholding",
    "skip_prk_steps",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
    "lower_order_final",
    "euler_at_final",
    "predict_x0",
];
const STRS: [&str; 8] = [
    "timestep_spacing",
    "algorithm_type",
    "solver_type",
    "final_sigmas_type",
    "variance_type",
    "interpolation_type",
    "timestep_type",
    "time_shift_type",
];
const F64S: [&str; 8] = [
    "clip_sample_range",
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "timestep_scaling",
    "sigma_data",
    "sigma_min",
    "sigma_max",
    "shift",
];

/// What says nothing beside what is read, whatever it is (diffusers' classes have defaults of these), and what is named below.
const SILENT: [&str; 14] = [
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "max_beta",
    "skip_type",
    "flow_shift",
    // Of 2022: which library computed, and what is called prediction_type since.
    "tensor_format",
    "predict_epsilon",
];

/// `scheduler_config.json`.
pub(super) fn scheduler(json: &Json) -> Result<SchedulerConfig, ImportError> {
    let class = json.str("_class_name", "")?;
    if class.is_empty() {
        return Err(json.wrong("_class_name", "the name of a scheduler"));
    }
    let mut settings = Vec::new();
    for key in U32S {
        let Some(value) = json.get(key) else { continue };
        let value = value.as_u64().and_then(|n| u32::try_from(n).ok());
        let value = value.ok_or_else(|| json.wrong(key, "a number from 0"))?;
        settings.push((key.into(), Field::Number(f64::from(value))));
    }
    for key in BOOLS {
        if json.get(key).is_some() {
            settings.push((key.into(), Field::Flag(json.bool(key, false)?)));
        }
    }
    for key in STRS {
        if json.get(key).is_some() {
            settings.push((key.into(), Field::Text(json.str(key, "")?.to_string())));
        }
    }
    for key in F64S {
        if json.get(key).is_some() {
            settings.push((key.into(), Field::Number(json.number(key, 0.0)?)));
        }
    }
    settings.extend(json.numbers("trained_betas")?.map(|betas| ("trained_betas".into(), Field::Numbers(betas))));
    others(json, &mut settings)?;
    let epsilon = json.bool("predict_epsilon", true)?;
    let (usual, known, expected): (_, &[&str], _) = match is_flow(class) {
        true => ("flow_prediction", &["flow_prediction"], "\"flow_prediction\""),
        false => (
            if epsilon { "epsilon" } else { "sample" },
            &["epsilon", "v_prediction", "sample"],
            "\"epsilon\", \"v_prediction\" or \"sample\"",
        ),
    };
    let prediction_type = json.str("prediction_type", usual)?.to_string();
    if !known.contains(&&*prediction_type) {
        return Err(json.wrong("prediction_type", expected));
    }
    let train_steps = json.size("num_train_timesteps", Some(1000))? as u32;
    Ok(SchedulerConfig {
        class: String::from(class),
        train_steps,
        beta_start: json.number("beta_start", 0.0001)?,
        beta_end: json.number("beta_end", 0.02)?,
        beta_schedule: json.str("beta_schedule", "linear")?.to_string(),
        prediction_type,
        settings,
    })
}
