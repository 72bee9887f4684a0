//! The configuration of T5's encoder.

use super::{Json, MAX_LAYERS};
use crate::error::ImportError;
use nijimi_runtime::raw::nn::T5Encoder;
use serde_json::json;

/// `text_encoder_3/config.json`, of transformers' `T5EncoderModel`.
pub(crate) fn t5(json: &Json) -> Result<T5Encoder, ImportError> {
    json.only("model_type", json!("t5"))?;
    // Of version 1.1; the first one's perceptrons have no gates.
    if !["gated-gelu", "gated-gelu_new"].contains(&json.str("feed_forward_proj", "relu")?) {
        return Err(json.wrong("feed_forward_proj", "\"gated-gelu\", as T5 v1.1 has it"));
    }
    json.only("relative_attention_num_buckets", json!(32))?;
    json.only("relative_attention_max_distance", json!(128))?;
    let layers = json.size("num_layers", None)?;
    if layers > MAX_LAYERS {
        return Err(json.wrong("num_layers", format!("at most {MAX_LAYERS}")));
    }
    Ok(T5Encoder {
        vocabulary: json.size("vocab_size", Some(32128))?,
        width: json.size("d_model", None)?,
        layers,
        heads: json.size("num_heads", None)?,
        head_channels: json.size("d_kv", None)?,
        hidden: json.size("d_ff", None)?,
        eps: json.number("layer_norm_epsilon", 1e-6)? as f32,
    })
}
