//! What goes beside a latent diffusion model, or into one, by its metadata: nothing of it needs to be loaded.

use super::Line;
use nijimi_runtime::gguf::{File, GgufError};
use nijimi_runtime::model::FirstStage;

/// What is told of a file: what it is, its numbers, how it is used.
pub struct Told {
    /// One sentence.
    pub what: &'static str,
    /// Its numbers.
    pub facts: Vec<Line>,
    /// A command line, up to the file's name.
    pub option: &'static str,
}

/// Tells of a ControlNet, a T2I-Adapter, an IP-Adapter, an image encoder, a tiny autoencoder, an upscaler, or the autoencoder of a model in training; `None` of another file.
///
/// # Errors
/// A key that such a file must have.
pub fn tell(file: &File<'_>) -> Result<Option<Told>, GgufError> {
    Ok(match file.str("nijimi.system") {
        Ok("control-net") => Some(control(file)?),
        Ok("t2i-adapter") => Some(adapter(file)?),
        Ok("ip-adapter") => Some(ip_adapter(file)?),
        Ok("image-encoder") => Some(image_encoder(file)?),
        Ok("autoencoder-tiny") => Some(tiny(file)?),
        Ok("upscaler") => Some(upscaler(file)?),
        Ok(FirstStage::SYSTEM) => Some(first_stage(file)?),
        _ => None,
    })
}

fn control(file: &File<'_>) -> Result<Told, GgufError> {
    let channels = file.u32s("nijimi.control.channels")?;
    let depths = file.u32s("nijimi.control.transformer_layers")?;
    let (width, picture) =
        (file.u32("nijimi.control.cross_attention_dim")?, file.u32("nijimi.control.picture_channels")?);
    let halvings = file.u32s("nijimi.control.embedding")?.len().saturating_sub(1);
    let mut facts = vec![
        ("picture", format!("{picture} channels, halved {halvings} times to the latents' size")),
        ("network", format!("for U-Nets of {channels:?} channels, {depths:?} transformer blocks by level")),
        ("text", format!("states of {width}")),
    ];
    facts.extend(source(file));
    let option = "nijimi -m model.gguf -p \"a prompt\" --control-image lines.png --control-net";
    Ok(Told { what: "a ControlNet, which guides a latent diffusion model by an image", facts, option })
}

fn adapter(file: &File<'_>) -> Result<Told, GgufError> {
    let size = |name: &str| file.u32(&format!("nijimi.adapter.{name}"));
    let (channels, layers) = (file.u32s("nijimi.adapter.channels")?, size("num_res_blocks")?);
    let kind = nijimi_cli::print::plain(file.str("nijimi.adapter.type")?);
    let mut facts = vec![
        (
            "picture",
            format!("{} channels, of {} pixels a side as one", size("picture_channels")?, size("downscale_factor")?),
        ),
        ("network", format!("{kind}, blocks of {channels:?} channels, {layers} residual blocks each")),
    ];
    facts.extend(source(file));
    let option = "nijimi -m model.gguf -p \"a prompt\" --control-image lines.png --control-net";
    Ok(Told { what: "a T2I-Adapter, which guides a latent diffusion model by an image", facts, option })
}

fn ip_adapter(file: &File<'_>) -> Result<Told, GgufError> {
    let size = |name: &str| file.u32(&format!("nijimi.ip_adapter.{name}"));
    let (attentions, image) = (file.u32s("nijimi.ip_adapter.channels")?.len(), size("image_width")?);
    let kind = nijimi_cli::print::plain(file.str("nijimi.ip_adapter.projection")?);
    let tokens = size("tokens").map_or_else(|_| "one token a patch".into(), |tokens| format!("{tokens} tokens"));
    let mut facts = vec![
        ("picture", format!("{tokens} of a picture, of image states of {image} ({kind})")),
        ("network", format!("for U-Nets of {attentions} attentions to the text")),
        ("text", format!("states of {}", size("cross_attention_dim")?)),
    ];
    facts.extend(source(file));
    let option = "nijimi -m model.gguf -p \"a prompt\" --ip-adapter-image picture.png --clip-vision image_encoder.gguf --ip-adapter";
    Ok(Told { what: "an IP-Adapter, which guides a latent diffusion model by pictures", facts, option })
}

fn image_encoder(file: &File<'_>) -> Result<Told, GgufError> {
    let size = |name: &str| file.u32(&format!("nijimi.image_encoder.{name}"));
    let (side, patch) = (size("image_size")?, size("patch_size")?);
    let (layers, width, projection) = (size("layers")?, size("width")?, size("projection_dim")?);
    let mut facts = vec![
        ("picture", format!("{side}x{side}, in patches of {patch}x{patch}")),
        ("network", format!("{layers} layers of {width}, {projection} for the whole picture")),
    ];
    facts.extend(source(file));
    let option = "nijimi -m model.gguf -p \"a prompt\" --ip-adapter ip-adapter.gguf --ip-adapter-image picture.png --clip-vision";
    Ok(Told { what: "an image encoder (CLIP), which IP-Adapters read", facts, option })
}

fn tiny(file: &File<'_>) -> Result<Told, GgufError> {
    let (channels, latent) = (file.u32("nijimi.tiny.channels")?, file.u32("nijimi.tiny.latent_channels")?);
    let decoder = file.u32s("nijimi.tiny.decoder_blocks")?;
    let mut facts = vec![
        ("latents", format!("{latent} channels, halved {} times", decoder.len().saturating_sub(1))),
        ("decoder", format!("{decoder:?} blocks of {channels} channels by level")),
    ];
    facts.push(match file.u32s("nijimi.tiny.encoder_blocks") {
        Ok(blocks) => ("encoder", format!("{blocks:?} blocks of {channels} channels by level")),
        Err(_) => ("encoder", "none".into()),
    });
    facts.extend(source(file));
    let option = "nijimi -m model.gguf -p \"a prompt\" -o picture.png --taesd";
    Ok(Told { what: "a tiny autoencoder, which decodes what a latent diffusion model draws", facts, option })
}

fn upscaler(file: &File<'_>) -> Result<Told, GgufError> {
    let size = |name: &str| file.u32(&format!("nijimi.upscaler.{name}"));
    let (doublings, unshuffle) = (size("doublings")?.min(16), size("unshuffle")?.max(1));
    let mut facts = vec![
        ("pictures", format!("{} channels, sides times {}", size("channels")?, (1 << doublings) / unshuffle)),
        ("network", format!("{} blocks of {} + {} channels", size("blocks")?, size("features")?, size("growth")?)),
    ];
    facts.extend(source(file));
    let option = "nijimi upscale picture.png -o large.png -m";
    Ok(Told { what: "an upscaler (ESRGAN), which enlarges pictures", facts, option })
}

fn first_stage(file: &File<'_>) -> Result<Told, GgufError> {
    let (channels, latent) =
        (file.u32s("nijimi.autoencoder.channels")?, file.u32("nijimi.autoencoder.latent_channels")?);
    let (scale, shift) = (file.f32("nijimi.autoencoder.scaling_factor")?, file.f32("nijimi.autoencoder.shift_factor")?);
    let facts = vec![
        (
            "latents",
            format!("{latent} channels, halved {} times; (z - {shift}) {scale}", channels.len().saturating_sub(1)),
        ),
        ("network", format!("autoencoder of {channels:?} channels")),
    ];
    let option = "nijimi-train text2image --data DIR --out model.gguf --autoencoder";
    Ok(Told { what: "the autoencoder for a latent diffusion model that is still to be trained", facts, option })
}

/// What it was made from.
fn source(file: &File<'_>) -> Option<Line> {
    let (format, source) = (file.str("nijimi.import.format").ok()?, file.str("nijimi.import.source").ok()?);
    Some(("made from", format!("{source}, a {format}")))
}
