//! The configuration of Qwen3.

use super::{Json, MAX_LAYERS};
use crate::error::ImportError;
use nijimi_runtime::raw::nn::Qwen3;
use serde_json::{Value, json};

/// `text_encoder/config.json`, of transformers' `Qwen3Model` or `Qwen3ForCausalLM`: the network, of which no state is taken yet, and
/// how many layers it has.
pub(crate) fn qwen3(json: &Json) -> Result<(Qwen3, usize), ImportError> {
    json.only("model_type", json!("qwen3"))?;
    json.only("attention_bias", json!(false))?;
    json.only("hidden_act", json!("silu"))?;
    json.only("use_sliding_window", json!(false))?;
    json.only("rope_scaling", Value::Null)?;
    let layers = json.size("num_hidden_layers", Some(32))?;
    if layers > MAX_LAYERS {
        return Err(json.wrong("num_hidden_layers", format!("at most {MAX_LAYERS}")));
    }
    let heads = json.size("num_attention_heads", Some(32))?;
    let network = Qwen3 {
        vocabulary: json.size("vocab_size", Some(151_936))?,
        width: json.size("hidden_size", None)?,
        heads,
        kv_heads: json.size("num_key_value_heads", Some(heads))?,
        head_channels: json.size("head_dim", Some(128))?,
        hidden: json.size("intermediate_size", None)?,
        eps: json.number("rms_norm_eps", 1e-6)? as f32,
        theta: theta(json)? as f32,
        states: Vec::new(),
    };
    Ok((network, layers))
}

/// Where it stands since transformers 5, or where it stood.
fn theta(json: &Json) -> Result<f64, ImportError> {
    let key = "rope_parameters";
    let Some(rope) = json.get(key) else { return json.number("rope_theta", 10_000.0) };
    let is_default = rope.get("rope_type").is_none_or(|kind| kind == "default");
    let theta = rope.get("rope_theta").and_then(Value::as_f64).filter(|_| is_default);
    theta.ok_or_else(|| json.wrong(key, "an object with rope_theta, and the rope_type \"default\""))
}
