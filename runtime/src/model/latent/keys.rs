//! Which settings a file of a published model may have: what is not known here would not be obeyed, and the picture would be another.

use super::super::ModelError;
use super::language::LanguageInfo;
use crate::Error;
use crate::gguf::File;
use alloc::borrow::ToOwned;

const TEXT: &[&str] =
    &["vocab_size", "positions", "width", "mlp_width", "layers", "heads", "activation", "norm_eps", "projection_dim"];

/// Of CLIP's encoder, or of a language model that reads alone.
const FIRST_TEXT: &[&str] = &[
    "vocab_size",
    "positions",
    "width",
    "mlp_width",
    "layers",
    "heads",
    "activation",
    "norm_eps",
    "projection_dim",
    "model",
    "kv_heads",
    "head_channels",
    "rope_theta",
    "states",
    "length",
    "enable_thinking",
];

/// What may stand behind each beginning of a key (`docs/format.md`). The scheduler's settings are looked at by what reads
/// them; keys that begin otherwise are records for people.
const KNOWN: [(&str, &[&str]); 11] = [
    (
        "nijimi.unet.",
        &[
            "in_channels",
            "out_channels",
            "channels",
            "layers_per_block",
            "heads",
            "transformer_layers",
            "mid_block",
            "mid_transformer_layers",
            "cross_attention_dim",
            "linear_projection",
            "downsample_padding",
            "norm_groups",
            "norm_eps",
            "flip_sin_to_cos",
            "freq_shift",
            "addition_time_embed_dim",
            "addition_input_dim",
            "time_cond_proj_dim",
            "sample_size",
        ],
    ),
    (
        "nijimi.mmdit.",
        &[
            "in_channels",
            "layers",
            "heads",
            "attention_head_dim",
            "joint_attention_dim",
            "pooled_projection_dim",
            "pos_embed_max_size",
            "dual_attention_layers",
            "qk_norm",
            "sample_size",
        ],
    ),
    (
        "nijimi.z_image.",
        &[
            "in_channels",
            "layers",
            "refiner_layers",
            "heads",
            "cap_feat_dim",
            "axes_dims",
            "axes_lens",
            "rope_theta",
            "norm_eps",
            "t_scale",
            "sample_size",
        ],
    ),
    (
        "nijimi.flux2.",
        &[
            "in_channels",
            "layers",
            "single_layers",
            "heads",
            "joint_attention_dim",
            "axes_dims_rope",
            "mlp_ratio",
            "rope_theta",
            "is_distilled",
            "sample_size",
        ],
    ),
    (
        "nijimi.autoencoder.",
        &[
            "in_channels",
            "out_channels",
            "latent_channels",
            "channels",
            "layers_per_block",
            "norm_groups",
            "mid_attention",
            "quant_conv",
            "post_quant_conv",
            "packed",
            "scaling_factor",
            "shift_factor",
            "latents_mean",
            "latents_std",
            "network",
            "encoder_blocks",
            "decoder_blocks",
            // Of the training, and of arithmetic in half precision, which is not used here.
            "sample_size",
            "force_upcast",
        ],
    ),
    ("nijimi.text_encoder.", FIRST_TEXT),
    ("nijimi.text_encoder_2.", TEXT),
    ("nijimi.text_encoder_3.", LanguageInfo::T5_KEYS),
    ("nijimi.text.", &["hidden_state", "force_zeros_for_empty_prompt"]),
    ("nijimi.schedule.", &["kind", "steps", "beta_start", "beta_end"]),
    ("nijimi.sampler.", &["method", "scheduler", "steps", "guidance_scale"]),
];

/// That every setting of such a file is known.
pub(in crate::model) fn check(file: &File<'_>) -> Result<(), Error> {
    let known = |key: &str| {
        let found = KNOWN.iter().find_map(|(first, names)| Some((key.strip_prefix(first)?, names)));
        found.is_none_or(|(name, names)| names.contains(&name))
    };
    match file.metadata().find(|(key, _)| !known(key)) {
        Some((key, _)) => Err(ModelError::UnknownKey { key: key.to_owned() }.into()),
        None => Ok(()),
    }
}
