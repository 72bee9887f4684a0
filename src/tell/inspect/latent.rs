//! What a latent diffusion model is, by its metadata: nothing of it needs to be loaded.

use super::Line;
use nijimi_runtime::gguf::{File, GgufError};
use nijimi_runtime::sampler::{is_edm, is_flow};

/// Whether it is one.
pub fn is(file: &File<'_>) -> bool {
    file.str("nijimi.system") == Ok("latent-diffusion")
}

/// One sentence on what it is.
pub fn system(file: &File<'_>) -> String {
    let family = match file.str("nijimi.family") {
        Ok("sd1") => "Stable Diffusion 1.x",
        Ok("sd2") => "Stable Diffusion 2.x",
        Ok("sdxl") => "SDXL",
        Ok("sd3") => "Stable Diffusion 3",
        Ok("sd3.5") => "Stable Diffusion 3.5",
        Ok("z-image") => "Z-Image",
        Ok("flux2") => "FLUX.2-klein",
        Ok("sdxl-refiner") => "SDXL's refiner, which takes a run's last steps (--refiner)",
        _ => "a latent diffusion model",
    };
    let form = match file.u32("nijimi.unet.in_channels") {
        Ok(9) => ", for inpainting",
        Ok(n) if file.u32("nijimi.autoencoder.latent_channels").is_ok_and(|latent| n == 2 * latent) => {
            ", which changes pictures by instruction"
        }
        Ok(n) if file.u32("nijimi.autoencoder.latent_channels").is_ok_and(|latent| n == latent + 1) => {
            ", led by a picture of depth (--depth-image)"
        }
        _ if file.u32("nijimi.unet.time_cond_proj_dim").is_ok() => ", a latent consistency model",
        _ => "",
    };
    format!("{family}{form}: draws pictures from prompts")
}

/// Its numbers.
///
/// # Errors
/// A key that such a file must have.
pub fn facts(file: &File<'_>) -> Result<Vec<Line>, GgufError> {
    let autoencoder = file.u32s("nijimi.autoencoder.channels")?;
    let latent = file.u32("nijimi.autoencoder.latent_channels")?;
    // Each level but the first halves; a shift that is absurd is no side.
    let packed = usize::from(file.bool("nijimi.autoencoder.packed").unwrap_or(false));
    let factor = 1u32.checked_shl((autoencoder.len() + packed).saturating_sub(1) as u32).unwrap_or(u32::MAX);
    let (network, sample_size) = network(file)?;
    let side = file.u32(sample_size)?.saturating_mul(factor);
    let mut lines = vec![
        ("pictures", format!("{side}x{side}, 3 channels; latents {factor} times smaller, {latent} channels")),
        ("network", network),
        ("decoder", format!("autoencoder of {autoencoder:?} channels")),
    ];
    for prefix in ["nijimi.text_encoder", "nijimi.text_encoder_2"] {
        if let (Ok(layers), Ok(width)) = (file.u32(&format!("{prefix}.layers")), file.u32(&format!("{prefix}.width"))) {
            lines.push(("text", format!("{layers} layers of {width}")));
        }
    }
    if let (Ok(states), Ok(width)) = (file.u32s("nijimi.text_encoder.states"), file.u32("nijimi.text_encoder.width")) {
        lines.push(("text", format!("Qwen3, {} layers of {width}", states.last().copied().unwrap_or(0))));
    }
    let (kind, levels) = (file.str("nijimi.schedule.kind")?, file.u32("nijimi.schedule.steps")?);
    let (first, last) = (file.f64("nijimi.schedule.beta_start")?, file.f64("nijimi.schedule.beta_end")?);
    // Of EDM, sigmas; left out, diffusers' defaults.
    let sigma = |end: &str, default: f64| file.f64(&format!("nijimi.scheduler.{end}")).unwrap_or(default);
    lines.push(match file.str("nijimi.scheduler.class") {
        Ok(class) if is_edm(class) => {
            let (first, last) = (sigma("sigma_max", 80.0), sigma("sigma_min", 0.002));
            ("noise", format!("EDM's, sigma from {first} to {last}"))
        }
        Ok(class) if is_flow(class) => {
            let shift = file.f64("nijimi.scheduler.shift").unwrap_or(1.0);
            ("noise", format!("rectified flow of {levels} levels, shift {shift}"))
        }
        _ => ("noise", format!("{levels} levels, {kind}, beta from {first} to {last}")),
    });
    lines.push(("predicts", file.str("nijimi.prediction_type")?.into()));
    lines.extend(sampling(file));
    if let (Ok(format), Ok(source)) = (file.str("nijimi.import.format"), file.str("nijimi.import.source")) {
        lines.push(("made from", format!("{source}, a {format}")));
    }
    Ok(lines)
}

/// What takes noise away, and which key has the side of the latents that it was trained on.
fn network(file: &File<'_>) -> Result<(String, &'static str), GgufError> {
    if file.str("nijimi.network") == Ok("mmdit") {
        let number = |name: &str| file.u32(&format!("nijimi.mmdit.{name}"));
        let width = number("heads")?.saturating_mul(number("attention_head_dim")?);
        let words = format!("transformer of {} blocks of {width}", number("layers")?);
        return Ok((words, "nijimi.mmdit.sample_size"));
    }
    if file.str("nijimi.network") == Ok("z-image") {
        let number = |name: &str| file.u32(&format!("nijimi.z_image.{name}"));
        let axes = file.u32s("nijimi.z_image.axes_dims")?;
        let width = axes.into_iter().fold(0, u32::saturating_add).saturating_mul(number("heads")?);
        let words = format!("transformer of {} blocks of {width}", number("layers")?);
        return Ok((words, "nijimi.z_image.sample_size"));
    }
    if file.str("nijimi.network") == Ok("flux2") {
        let number = |name: &str| file.u32(&format!("nijimi.flux2.{name}"));
        let axes = file.u32s("nijimi.flux2.axes_dims_rope")?;
        let width = axes.into_iter().fold(0, u32::saturating_add).saturating_mul(number("heads")?);
        let words = format!("transformer of {} and {} blocks of {width}", number("layers")?, number("single_layers")?);
        return Ok((words, "nijimi.flux2.sample_size"));
    }
    let channels = file.u32s("nijimi.unet.channels")?;
    let depths = file.u32s("nijimi.unet.transformer_layers")?;
    let words = format!("U-Net of {channels:?} channels, {depths:?} transformer blocks by level");
    Ok((words, "nijimi.unet.sample_size"))
}

/// How it is best sampled, where the file says so.
fn sampling(file: &File<'_>) -> Option<Line> {
    let text = |key: &str| file.str(key).ok().map(str::to_owned);
    let parts = [
        text("nijimi.sampler.method"),
        text("nijimi.sampler.scheduler"),
        file.u32("nijimi.sampler.steps").ok().map(|steps| format!("{steps} steps")),
        file.f32("nijimi.sampler.guidance_scale").ok().map(|scale| format!("guidance {scale}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| ("sampling", format!("{} by default", parts.join(", "))))
}
