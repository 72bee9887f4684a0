//! Configurations as diffusers and transformers write them.

use super::config::{Addition, SchedulerConfig, Setting, TextConfig, UNetConfig, VaeConfig};
use super::error::ImportError;
use super::json::Json;
use serde_json::{Value, json};

/// Most layers of anything: a configuration that says more is not one.
const MAX_LAYERS: usize = 256;

/// `unet/config.json`.
pub(super) fn unet(json: &Json) -> Result<UNetConfig, ImportError> {
    json.only("_class_name", json!("UNet2DConditionModel"))?;
    let config = trunk(json)?;
    let up = block_types(json, "up_block_types", config.channels.len(), "CrossAttnUpBlock2D", "UpBlock2D")?;
    if !up.into_iter().rev().eq(config.transformer_layers.iter().map(|&depth| depth > 0)) {
        return Err(json.wrong("up_block_types", "down_block_types in reverse"));
    }
    Ok(config)
}

/// All of a U-Net but its way up, which is as its way down: a ControlNet has no other.
pub(super) fn trunk(json: &Json) -> Result<UNetConfig, ImportError> {
    json.only("act_fn", json!("silu"))?;
    json.only("mid_block_type", json!("UNetMidBlock2DCrossAttn"))?;
    json.only("time_embedding_type", json!("positional"))?;
    json.only("resnet_time_scale_shift", json!("default"))?;
    json.only("attention_type", json!("default"))?;
    for (key, only) in [("conv_in_kernel", 3), ("conv_out_kernel", 3), ("downsample_padding", 1)] {
        json.only(key, json!(only))?;
    }
    for key in ["mid_block_scale_factor", "resnet_out_scale_factor"] {
        if json.number(key, 1.0)? != 1.0 {
            return Err(json.wrong(key, "1"));
        }
    }
    for key in [
        "center_input_sample",
        "class_embed_type",
        "num_class_embeds",
        "cross_attention_norm",
        "dual_cross_attention",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "only_cross_attention",
        "mid_block_only_cross_attention",
        "resnet_skip_time_act",
        "reverse_transformer_layers_per_block",
        "time_embedding_act_fn",
        "time_embedding_dim",
        "timestep_post_act",
    ] {
        json.absent(key)?;
    }
    let channels = json.sizes("block_out_channels")?;
    let levels = channels.len();
    let attention = block_types(json, "down_block_types", levels, "CrossAttnDownBlock2D", "DownBlock2D")?;
    let depths = json.levels("transformer_layers_per_block", levels, Some(1))?;
    let per_level = json.levels("layers_per_block", levels, Some(2))?;
    if per_level.iter().any(|n| *n != per_level[0]) {
        return Err(json.wrong("layers_per_block", "the same for all levels"));
    }
    if depths.iter().chain(&per_level).any(|&n| n > MAX_LAYERS) {
        return Err(json.wrong("transformer_layers_per_block", format!("at most {MAX_LAYERS} layers of a kind")));
    }
    // diffusers reads the number of heads from a key that is named after their size (its issue 2011).
    let heads = if json.get("num_attention_heads").is_some() { "num_attention_heads" } else { "attention_head_dim" };
    let head_counts = json.levels(heads, levels, Some(8))?;
    if channels.iter().zip(&head_counts).any(|(c, h)| c % h != 0) {
        return Err(json.wrong(heads, format!("divisors of the channels {channels:?}")));
    }
    let addition = match json.str("addition_embed_type", "none")? {
        "none" => None,
        "text_time" => Some(Addition {
            time_embed_dim: json.size("addition_time_embed_dim", None)?,
            input_dim: json.size("projection_class_embeddings_input_dim", None)?,
        }),
        _ => return Err(json.wrong("addition_embed_type", "null or \"text_time\"")),
    };
    let time_cond_proj_dim = match json.get("time_cond_proj_dim") {
        Some(_) => Some(json.size("time_cond_proj_dim", None)?),
        None => None,
    };
    Ok(UNetConfig {
        in_channels: json.size("in_channels", Some(4))?,
        out_channels: json.size("out_channels", Some(4))?,
        layers_per_block: per_level[0],
        heads: head_counts,
        mid_transformer_layers: depths[levels - 1],
        transformer_layers: attention.iter().zip(depths).map(|(&has, depth)| if has { depth } else { 0 }).collect(),
        cross_attention_dim: json.size("cross_attention_dim", None)?,
        linear_projection: json.bool("use_linear_projection", false)?,
        norm_groups: groups(json, &channels)?,
        norm_eps: json.number("norm_eps", 1e-5)? as f32,
        flip_sin_to_cos: json.bool("flip_sin_to_cos", true)?,
        freq_shift: json.number("freq_shift", 0.0)? as f32,
        addition,
        time_cond_proj_dim,
        sample_size: json.size("sample_size", Some(64))?,
        channels,
    })
}

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

/// `vae/config.json`.
pub(super) fn vae(json: &Json) -> Result<VaeConfig, ImportError> {
    json.only("_class_name", json!("AutoencoderKL"))?;
    json.only("act_fn", json!("silu"))?;
    let channels = json.sizes("block_out_channels")?;
    block_types(json, "down_block_types", channels.len(), "DownEncoderBlock2D", "DownEncoderBlock2D")?;
    block_types(json, "up_block_types", channels.len(), "UpDecoderBlock2D", "UpDecoderBlock2D")?;
    let layers_per_block = json.size("layers_per_block", Some(1))?;
    if layers_per_block > MAX_LAYERS {
        return Err(json.wrong("layers_per_block", format!("at most {MAX_LAYERS}")));
    }
    let latent_channels = json.size("latent_channels", Some(4))?;
    let per_channel = |key: &str| match json.numbers(key)? {
        Some(list) if list.len() != latent_channels => Err(json.wrong(key, format!("{latent_channels} numbers"))),
        list => Ok(list.map(|list| list.into_iter().map(|x| x as f32).collect())),
    };
    Ok(VaeConfig {
        in_channels: json.size("in_channels", Some(3))?,
        out_channels: json.size("out_channels", Some(3))?,
        latent_channels,
        layers_per_block,
        norm_groups: groups(json, &channels)?,
        mid_attention: json.bool("mid_block_add_attention", true)?,
        quant_conv: json.bool("use_quant_conv", true)?,
        post_quant_conv: json.bool("use_post_quant_conv", true)?,
        // Configurations older than the key are of Stable Diffusion 1.x.
        scaling_factor: json.number("scaling_factor", 0.18215)? as f32,
        shift_factor: json.number("shift_factor", 0.0)? as f32,
        latents_mean: per_channel("latents_mean")?,
        latents_std: per_channel("latents_std")?,
        force_upcast: json.bool("force_upcast", true)?,
        sample_size: json.size("sample_size", Some(512))?,
        channels,
    })
}

/// `text_encoder/config.json`; `projected` where the file has a projection.
pub(super) fn text(json: &Json, projected: bool) -> Result<TextConfig, ImportError> {
    let activation = match json.str("hidden_act", "quick_gelu")? {
        name @ ("quick_gelu" | "gelu") => name.to_string(),
        _ => return Err(json.wrong("hidden_act", "\"quick_gelu\" or \"gelu\"")),
    };
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
    Ok(TextConfig {
        vocab_size: json.size("vocab_size", Some(49408))?,
        positions: json.size("max_position_embeddings", Some(77))?,
        width,
        mlp_width: json.size("intermediate_size", None)?,
        layers,
        heads,
        activation,
        norm_eps: json.number("layer_norm_eps", 1e-5)? as f32,
        projection_dim: if projected { Some(json.size("projection_dim", None)?) } else { None },
    })
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
        settings.push((key, Setting::U32(value.ok_or_else(|| json.wrong(key, "a number from 0"))?)));
    }
    for key in BOOLS {
        if json.get(key).is_some() {
            settings.push((key, Setting::Bool(json.bool(key, false)?)));
        }
    }
    for key in STRS {
        if json.get(key).is_some() {
            settings.push((key, Setting::Str(json.str(key, "")?.to_string())));
        }
    }
    for key in F64S {
        if json.get(key).is_some() {
            settings.push((key, Setting::F64(json.number(key, 0.0)?)));
        }
    }
    settings.extend(json.numbers("trained_betas")?.map(|betas| ("trained_betas", Setting::F64s(betas))));
    let prediction_type = match json.str("prediction_type", "epsilon")? {
        name @ ("epsilon" | "v_prediction" | "sample") => name.to_string(),
        _ => return Err(json.wrong("prediction_type", "\"epsilon\", \"v_prediction\" or \"sample\"")),
    };
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
