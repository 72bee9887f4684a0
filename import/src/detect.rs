//! What a single-file checkpoint is, by its tensors alone: nothing else is in it.

use super::config::{Config, Family, Language, SchedulerConfig};
use super::seems::Seems;
use super::tiny;
use super::{flux2, sd3, z_image};
use nijimi_runtime::model::FirstStage;
use nijimi_runtime::raw::graph::Activation;
use nijimi_runtime::raw::nn::{
    Autoencoder, AutoencoderKl, ClipText, Denoiser, SdAdded, SdLevel, SdMiddle, SdUnet, TimeCode,
};
use nijimi_runtime::sampler::Field;
use std::collections::BTreeMap;

/// Shapes by name.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// Most blocks that are counted.
const MAX_BLOCKS: usize = 256;

/// Channels of a head in CLIP, in 2.x and in SDXL; 1.x has 8 heads everywhere.
const HEAD_CHANNELS: usize = 64;
const SD1_HEADS: usize = 8;
/// Length of the sinusoid of each of SDXL's six sizes, which the tensors of a U-Net alone do not tell.
pub(super) const SIZE_CODE: usize = 256;

/// The layer that Stable Diffusion 2.x's text states skip, if the file has it: OpenCLIP-H's last. Its published
/// pipelines leave it out (diffusers, `SD_2_TEXT_ENCODER_KEYS_TO_IGNORE`).
pub(super) const SD2_SKIPPED_LAYER: usize = 23;

/// The text encoder of Stable Diffusion 2.x in files of SDXL's code, as SD-Turbo's (ComfyUI, SD20 in supported_models.py).
pub(super) const SGM_CLIP: &str = "conditioner.embedders.0.model.";

pub(super) const UNET: &str = "model.diffusion_model.";
pub(super) const VAE: &str = "first_stage_model.";

/// What of a model the tensors are. A part that is not there may be another file's.
pub(super) struct Detected {
    pub family: Family,
    pub denoiser: Denoiser,
    pub vae: Option<FirstStage>,
    pub text: Option<ClipText>,
    pub text_2: Option<ClipText>,
    pub language: Option<Language>,
}

/// The parts that there are, of which the U-Net is one, or why it is none of the three families; if it is to be a `whole` model, what
/// it lacks.
pub(super) fn parts(shapes: &Shapes, whole: bool) -> Result<Detected, String> {
    let has = |prefix: &str| has(shapes, prefix);
    if !has(UNET) {
        return Err(format!(
            "{}: only checkpoints of SD 1.x, 2.x, XL, 3, Z-Image and FLUX.2-klein are, with model.diffusion_model.*, or their U-Nets",
            Seems::of(shapes).words()
        ));
    }
    if has("model.diffusion_model.double_blocks.") && !flux2::is(shapes) {
        return Err(format!("{}: only SD 1.x, 2.x, XL, 3, Z-Image and FLUX.2-klein are", Seems::of(shapes).words()));
    }
    if sd3::is(shapes) {
        return sd3::detect(shapes, whole);
    }
    if z_image::is(shapes) {
        return z_image::detect(shapes, whole);
    }
    if flux2::is(shapes) {
        return flux2::detect(shapes, whole);
    }
    // What is told sizes.
    let sized = has("model.diffusion_model.label_emb.");
    let (text, text_2) = texts(shapes)?;
    if whole && text.is_none() {
        return Err("it has no text encoder (cond_stage_model.* or conditioner.*): give it with --clip-l FILE (and SDXL's second with \
             --clip-g FILE), or use the whole checkpoint"
            .into());
    }
    let pooled = text_2.as_ref().or(text.as_ref()).and_then(|t| t.projection);
    let linear = linear_projection(shapes, UNET);
    let family = match (&text, sized) {
        (Some(_), true) if has(SGM_CLIP) => Family::SdxlRefiner,
        (None, true) if text_2.is_none() && is_refiner(shapes) => Family::SdxlRefiner,
        (Some(_), _) if has(SGM_CLIP) || has("cond_stage_model.model.") => Family::Sd2,
        (Some(_), _) if has("cond_stage_model.transformer.") => Family::Sd1,
        (Some(_), _) | (None, true) => Family::Sdxl,
        (None, false) if linear => Family::Sd2,
        (None, false) => Family::Sd1,
    };
    if whole && family == Family::Sdxl && text_2.is_none() {
        return Err("it has no second text encoder: give it with --clip-g FILE".into());
    }
    let unet = unet(shapes, (family, pooled), !whole)?;
    Ok(Detected { family, denoiser: unet.into(), vae: vae(shapes, family)?, text, text_2, language: None })
}

/// Whether a U-Net that is told sizes is the refiner's: the pooled state of its only text encoder is as wide as the others.
pub(super) fn is_refiner(shapes: &Shapes) -> bool {
    let told = dim(shapes, &format!("{UNET}label_emb.0.0.weight"), 1);
    told.zip(context(shapes, UNET).ok()).is_some_and(|(told, width)| told == width + 5 * SIZE_CODE)
}

/// The text encoders that there are.
fn texts(shapes: &Shapes) -> Result<(Option<ClipText>, Option<ClipText>), String> {
    let has = |prefix: &str| has(shapes, prefix);
    let [first, second] = ["conditioner.embedders.0.", "conditioner.embedders.1."];
    let of_second = match (has(&format!("{second}model.")), has(&format!("{second}transformer."))) {
        (true, _) => Some(open_clip(shapes, &format!("{second}model."), true)?),
        (false, true) => Some(ClipText {
            activation: Activation::Gelu,
            projection: Some(need(shapes, &format!("{second}transformer.text_projection.weight"), 0)?),
            ..transformers(shapes, &format!("{second}transformer."))?
        }),
        (false, false) => None,
    };
    let of_first = match () {
        // The refiner's, whose U-Net is told its pooled state.
        () if has(SGM_CLIP) => Some(open_clip(shapes, SGM_CLIP, has("model.diffusion_model.label_emb."))?),
        () if has(first) => Some(transformers(shapes, &format!("{first}transformer."))?),
        () if has("cond_stage_model.model.") => Some(open_clip(shapes, "cond_stage_model.model.", false)?),
        () if has("cond_stage_model.transformer.") => Some(transformers(shapes, "cond_stage_model.transformer.")?),
        () => None,
    };
    Ok((of_first, of_second))
}

/// Whether a tensor's name begins so.
pub(super) fn has(shapes: &Shapes, prefix: &str) -> bool {
    shapes.range(prefix.to_string()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
}

/// The configuration of a whole model, or what it lacks to be one of the three families.
pub(super) fn detect(shapes: &Shapes) -> Result<Config, String> {
    let Detected { family, denoiser, vae, text, text_2, language } = parts(shapes, true)?;
    let vae =
        vae.ok_or("it has no autoencoder (first_stage_model.*): give it with --vae FILE, or use the whole checkpoint")?;
    // What a file of tensors does not tell.
    let large = family.is_sdxl() || family.is_flow();
    let (sample_size, vae_sample_size) = match family {
        // Latents are packed.
        Family::Flux2 => (64, 1024),
        _ if large => (128, 1024),
        _ => (64, 512),
    };
    Ok(Config {
        family,
        denoiser,
        sample_size,
        vae,
        vae_sample_size,
        force_upcast: true,
        text,
        text_2,
        language,
        scheduler: if family.is_flow() { sd3::scheduler() } else { scheduler() },
        force_zeros_for_empty_prompt: family == Family::Sdxl,
    })
}

/// The schedule of all published checkpoints, sampled by DDIM; what else a file says of it, `marks.rs` obeys.
fn scheduler() -> SchedulerConfig {
    let settings = [
        ("steps_offset", Field::Number(1.0)),
        ("clip_sample", Field::Flag(false)),
        ("set_alpha_to_one", Field::Flag(false)),
        ("timestep_spacing", Field::Text("leading".into())),
    ];
    let settings = settings.map(|(name, value)| (name.into(), value)).into();
    SchedulerConfig {
        class: "DDIMScheduler".into(),
        train_steps: 1000,
        beta_start: 0.00085,
        beta_end: 0.012,
        beta_schedule: "scaled_linear".into(),
        prediction_type: "epsilon".into(),
        settings,
    }
}

/// Dimension `dim` of a tensor, where that is not nothing.
pub(super) fn dim(shapes: &Shapes, name: &str, dim: usize) -> Option<usize> {
    shapes.get(name).and_then(|shape| shape.get(dim).copied()).filter(|&n| (1..=1 << 20).contains(&n))
}

pub(super) fn need(shapes: &Shapes, name: &str, at: usize) -> Result<usize, String> {
    dim(shapes, name, at).ok_or_else(|| format!("the tensor {name} is missing, or not of the shape it must have"))
}

/// The least number of which there is no such tensor.
pub(super) fn count(shapes: &Shapes, name: impl Fn(usize) -> String) -> usize {
    (0..MAX_BLOCKS).take_while(|&i| shapes.contains_key(&name(i))).count()
}

/// The U-Net; one whose text encoders may be `apart`, in files of their own, is not held against them.
fn unet(shapes: &Shapes, (family, pooled): (Family, Option<usize>), apart: bool) -> Result<SdUnet, String> {
    let added = match (dim(shapes, &format!("{UNET}label_emb.0.0.weight"), 1), pooled) {
        (Some(width), _) if apart => Some(SdAdded { code: SIZE_CODE, width }),
        (Some(width), Some(pooled)) => {
            // Two sizes, two offsets, two sizes of the result, or one score.
            let sizes = if family == Family::SdxlRefiner { 5 } else { 6 };
            Some(SdAdded { code: width.saturating_sub(pooled) / sizes, width })
        }
        (None, None) => None,
        _ => return Err("its U-Net and its text encoders are of different models".into()),
    };
    let mut unet = trunk(shapes, UNET, added)?;
    let up = up(shapes, unet.levels.len(), unet.layers_per_block());
    unet.levels.iter_mut().zip(up).for_each(|(level, up)| level.up = up);
    Ok(SdUnet { out_channels: need(shapes, &format!("{UNET}out.2.weight"), 0)?, ..unet })
}

/// How many numbers a level has in LDM's names after `prefix`: up to the first block that halves, or all of the only level's.
/// Numbers may be left out (see [`super::names::unet`]).
pub(super) fn per_level(shapes: &Shapes, prefix: &str) -> usize {
    let is = |i: &usize, part: &str| shapes.contains_key(&format!("{prefix}input_blocks.{i}.0.{part}.weight"));
    let halves = (1..MAX_BLOCKS).find(|i| is(i, "op"));
    halves.unwrap_or_else(|| 1 + (1..MAX_BLOCKS).take_while(|i| is(i, "out_layers.3")).count())
}

/// All of a U-Net but its way up, by LDM's names after `prefix`: a ControlNet has no other. On the way up, its transformers
/// are as those on the way down.
pub(super) fn trunk(shapes: &Shapes, prefix: &str, added: Option<SdAdded>) -> Result<SdUnet, String> {
    let (per_level, first) = (per_level(shapes, prefix), format!("{prefix}input_blocks.0.0.weight"));
    let (mut channels, mut down) = (vec![], vec![]);
    for level in 0..MAX_BLOCKS / per_level {
        let block = |i: usize| format!("{prefix}input_blocks.{}", 1 + level * per_level + i);
        let is = |i: &usize| shapes.contains_key(&format!("{}.0.out_layers.3.weight", block(*i)));
        let layers = (0..per_level - 1).take_while(is).count();
        channels.push(need(shapes, &format!("{}.0.out_layers.3.weight", block(0)), 0)?);
        down.push((0..layers).map(|i| depth(shapes, &format!("{}.1", block(i)))).collect());
        if !shapes.contains_key(&format!("{}.0.op.weight", block(per_level - 1))) {
            break;
        }
    }
    let middle = format!("{prefix}middle_block");
    Levels {
        channels,
        down,
        middle: middle_of(shapes, &format!("{middle}.0.in_layers.0.weight"), &format!("{middle}.1")),
        context: context(shapes, prefix)?,
        linear_projection: linear_projection(shapes, prefix),
        in_channels: need(shapes, &first, 1)?,
        guidance_code: dim(shapes, &format!("{prefix}time_embed.cond_proj.weight"), 1).unwrap_or(0),
        added,
    }
    .config()
}

/// Blocks of the transformer of that name.
pub(super) fn depth(shapes: &Shapes, name: &str) -> usize {
    count(shapes, |i| format!("{name}.transformer_blocks.{i}.norm1.weight"))
}

/// The middle, by a tensor of its first residual block and the name of its transformer.
pub(super) fn middle_of(shapes: &Shapes, resnet: &str, transformer: &str) -> SdMiddle {
    match (shapes.contains_key(resnet), shapes.contains_key(&format!("{transformer}.norm.weight"))) {
        (false, _) => SdMiddle::None,
        (_, false) => SdMiddle::Resnet,
        _ => SdMiddle::Transformer(depth(shapes, transformer)),
    }
}

/// A tensor among those whose names have that beginning, by its ending.
fn ending<'a>(shapes: &'a Shapes, prefix: &'a str, end: &str) -> Option<(&'a String, &'a Vec<usize>)> {
    let all = shapes.range(prefix.to_string()..).take_while(|(name, _)| name.starts_with(prefix));
    all.into_iter().find(|(name, _)| name.ends_with(end))
}

/// Width of the text's states.
pub(super) fn context(shapes: &Shapes, prefix: &str) -> Result<usize, String> {
    let end = ".attn2.to_k.weight";
    match ending(shapes, prefix, end) {
        Some((name, _)) => need(shapes, name, 1),
        None => Err(format!("no tensor's name ends with {end}: its U-Net reads no text")),
    }
}

/// Whether what surrounds transformers is linear layers, not convolutions.
pub(super) fn linear_projection(shapes: &Shapes, prefix: &str) -> bool {
    ending(shapes, prefix, ".proj_in.weight").is_some_and(|(_, shape)| shape.len() == 2)
}

/// The depths on the way up, level by level from the finest, by LDM's names; where diffusers' converter kept its own, by those.
fn up(shapes: &Shapes, levels: usize, layers: usize) -> Vec<Vec<usize>> {
    let per_level = per_level(shapes, UNET);
    let of = |i: usize, j: usize| {
        let names = [format!("output_blocks.{}.1", i * per_level + j), format!("up_blocks.{i}.attentions.{j}")];
        names.into_iter().map(|name| depth(shapes, &format!("{UNET}{name}"))).max().unwrap_or(0)
    };
    (0..levels).rev().map(|i| (0..=layers).map(|j| of(i, j)).collect()).collect()
}

/// What of a U-Net's configuration its tensors tell.
pub(super) struct Levels {
    pub channels: Vec<usize>,
    /// Of each level, the depths of the transformers behind its residual blocks.
    pub down: Vec<Vec<usize>>,
    pub middle: SdMiddle,
    pub context: usize,
    pub linear_projection: bool,
    pub in_channels: usize,
    pub guidance_code: usize,
    pub added: Option<SdAdded>,
}

impl Levels {
    /// The rest is the same in all published models, or told by these.
    pub fn config(self) -> Result<SdUnet, String> {
        let layers = self.down.first().map_or(0, Vec::len);
        if layers == 0 || self.down.iter().any(|level| level.len() != layers) {
            let layers: Vec<usize> = self.down.iter().map(Vec::len).collect();
            return Err(format!("it has {layers:?} residual blocks by level, and only equal numbers are supported"));
        }
        // The layers around the transformers are convolutions in 1.x alone.
        let heads = |c: usize| if self.linear_projection { (c / HEAD_CHANNELS).max(1) } else { SD1_HEADS };
        let level = |(channels, down): (usize, Vec<usize>)| {
            let up = down.iter().copied().chain(down.last().copied()).collect();
            SdLevel { channels, heads: heads(channels), down, up }
        };
        Ok(SdUnet {
            in_channels: self.in_channels,
            out_channels: self.in_channels,
            levels: self.channels.into_iter().zip(self.down).map(level).collect(),
            middle: self.middle,
            text_width: self.context,
            linear_projection: self.linear_projection,
            pads_below: false,
            norm_groups: 32,
            norm_eps: 1e-5,
            time_code: TimeCode::default(),
            added: self.added,
            guidance_code: self.guidance_code,
        })
    }
}

/// The autoencoder, if there is one.
pub(super) fn vae(shapes: &Shapes, family: Family) -> Result<Option<FirstStage>, String> {
    if let Some(network) = tiny::whole(shapes, VAE) {
        let network = Autoencoder::Tiny(network?);
        return Ok(Some(FirstStage { network, scaling_factor: 1.0, shift_factor: 0.0, statistics: None }));
    }
    let block = |level, i| format!("{VAE}encoder.down.{level}.block.{i}.conv2.weight");
    let levels = count(shapes, |level| block(level, 0));
    let channels = (0..levels).map(|level| need(shapes, &block(level, 0), 0)).collect::<Result<Vec<_>, _>>()?;
    if channels.is_empty() {
        return Ok(None);
    }
    let packed = shapes.contains_key(&format!("{VAE}bn.running_mean"));
    let network = AutoencoderKl {
        in_channels: need(shapes, &format!("{VAE}encoder.conv_in.weight"), 1)?,
        out_channels: need(shapes, &format!("{VAE}decoder.conv_out.weight"), 0)?,
        latent_channels: need(shapes, &format!("{VAE}decoder.conv_in.weight"), 1)? * if packed { 4 } else { 1 },
        layers_per_block: count(shapes, |i| block(0, i)),
        norm_groups: 32,
        mid_attention: shapes.contains_key(&format!("{VAE}encoder.mid.attn_1.q.weight")),
        quant_conv: shapes.contains_key(&format!("{VAE}quant_conv.weight")),
        post_quant_conv: shapes.contains_key(&format!("{VAE}post_quant_conv.weight")),
        packed,
        channels,
    };
    let (scaling_factor, shift_factor) = match family {
        _ if family.is_sd3() => (1.5305, 0.0609),
        // FLUX.1's.
        Family::ZImage => (0.3611, 0.1159),
        Family::Flux2 => (1.0, 0.0),
        _ if family.is_sdxl() => (0.13025, 0.0),
        _ => (0.18215, 0.0),
    };
    Ok(Some(FirstStage { network: network.into(), scaling_factor, shift_factor, statistics: None }))
}

/// A text encoder by transformers' names: CLIP ViT-L/14 and its kin.
pub(super) fn transformers(shapes: &Shapes, prefix: &str) -> Result<ClipText, String> {
    let bare = !shapes.contains_key(&format!("{prefix}text_model.final_layer_norm.weight"));
    let prefix = if bare { prefix.to_string() } else { format!("{prefix}text_model.") };
    let width = need(shapes, &format!("{prefix}final_layer_norm.weight"), 0)?;
    Ok(ClipText {
        vocabulary: need(shapes, &format!("{prefix}embeddings.token_embedding.weight"), 0)?,
        positions: need(shapes, &format!("{prefix}embeddings.position_embedding.weight"), 0)?,
        width,
        hidden: need(shapes, &format!("{prefix}encoder.layers.0.mlp.fc1.weight"), 0)?,
        layers: count(shapes, |i| format!("{prefix}encoder.layers.{i}.mlp.fc1.weight")),
        heads: (width / HEAD_CHANNELS).max(1),
        activation: Activation::QuickGelu,
        eps: 1e-5,
        projection: None,
    })
}

/// A text encoder by OpenCLIP's names.
pub(super) fn open_clip(shapes: &Shapes, prefix: &str, projected: bool) -> Result<ClipText, String> {
    let width = need(shapes, &format!("{prefix}ln_final.weight"), 0)?;
    let layers = count(shapes, |i| format!("{prefix}transformer.resblocks.{i}.mlp.c_fc.weight"));
    let projection = [("text_projection", 1), ("text_projection.weight", 0)];
    let projection = projection.into_iter().find_map(|(name, at)| dim(shapes, &format!("{prefix}{name}"), at));
    Ok(ClipText {
        vocabulary: need(shapes, &format!("{prefix}token_embedding.weight"), 0)?,
        positions: need(shapes, &format!("{prefix}positional_embedding"), 0)?,
        width,
        hidden: need(shapes, &format!("{prefix}transformer.resblocks.0.mlp.c_fc.weight"), 0)?,
        layers: if !projected && layers == SD2_SKIPPED_LAYER + 1 { SD2_SKIPPED_LAYER } else { layers },
        heads: (width / HEAD_CHANNELS).max(1),
        activation: Activation::Gelu,
        eps: 1e-5,
        projection: match projected {
            true => Some(projection.ok_or_else(|| format!("the tensor {prefix}text_projection is missing"))?),
            false => None,
        },
    })
}
