//! A model's configuration as metadata of our file; `docs/format.md` lists the keys.

use super::checkpoint::{Checkpoint, Format};
use super::config::{Config, Model, Setting, TextConfig, UNetConfig};
use super::tokenizer::Tokenizer;
use nijimi_runtime::gguf::{MetaValue, WriteError, Writer};
use nijimi_runtime::quant::{DType, QUANTIZATION_VERSION};

fn n(n: usize) -> u32 {
    // Sizes are at most 2^20 when they were read.
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn ns(list: &[usize]) -> Vec<u32> {
    list.iter().map(|&x| n(x)).collect()
}

/// Writes all keys.
pub(super) fn write(checkpoint: &Checkpoint, name: &str, rest: DType, writer: &mut Writer) -> Result<(), WriteError> {
    let meta: &mut Meta<'_> = &mut |key: &str, value: MetaValue| writer.meta(key, value);
    let network = match &checkpoint.model {
        Model::LatentDiffusion(_) => "sd-unet",
        Model::ControlNet(_) | Model::AutoencoderTiny(_) => checkpoint.model.system(),
    };
    meta("general.architecture", "nijimi".into())?;
    meta("general.name", name.into())?;
    meta("general.file_type", rest.file_type().into())?;
    meta("general.quantization_version", QUANTIZATION_VERSION.into())?;
    meta("nijimi.format_version", 1u32.into())?;
    meta("nijimi.system", checkpoint.model.system().into())?;
    meta("nijimi.network", network.into())?;
    if let Some(config) = checkpoint.latent_diffusion() {
        meta("nijimi.family", config.family.name().into())?;
    }
    let format = match checkpoint.format {
        Format::Diffusers => "diffusers folder",
        Format::SingleFile => "single file",
    };
    meta("nijimi.import.format", format.into())?;
    // Its name only: where it was is nobody's concern.
    let file = checkpoint.path.file_name().map(|file| file.to_string_lossy().into_owned());
    meta("nijimi.import.source", file.unwrap_or_default().into())?;
    match &checkpoint.model {
        Model::LatentDiffusion(config) => latent_diffusion(meta, config, checkpoint),
        Model::ControlNet(config) => {
            unet(meta, "nijimi.control", &config.unet, None)?;
            meta("nijimi.control.picture_channels", n(config.picture_channels).into())?;
            meta("nijimi.control.embedding", ns(&config.embedding).into())
        }
        Model::AutoencoderTiny(config) => {
            if let Some(blocks) = &config.encoder_blocks {
                meta("nijimi.tiny.in_channels", n(config.in_channels).into())?;
                meta("nijimi.tiny.encoder_blocks", ns(blocks).into())?;
            }
            meta("nijimi.tiny.out_channels", n(config.out_channels).into())?;
            meta("nijimi.tiny.latent_channels", n(config.latent_channels).into())?;
            meta("nijimi.tiny.channels", n(config.channels).into())?;
            meta("nijimi.tiny.decoder_blocks", ns(&config.decoder_blocks).into())
        }
    }
}

/// The sizes of a U-Net, or of a ControlNet, which has no `out_channels`.
fn unet(meta: &mut Meta<'_>, prefix: &str, unet: &UNetConfig, out_channels: Option<usize>) -> Result<(), WriteError> {
    let mut meta = |key: &str, value: MetaValue| meta(&format!("{prefix}.{key}"), value);
    meta("in_channels", n(unet.in_channels).into())?;
    if let Some(out_channels) = out_channels {
        meta("out_channels", n(out_channels).into())?;
    }
    meta("channels", ns(&unet.channels).into())?;
    meta("layers_per_block", n(unet.layers_per_block).into())?;
    meta("heads", ns(&unet.heads).into())?;
    meta("transformer_layers", ns(&unet.transformer_layers).into())?;
    meta("mid_transformer_layers", n(unet.mid_transformer_layers).into())?;
    meta("cross_attention_dim", n(unet.cross_attention_dim).into())?;
    meta("linear_projection", unet.linear_projection.into())?;
    meta("norm_groups", n(unet.norm_groups).into())?;
    meta("norm_eps", unet.norm_eps.into())?;
    meta("flip_sin_to_cos", unet.flip_sin_to_cos.into())?;
    meta("freq_shift", unet.freq_shift.into())?;
    if let Some(addition) = unet.addition {
        meta("addition_time_embed_dim", n(addition.time_embed_dim).into())?;
        meta("addition_input_dim", n(addition.input_dim).into())?;
    }
    match unet.time_cond_proj_dim {
        Some(dim) => meta("time_cond_proj_dim", n(dim).into()),
        None => Ok(()),
    }
}

fn latent_diffusion(meta: &mut Meta<'_>, config: &Config, checkpoint: &Checkpoint) -> Result<(), WriteError> {
    unet(meta, "nijimi.unet", &config.unet, Some(config.unet.out_channels))?;
    meta("nijimi.unet.sample_size", n(config.unet.sample_size).into())?;

    let vae = &config.vae;
    meta("nijimi.autoencoder.in_channels", n(vae.in_channels).into())?;
    meta("nijimi.autoencoder.out_channels", n(vae.out_channels).into())?;
    meta("nijimi.autoencoder.latent_channels", n(vae.latent_channels).into())?;
    meta("nijimi.autoencoder.channels", ns(&vae.channels).into())?;
    meta("nijimi.autoencoder.layers_per_block", n(vae.layers_per_block).into())?;
    meta("nijimi.autoencoder.norm_groups", n(vae.norm_groups).into())?;
    meta("nijimi.autoencoder.mid_attention", vae.mid_attention.into())?;
    meta("nijimi.autoencoder.quant_conv", vae.quant_conv.into())?;
    meta("nijimi.autoencoder.post_quant_conv", vae.post_quant_conv.into())?;
    meta("nijimi.autoencoder.scaling_factor", vae.scaling_factor.into())?;
    meta("nijimi.autoencoder.shift_factor", vae.shift_factor.into())?;
    if let Some(mean) = &vae.latents_mean {
        meta("nijimi.autoencoder.latents_mean", mean.clone().into())?;
    }
    if let Some(std) = &vae.latents_std {
        meta("nijimi.autoencoder.latents_std", std.clone().into())?;
    }
    meta("nijimi.autoencoder.force_upcast", vae.force_upcast.into())?;
    meta("nijimi.autoencoder.sample_size", n(vae.sample_size).into())?;

    text(meta, "nijimi.text_encoder", &config.text)?;
    if let Some(second) = &config.text_2 {
        text(meta, "nijimi.text_encoder_2", second)?;
    }
    // The pipelines of SDXL take the states before the last layer, and its final norm not at all.
    let hidden_state = if config.text_2.is_some() { "penultimate" } else { "final" };
    meta("nijimi.text.hidden_state", hidden_state.into())?;
    meta("nijimi.text.force_zeros_for_empty_prompt", config.force_zeros_for_empty_prompt.into())?;

    let scheduler = &config.scheduler;
    meta("nijimi.schedule.kind", scheduler.beta_schedule.as_str().into())?;
    meta("nijimi.schedule.steps", scheduler.train_steps.into())?;
    meta("nijimi.schedule.beta_start", scheduler.beta_start.into())?;
    meta("nijimi.schedule.beta_end", scheduler.beta_end.into())?;
    meta("nijimi.prediction_type", scheduler.prediction_type.as_str().into())?;
    meta("nijimi.scheduler.class", scheduler.class.as_str().into())?;
    for (key, setting) in &scheduler.settings {
        let value = match setting.clone() {
            Setting::U32(v) => v.into(),
            Setting::F64(v) => v.into(),
            Setting::Bool(v) => v.into(),
            Setting::Str(v) => v.into(),
            Setting::F64s(v) => v.into(),
        };
        meta(&format!("nijimi.scheduler.{key}"), value)?;
    }

    if let Some(first) = &checkpoint.tokenizer {
        tokenizer(meta, "tokenizer.ggml", first, true)?;
        if let Some(second) = &checkpoint.tokenizer_2 {
            let same = (&first.tokens, &first.merges) == (&second.tokens, &second.merges);
            tokenizer(meta, "tokenizer_2.ggml", second, !same)?;
        }
    }
    Ok(())
}

type Meta<'a> = dyn FnMut(&str, MetaValue) -> Result<(), WriteError> + 'a;

fn text(meta: &mut Meta<'_>, prefix: &str, text: &TextConfig) -> Result<(), WriteError> {
    let mut meta = |key: &str, value: MetaValue| meta(&format!("{prefix}.{key}"), value);
    meta("vocab_size", n(text.vocab_size).into())?;
    meta("positions", n(text.positions).into())?;
    meta("width", n(text.width).into())?;
    meta("mlp_width", n(text.mlp_width).into())?;
    meta("layers", n(text.layers).into())?;
    meta("heads", n(text.heads).into())?;
    meta("activation", text.activation.as_str().into())?;
    meta("norm_eps", text.norm_eps.into())?;
    match text.projection_dim {
        Some(dim) => meta("projection_dim", n(dim).into()),
        None => Ok(()),
    }
}

fn tokenizer(meta: &mut Meta<'_>, prefix: &str, tokenizer: &Tokenizer, whole: bool) -> Result<(), WriteError> {
    let mut meta = |key: &str, value: MetaValue| meta(&format!("{prefix}.{key}"), value);
    meta("model", String::from("clip").into())?;
    if whole {
        meta("tokens", tokenizer.tokens.clone().into())?;
        meta("merges", tokenizer.merges.clone().into())?;
    }
    meta("bos_token_id", tokenizer.bos.into())?;
    meta("eos_token_id", tokenizer.eos.into())?;
    meta("padding_token_id", tokenizer.pad.into())
}
