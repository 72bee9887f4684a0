//! What a single file may hold beside the model. A tensor is the model's, or stands here, or the file is refused: a mark
//! that nobody looks at makes another picture.

use super::detect::SD2_SKIPPED_LAYER;
use std::collections::BTreeMap;

/// Tensors outside of the networks that change no picture. A name that ends with `.` or `_` is a beginning.
const HARMLESS: [&str; 28] = [
    // The schedule of the training (CompVis/stable-diffusion, ldm/models/diffusion/ddpm.py, register_schedule), and that of
    // its samplers (ddim.py).
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "lvlb_weights",
    "logvar",
    "cond_ids",
    "ddim_",
    // The factor of the latents as it was measured; published models have that of the family (ddpm.py).
    "scale_factor",
    // SDXL's schedule (Stability-AI/generative-models, sgm/modules/diffusionmodules/denoiser.py).
    "denoiser.sigmas",
    "denoiser.log_sigmas",
    // Running means of the weights, and their counters (ldm/modules/ema.py).
    "model_ema.",
    // It makes the depth of a picture, which is given here.
    "depth_model.",
    // What the trainer kept of itself (Lightning's checkpoints).
    "optimizer_states.",
    "optimizer.",
    "lr_schedulers.",
    "callbacks.",
    "loops.",
    "global_step",
    "epoch",
];

/// Marks that are obeyed (ComfyUI, comfy/supported_models.py and comfy_extras/nodes_model_merging.py).
pub(super) const V_PREDICTION: &str = "v_pred";
pub(super) const ZERO_SNR: &str = "ztsnr";

/// Of Playground 2.5: means and deviations of the latents, and noise levels of EDM.
pub(super) const EDM_STATISTICS: [&str; 2] = ["edm_mean", "edm_std"];
/// Of CosXL: v at EDM's noise levels, which these tell.
pub(super) const EDM_V: [&str; 2] = ["edm_vpred.sigma_min", "edm_vpred.sigma_max"];

/// Marks that cannot be, by their beginnings, and what they say.
const REFUSED: [(&str, &str); 3] = [
    ("noise_augmentor.", "it draws variations of pictures (unCLIP), which is not supported"),
    (
        "control_model.",
        "it is a model with a ControlNet in it (cldm), which is not taken apart: take them as two files",
    ),
    ("embedding_manager.", "it has words of its own (textual inversion), which are not read"),
];

/// Why the file cannot be drawn, by the first of its tensors that says so.
pub(super) fn refused(shapes: &BTreeMap<String, Vec<usize>>) -> Option<(&str, &'static str)> {
    shapes.keys().find_map(|name| {
        let mark = REFUSED.iter().find(|(first, _)| name.starts_with(first));
        mark.map(|(_, why)| (name.as_str(), *why))
    })
}

/// Whether a tensor that no network takes may be there. Within the networks nothing but what is listed may.
pub(super) fn is(name: &str) -> bool {
    let harmless = |&known: &&str| match known.ends_with(['.', '_']) {
        true => name.starts_with(known),
        false => name == known,
    };
    if HARMLESS.iter().any(harmless)
        || [V_PREDICTION, ZERO_SNR].contains(&name)
        || EDM_STATISTICS.contains(&name)
        || EDM_V.contains(&name)
    {
        return true;
    }
    let clip =
        ["cond_stage_model.", "conditioner.embedders.", "text_encoders."].iter().any(|first| name.starts_with(first));
    let skipped = |first: &str| name.starts_with(&format!("{first}transformer.resblocks.{SD2_SKIPPED_LAYER}."));
    clip && (name.ends_with(".position_ids") || name.ends_with("logit_scale") || name.ends_with(".attn_mask"))
        // Pooled states, which 1.x and 2.x have no use for; of SDXL's first encoder neither.
        || name.starts_with("cond_stage_model.model.text_projection")
        || name.starts_with("cond_stage_model.transformer.text_projection")
        || name.starts_with("conditioner.embedders.0.transformer.text_projection")
        || name.starts_with("conditioner.embedders.0.model.text_projection")
        // The same as `shared.weight`.
        || name == "text_encoders.t5xxl.transformer.encoder.embed_tokens.weight"
        || skipped("cond_stage_model.model.")
        || skipped("conditioner.embedders.0.model.")
        || super::z_image::is_aside(name)
        || super::language::is_aside(name)
        // Read as what normalizes latents.
        || name.starts_with("first_stage_model.bn.")
        // What an autoencoder was trained with (ldm/models/autoencoder.py).
        || name.starts_with("first_stage_model.loss.")
        || name.starts_with("first_stage_model.model_ema.")
        || name.starts_with("first_stage_model.logvar")
}
