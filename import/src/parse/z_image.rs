//! The configuration of Z-Image's transformer.

use super::{Json, MAX_LAYERS};
use crate::error::ImportError;
use nijimi_runtime::raw::nn::ZImage;
use serde_json::json;

/// What [`z_image`] reads. Nothing uses `n_kv_heads`.
const Z_IMAGE: [&str; 17] = [
    "all_patch_size",
    "all_f_patch_size",
    "axes_dims",
    "axes_lens",
    "cap_feat_dim",
    "dim",
    "in_channels",
    "n_heads",
    "n_kv_heads",
    "n_layers",
    "n_refiner_layers",
    "norm_eps",
    "qk_norm",
    "rope_theta",
    "t_scale",
    "x_pad_dim",
    "sample_size",
];

/// `transformer/config.json`.
pub(crate) fn z_image(json: &Json) -> Result<ZImage, ImportError> {
    json.only("_class_name", json!("ZImageTransformer2DModel"))?;
    json.nothing_else(&Z_IMAGE)?;
    json.only("all_patch_size", json!([2]))?;
    json.only("all_f_patch_size", json!([1]))?;
    json.only("qk_norm", json!(true))?;
    let layers = |key: &str, default: usize| match json.size(key, Some(default))? {
        n if n > MAX_LAYERS => Err(json.wrong(key, format!("at most {MAX_LAYERS}"))),
        n => Ok(n),
    };
    let three = |key: &str, default: [usize; 3]| match json.get(key) {
        None => Ok(default),
        Some(_) => <[usize; 3]>::try_from(json.sizes(key)?).map_err(|_| json.wrong(key, "three numbers")),
    };
    let network = ZImage {
        channels: json.size("in_channels", Some(16))?,
        layers: layers("n_layers", 30)?,
        refiner_layers: layers("n_refiner_layers", 2)?,
        heads: json.size("n_heads", Some(30))?,
        text_width: json.size("cap_feat_dim", Some(2560))?,
        axes: three("axes_dims", [32, 48, 48])?,
        places: three("axes_lens", [1024, 512, 512])?,
        theta: json.number("rope_theta", 256.0)? as f32,
        eps: json.number("norm_eps", 1e-5)? as f32,
        time_scale: json.number("t_scale", 1000.0)? as f32,
    };
    json.only("dim", json!(network.width()))?;
    Ok(network)
}
