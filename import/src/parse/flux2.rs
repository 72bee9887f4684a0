//! The configuration of FLUX.2's transformer.

use super::{Json, MAX_LAYERS};
use crate::error::ImportError;
use nijimi_runtime::raw::nn::Flux2;
use serde_json::{Value, json};

/// What [`flux2`] reads.
const FLUX2: [&str; 14] = [
    "attention_head_dim",
    "axes_dims_rope",
    "eps",
    "guidance_embeds",
    "in_channels",
    "joint_attention_dim",
    "mlp_ratio",
    "num_attention_heads",
    "num_layers",
    "num_single_layers",
    "out_channels",
    "patch_size",
    "rope_theta",
    "timestep_guidance_channels",
];

/// `transformer/config.json`.
pub(crate) fn flux2(json: &Json) -> Result<Flux2, ImportError> {
    json.only("_class_name", json!("Flux2Transformer2DModel"))?;
    json.nothing_else(&FLUX2)?;
    json.only("patch_size", json!(1))?;
    json.only("timestep_guidance_channels", json!(256))?;
    // The larger models are told a scale of guidance; klein is not.
    json.only("guidance_embeds", json!(false))?;
    let channels = json.size("in_channels", Some(128))?;
    if !matches!(json.get("out_channels"), None | Some(Value::Null)) {
        json.only("out_channels", json!(channels))?;
    }
    if json.number("eps", 1e-6)? as f32 != 1e-6 {
        return Err(json.wrong("eps", "1e-6"));
    }
    let layers = |key: &str, default: usize| match json.size(key, Some(default))? {
        n if n > MAX_LAYERS => Err(json.wrong(key, format!("at most {MAX_LAYERS}"))),
        n => Ok(n),
    };
    let axes = match json.get("axes_dims_rope") {
        None => [32; 4],
        Some(_) => {
            let key = "axes_dims_rope";
            <[usize; 4]>::try_from(json.sizes(key)?).map_err(|_| json.wrong(key, "four numbers"))?
        }
    };
    let network = Flux2 {
        channels,
        layers: layers("num_layers", 8)?,
        single_layers: layers("num_single_layers", 48)?,
        heads: json.size("num_attention_heads", Some(48))?,
        text_width: json.size("joint_attention_dim", Some(15360))?,
        axes,
        mlp_ratio: json.number("mlp_ratio", 3.0)? as f32,
        theta: json.number("rope_theta", 2000.0)? as f32,
        distilled: false,
    };
    json.only("attention_head_dim", json!(network.head_channels()))?;
    Ok(network)
}
