//! Stable Diffusion 3 and 3.5 as one file, by the names of the original code (Stability-AI/sd3-ref) and ComfyUI's of the text
//! encoders.

use super::config::{Config, Family, Language, SchedulerConfig};
use super::detect::{Detected, Shapes, UNET, count, dim, has, need, open_clip, transformers, vae};
use super::names::{self, Candidate, Form, POSITIONS, candidate};
use nijimi_runtime::raw::graph::Activation;
use nijimi_runtime::raw::nn::{ClipText, Denoiser, Mmdit, T5Encoder};
use nijimi_runtime::sampler::Field;

/// The text encoders of such a file.
pub(super) const CLIP_L: &str = "text_encoders.clip_l.";
pub(super) const CLIP_G: &str = "text_encoders.clip_g.";
pub(super) const T5: &str = "text_encoders.t5xxl.";

/// Where parts in files of their own have been renamed to, those of SDXL.
const EMBEDDERS: [&str; 2] = ["conditioner.embedders.0.", "conditioner.embedders.1."];

/// Channels of a head.
const HEAD_CHANNELS: usize = 64;

/// Whether it has this transformer.
pub(super) fn is(shapes: &Shapes) -> bool {
    has(shapes, &format!("{UNET}joint_blocks."))
}

/// What there is of it, or what it lacks, if it is to be a `whole` model.
pub(super) fn detect(shapes: &Shapes, whole: bool) -> Result<Detected, String> {
    let network = mmdit(shapes).map_err(|why| format!("it is a transformer (SD 3), of which {why}"))?;
    let (text, text_2) = (clip_l(shapes)?, clip_g(shapes)?);
    for (text, option) in [(&text, "--clip-l"), (&text_2, "--clip-g")] {
        if whole && text.is_none() {
            return Err(format!(
                "it is a transformer (SD 3) without all of its text encoders: give the one that is missing with {option} FILE, or \
                 use the checkpoint that includes them"
            ));
        }
    }
    let family = if network.qk_norm { Family::Sd35 } else { Family::Sd3 };
    Ok(Detected {
        family,
        denoiser: Denoiser::Mmdit(network),
        vae: vae(shapes, family)?,
        text,
        text_2,
        language: t5(shapes)?.map(Language::T5),
    })
}

fn mmdit(shapes: &Shapes) -> Result<Mmdit, String> {
    let name = |rest: &str| format!("{UNET}{rest}");
    let width = need(shapes, &name("x_embedder.proj.weight"), 0)?;
    let layers = count(shapes, |i| name(&format!("joint_blocks.{i}.x_block.attn.qkv.weight")));
    // With or without a dimension of 1 before the others.
    let table = shapes.get(&name("pos_embed")).ok_or_else(|| format!("the tensor {UNET}pos_embed is missing"))?;
    let table = table.iter().product::<usize>() / width.max(1);
    // Queries are normalized by a number a channel of a head.
    let normalized = dim(shapes, &name("joint_blocks.0.x_block.attn.ln_q.weight"), 0);
    let heads = (width / normalized.unwrap_or(HEAD_CHANNELS)).max(1);
    let dual = |i: &usize| shapes.contains_key(&name(&format!("joint_blocks.{i}.x_block.attn2.qkv.weight")));
    Ok(Mmdit {
        channels: need(shapes, &name("x_embedder.proj.weight"), 1)?,
        layers,
        heads,
        head_channels: width / heads,
        text_width: need(shapes, &name("context_embedder.weight"), 1)?,
        pooled_width: need(shapes, &name("y_embedder.mlp.0.weight"), 1)?,
        positions: table.isqrt(),
        dual: (0..layers).filter(dual).collect(),
        qk_norm: shapes.contains_key(&name("joint_blocks.0.x_block.attn.ln_q.weight")),
    })
}

/// The prefix of transformers' names of a text encoder that is there.
fn prefix(shapes: &Shapes, names: [&str; 2]) -> Option<String> {
    names.into_iter().map(|first| format!("{first}transformer.")).find(|prefix| has(shapes, prefix))
}

fn projection(shapes: &Shapes, prefix: &str) -> Result<Option<usize>, String> {
    need(shapes, &format!("{prefix}text_projection.weight"), 0).map(Some)
}

fn clip_l(shapes: &Shapes) -> Result<Option<ClipText>, String> {
    let Some(prefix) = prefix(shapes, [CLIP_L, EMBEDDERS[0]]) else { return Ok(None) };
    let projection = projection(shapes, &prefix)?;
    Ok(Some(ClipText { projection, ..transformers(shapes, &prefix)? }))
}

fn clip_g(shapes: &Shapes) -> Result<Option<ClipText>, String> {
    let open = format!("{}model.", EMBEDDERS[1]);
    if has(shapes, &open) {
        return open_clip(shapes, &open, true).map(Some);
    }
    let Some(prefix) = prefix(shapes, [CLIP_G, EMBEDDERS[1]]) else { return Ok(None) };
    let projection = projection(shapes, &prefix)?;
    Ok(Some(ClipText { projection, activation: Activation::Gelu, ..transformers(shapes, &prefix)? }))
}

pub(super) fn t5(shapes: &Shapes) -> Result<Option<T5Encoder>, String> {
    let name = |rest: &str| format!("{T5}transformer.{rest}");
    if !has(shapes, T5) {
        return Ok(None);
    }
    let bias = name("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
    let heads = need(shapes, &bias, 1)?;
    let inner = need(shapes, &name("encoder.block.0.layer.0.SelfAttention.q.weight"), 0)?;
    Ok(Some(T5Encoder {
        vocabulary: need(shapes, &name("shared.weight"), 0)?,
        width: need(shapes, &name("shared.weight"), 1)?,
        layers: count(shapes, |i| name(&format!("encoder.block.{i}.layer.0.SelfAttention.q.weight"))),
        heads,
        head_channels: inner / heads,
        hidden: need(shapes, &name("encoder.block.0.layer.1.DenseReluDense.wi_0.weight"), 0)?,
        eps: 1e-6,
    }))
}

/// The scheduler of all published checkpoints; a file does not tell it.
pub(super) fn scheduler() -> SchedulerConfig {
    SchedulerConfig {
        class: "FlowMatchEulerDiscreteScheduler".into(),
        prediction_type: "flow_prediction".into(),
        settings: vec![("shift".into(), Field::Number(3.0))],
        ..SchedulerConfig::ddpm()
    }
}

/// Where a tensor of a text encoder is.
pub(super) fn text(part: &str, name: &str) -> Vec<Candidate> {
    if part == "text_encoder_3" {
        return vec![candidate(format!("{T5}transformer.{name}"), Form::Same)];
    }
    let [first, other] = if part == "text_encoder" { [CLIP_L, EMBEDDERS[0]] } else { [CLIP_G, EMBEDDERS[1]] };
    let mut all = [first, other].map(|first| names::transformers(&format!("{first}transformer."), name)).concat();
    all.extend(names::open_clip(&format!("{}model.", EMBEDDERS[1]), name));
    all
}

/// What the original code calls the transformer's tensor of that name of diffusers'.
pub(super) fn original(name: &str, config: &Config) -> Vec<Candidate> {
    let of = |rest: String, form: Form| vec![candidate(format!("{UNET}{rest}"), form)];
    if let Some(block) = name.strip_prefix("transformer_blocks.") {
        let (i, rest) = block.split_once('.').unwrap_or((block, ""));
        let last = matches!(&config.denoiser, Denoiser::Mmdit(network) if i.parse() == Ok(network.layers - 1));
        let (rest, form) = in_block(rest, last);
        return of(format!("joint_blocks.{i}.{rest}"), form);
    }
    let starts = [
        ("pos_embed.proj.", "x_embedder.proj."),
        ("time_text_embed.timestep_embedder.linear_1.", "t_embedder.mlp.0."),
        ("time_text_embed.timestep_embedder.linear_2.", "t_embedder.mlp.2."),
        ("time_text_embed.text_embedder.linear_1.", "y_embedder.mlp.0."),
        ("time_text_embed.text_embedder.linear_2.", "y_embedder.mlp.2."),
        ("norm_out.linear.", "final_layer.adaLN_modulation.1."),
        ("proj_out.", "final_layer.linear."),
    ];
    match name {
        POSITIONS => of("pos_embed".into(), Form::One),
        _ if name.starts_with("norm_out.") => of(names::replace_start(name, &starts), Form::Swapped),
        _ => of(names::replace_start(name, &starts), Form::Same),
    }
}

/// Of a block, the last one's text apart: its modulation has shift and scale alone, the other way round.
fn in_block(rest: &str, last: bool) -> (String, Form) {
    let thirds = [
        ("attn.to_", "x_block.attn.qkv."),
        ("attn.add_", "context_block.attn.qkv."),
        ("attn2.to_", "x_block.attn2.qkv."),
    ];
    for (start, stored) in thirds {
        let Some(rest) = rest.strip_prefix(start) else { continue };
        let (which, rest) = rest.split_once('.').unwrap_or((rest, ""));
        if let Some(third) = ["q", "k", "v"].iter().position(|of| which.trim_end_matches("_proj") == *of) {
            return (format!("{stored}{rest}"), Form::Third(third));
        }
    }
    let swapped = last && rest.starts_with("norm1_context.");
    let starts = [
        ("attn.to_out.0.", "x_block.attn.proj."),
        ("attn.to_add_out.", "context_block.attn.proj."),
        ("attn2.to_out.0.", "x_block.attn2.proj."),
        ("attn.norm_q.", "x_block.attn.ln_q."),
        ("attn.norm_k.", "x_block.attn.ln_k."),
        ("attn.norm_added_q.", "context_block.attn.ln_q."),
        ("attn.norm_added_k.", "context_block.attn.ln_k."),
        ("attn2.norm_q.", "x_block.attn2.ln_q."),
        ("attn2.norm_k.", "x_block.attn2.ln_k."),
        ("norm1.linear.", "x_block.adaLN_modulation.1."),
        ("norm1_context.linear.", "context_block.adaLN_modulation.1."),
        ("ff.net.0.proj.", "x_block.mlp.fc1."),
        ("ff.net.2.", "x_block.mlp.fc2."),
        ("ff_context.net.0.proj.", "context_block.mlp.fc1."),
        ("ff_context.net.2.", "context_block.mlp.fc2."),
    ];
    (names::replace_start(rest, &starts), if swapped { Form::Swapped } else { Form::Same })
}
