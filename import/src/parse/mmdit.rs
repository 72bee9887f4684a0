//! The configuration of Stable Diffusion 3's transformer.

use super::{Json, MAX_LAYERS};
use crate::error::ImportError;
use nijimi_runtime::raw::nn::Mmdit;
use serde_json::{Value, json};

/// What [`mmdit`] reads.
const MMDIT: [&str; 14] = [
    "attention_head_dim",
    "caption_projection_dim",
    "dual_attention_layers",
    "in_channels",
    "joint_attention_dim",
    "num_attention_heads",
    "num_layers",
    "out_channels",
    "patch_size",
    "pooled_projection_dim",
    "pos_embed_max_size",
    "qk_norm",
    "sample_size",
    "force_inpaint",
];

/// `transformer/config.json`.
pub(crate) fn mmdit(json: &Json) -> Result<Mmdit, ImportError> {
    json.only("_class_name", json!("SD3Transformer2DModel"))?;
    json.nothing_else(&MMDIT)?;
    json.only("patch_size", json!(Mmdit::PATCH))?;
    let channels = json.size("in_channels", Some(16))?;
    json.only("out_channels", json!(channels))?;
    let layers = json.size("num_layers", Some(18))?;
    if layers > MAX_LAYERS {
        return Err(json.wrong("num_layers", format!("at most {MAX_LAYERS}")));
    }
    let network = Mmdit {
        channels,
        layers,
        heads: json.size("num_attention_heads", Some(18))?,
        head_channels: json.size("attention_head_dim", Some(64))?,
        text_width: json.size("joint_attention_dim", Some(4096))?,
        pooled_width: json.size("pooled_projection_dim", Some(2048))?,
        positions: json.size("pos_embed_max_size", Some(96))?,
        dual: dual(json, layers)?,
        qk_norm: match json.get("qk_norm") {
            None => false,
            Some(Value::String(name)) if name == "rms_norm" => true,
            Some(_) => return Err(json.wrong("qk_norm", "null or \"rms_norm\"")),
        },
    };
    // The text's stream is as wide as the patches'.
    json.only("caption_projection_dim", json!(network.width()))?;
    Ok(network)
}

fn dual(json: &Json, layers: usize) -> Result<Vec<usize>, ImportError> {
    let Some(value) = json.get("dual_attention_layers") else { return Ok(Vec::new()) };
    let layer = |value: &Value| value.as_u64().map(|layer| layer as usize).filter(|layer| *layer < layers);
    let list = value.as_array().filter(|list| list.len() <= layers);
    let list = list.and_then(|list| list.iter().map(layer).collect());
    list.ok_or_else(|| json.wrong("dual_attention_layers", format!("a list of layers below {layers}")))
}
