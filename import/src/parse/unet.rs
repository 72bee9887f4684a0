//! A U-Net's configuration.

use super::{Json, MAX_LAYERS, block_types, groups};
use crate::error::ImportError;
use nijimi_runtime::raw::nn::{SdAdded, SdLevel, SdMiddle, SdUnet, TimeCode};
use serde_json::{Value, json};

/// `unet/config.json`.
pub(crate) fn unet(json: &Json) -> Result<SdUnet, ImportError> {
    json.only("_class_name", json!("UNet2DConditionModel"))?;
    json.nothing_else(&[&UNET[..], &ABSENT].concat())?;
    let mut config = trunk(json)?;
    let levels = config.levels.len();
    let up = block_types(json, "up_block_types", levels, "CrossAttnUpBlock2D", "UpBlock2D")?;
    let down = block_types(json, "down_block_types", levels, "CrossAttnDownBlock2D", "DownBlock2D")?;
    if !up.iter().rev().eq(&down) {
        return Err(json.wrong("up_block_types", "down_block_types in reverse"));
    }
    let layers = config.layers_per_block() + 1;
    if json.get(REVERSED).is_some() {
        let depths = depths(json, REVERSED, &up, layers)?;
        config.levels.iter_mut().rev().zip(depths).for_each(|(level, up)| level.up = up);
    } else if config.levels.iter().any(|level| level.down.iter().any(|depth| *depth != level.down[0])) {
        // As diffusers asks for.
        return Err(json.wrong(REVERSED, "given, as transformer_layers_per_block differs within a level"));
    }
    Ok(config)
}

/// Depths on the way up.
const REVERSED: &str = "reverse_transformer_layers_per_block";

/// What no published U-Net of these families has, and which would change what it computes.
pub(crate) const ABSENT: [&str; 13] = [
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
    "time_embedding_act_fn",
    "time_embedding_dim",
    "timestep_post_act",
];

/// What [`unet`] reads beside, or asks to be as it must, and what changes no picture. Some ControlNets have all of it.
pub(crate) const UNET: [&str; 35] = [
    "act_fn",
    "mid_block_type",
    "time_embedding_type",
    "resnet_time_scale_shift",
    "attention_type",
    "conv_in_kernel",
    "downsample_padding",
    "mid_block_scale_factor",
    "resnet_out_scale_factor",
    "block_out_channels",
    "down_block_types",
    "transformer_layers_per_block",
    "layers_per_block",
    "num_attention_heads",
    "attention_head_dim",
    "addition_embed_type",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
    "time_cond_proj_dim",
    "in_channels",
    "cross_attention_dim",
    "use_linear_projection",
    "norm_num_groups",
    "norm_eps",
    "flip_sin_to_cos",
    "freq_shift",
    // Of the training, and of arithmetic in half precision, which is not used here; heads of a condition by text alone,
    // which is refused.
    "dropout",
    "upcast_attention",
    "addition_embed_type_num_heads",
    "class_embeddings_concat",
    "sample_size",
    // Of the way up.
    "out_channels",
    "up_block_types",
    REVERSED,
    "conv_out_kernel",
];

/// All of a U-Net but its way up, which is as its way down: a ControlNet has no other.
pub(crate) fn trunk(json: &Json) -> Result<SdUnet, ImportError> {
    json.only("act_fn", json!("silu"))?;
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
    for key in ABSENT {
        json.absent(key)?;
    }
    let channels = json.sizes("block_out_channels")?;
    let levels = channels.len();
    let attention = block_types(json, "down_block_types", levels, "CrossAttnDownBlock2D", "DownBlock2D")?;
    let per_level = json.levels("layers_per_block", levels, Some(2))?;
    if per_level.iter().any(|n| *n != per_level[0]) {
        return Err(json.wrong("layers_per_block", "the same for all levels"));
    }
    if per_level[0] > MAX_LAYERS {
        return Err(json.wrong("layers_per_block", format!("at most {MAX_LAYERS}")));
    }
    let depths = depths(json, DEPTHS, &attention, per_level[0])?;
    // diffusers reads the number of heads from a key that is named after their size (its issue 2011).
    let heads = if json.get("num_attention_heads").is_some() { "num_attention_heads" } else { "attention_head_dim" };
    let head_counts = json.levels(heads, levels, Some(8))?;
    if channels.iter().zip(&head_counts).any(|(c, h)| c % h != 0) {
        return Err(json.wrong(heads, format!("divisors of the channels {channels:?}")));
    }
    let added = match json.str("addition_embed_type", "none")? {
        "none" => None,
        "text_time" => Some(SdAdded {
            code: json.size("addition_time_embed_dim", None)?,
            width: json.size("projection_class_embeddings_input_dim", None)?,
        }),
        _ => return Err(json.wrong("addition_embed_type", "null or \"text_time\"")),
    };
    let guidance_code = match json.get("time_cond_proj_dim") {
        Some(_) => json.size("time_cond_proj_dim", None)?,
        None => 0,
    };
    let level = |(i, down): (usize, Vec<usize>)| {
        let up = vec![down[0]; down.len() + 1];
        SdLevel { channels: channels[i], heads: head_counts[i], down, up }
    };
    Ok(SdUnet {
        in_channels: json.size("in_channels", Some(4))?,
        out_channels: json.size("out_channels", Some(4))?,
        middle: middle(json)?,
        text_width: json.size("cross_attention_dim", None)?,
        linear_projection: json.bool("use_linear_projection", false)?,
        pads_below: false,
        norm_groups: groups(json, &channels)?,
        norm_eps: json.number("norm_eps", 1e-5)? as f32,
        time_code: TimeCode {
            cosine_first: json.bool("flip_sin_to_cos", true)?,
            shift: json.number("freq_shift", 0.0)?,
        },
        added,
        guidance_code,
        levels: depths.into_iter().enumerate().map(level).collect(),
    })
}

/// Depths of transformers.
const DEPTHS: &str = "transformer_layers_per_block";

/// The depth of the transformer behind each of the `layers` residual blocks of each level, 0 on levels that have none: one
/// number for all, one a level, or a list for a level.
fn depths(json: &Json, key: &str, attention: &[bool], layers: usize) -> Result<Vec<Vec<usize>>, ImportError> {
    let wrong = || json.wrong(key, format!("1 to {MAX_LAYERS} blocks a level, or {layers} such numbers for a level"));
    let depth = |value: &Value| value.as_u64().map(|n| n as usize).filter(|n| (1..=MAX_LAYERS).contains(n));
    let one = |value: &Value| match value {
        Value::Array(list) if list.len() == layers => list.iter().map(depth).collect(),
        Value::Array(_) => None,
        value => Some(vec![depth(value)?; layers]),
    };
    let given = json.get(key);
    let level = |(i, &attends): (usize, &bool)| match given {
        _ if !attends => Ok(vec![0; layers]),
        None => Ok(vec![1; layers]),
        Some(Value::Array(list)) => list.get(i).and_then(one).ok_or_else(wrong),
        Some(value) => one(value).ok_or_else(wrong),
    };
    if given.and_then(Value::as_array).is_some_and(|list| list.len() != attention.len()) {
        return Err(json.wrong(key, format!("one number, or {}, one for each level", attention.len())));
    }
    attention.iter().enumerate().map(level).collect()
}

/// What `mid_block_type` says; the transformer in the middle is as deep as the last level's, whether or not that has any.
fn middle(json: &Json) -> Result<SdMiddle, ImportError> {
    let last = match json.get(DEPTHS) {
        Some(Value::Array(list)) => list.last(),
        other => other,
    };
    let last = last.map(|last| last.as_array().and_then(|list| list.first()).unwrap_or(last));
    let depth = match last {
        None => Some(1),
        Some(last) => last.as_u64().map(|n| n as usize).filter(|n| (1..=MAX_LAYERS).contains(n)),
    };
    match json.map.get("mid_block_type").map(Value::as_str) {
        Some(None) if json.get("mid_block_type").is_none() => Ok(SdMiddle::None),
        Some(Some("UNetMidBlock2D")) => Ok(SdMiddle::Resnet),
        None | Some(Some("UNetMidBlock2DCrossAttn")) => {
            let depth = depth.ok_or_else(|| json.wrong(DEPTHS, format!("1 to {MAX_LAYERS} blocks in the middle")))?;
            Ok(SdMiddle::Transformer(depth))
        }
        _ => Err(json.wrong("mid_block_type", "\"UNetMidBlock2DCrossAttn\", \"UNetMidBlock2D\" or null")),
    }
}
