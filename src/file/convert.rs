//! `nijimi convert`: a published checkpoint becomes a weight file.

use crate::bytes::human;
use crate::cli::{Convert, none_of};
use crate::draw::progress::StatusLine;
use crate::fault::Fault;
use crate::file::source::no_variant;
use nijimi_cli::print::tell;
use nijimi_cli::target;
use nijimi_import::{self as import, Checkpoint, Event, Family, Format, ImportError, Model, Options, Types, stem};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{ClipVision, IpProjection};
use std::path::Path;
use std::time::Instant;

/// Converts.
pub fn run(asked: &Convert) -> Result<(), Fault> {
    let rest = DType::from_name(&asked.kind).ok_or_else(|| {
        Fault::Usage(format!(
            "--type {:?} is not known: there are f32, f16, bf16, q8_0, q6_k, q5_k, q4_k and q4_0",
            asked.kind
        ))
    })?;
    let mut types = Types::new(rest);
    for rule in &asked.tensor_type {
        types.rule(rule).map_err(|e| Fault::Usage(format!("--tensor-type: {e}")))?;
    }
    if asked.variant.is_some() && !asked.source.is_dir() {
        return Err(no_variant());
    }
    let options = Options {
        variant: asked.variant.clone(),
        tokenizer: asked.tokenizer.clone(),
        prediction_type: asked.prediction_type.clone(),
        parts: asked.parts(),
    };
    let tokenizer = asked.tokenizer.as_deref().map(|path| ("--tokenizer", path));
    let parts = options.parts.iter().map(|(part, path)| (part.option(), &**path));
    let inputs: Vec<_> = [("the checkpoint", &*asked.source)].into_iter().chain(tokenizer).chain(parts).collect();
    target::check(&[("-o", &asked.output)], &inputs, |_| true)?;
    let started = Instant::now();
    let checkpoint = Checkpoint::open(&asked.source, &options).map_err(fault)?;
    if checkpoint.latent_diffusion().is_none() {
        let given =
            [("--tokenizer", asked.tokenizer.is_some()), ("--prediction-type", asked.prediction_type.is_some())];
        none_of(&given, "Stable Diffusion checkpoints")?;
    }
    let mut lines = vec![about(&checkpoint)];
    lines.extend(checkpoint.notes.iter().map(|note| format!("note: {note}")));
    tell(&lines);

    let name = asked.name.clone().unwrap_or_else(|| stem(&asked.source));
    let summary = import::convert(&checkpoint, &asked.output, &name, &types, line(started)).map_err(fault)?;

    let kinds = summary.types.iter();
    let kinds = kinds.map(|(dtype, tensors, _, bytes)| format!("{tensors} {dtype} ({})", human(*bytes)));
    let seconds = started.elapsed().as_secs_f64();
    tell(&[
        format!("tensors: {}", kinds.collect::<Vec<_>>().join(", ")),
        format!("wrote {}, {} in {seconds:.1} s", asked.output.display(), human(summary.bytes)),
    ]);
    Ok(())
}

fn fault(e: ImportError) -> Fault {
    Fault::Input(e.to_string())
}

/// One line on what was found.
pub fn about(checkpoint: &Checkpoint) -> String {
    let format = match checkpoint.format {
        Format::Diffusers => "a diffusers folder",
        Format::SingleFile => "a single file",
    };
    let aside = match checkpoint.aside.len() {
        0 => String::new(),
        n => format!("; {n} tensors that do not belong to the model are left out"),
    };
    let parts = checkpoint.parts.iter().map(|(part, path)| format!(", {} {}", part.option(), path.display()));
    format!("{}, from {format}{}{aside}", what(&checkpoint.model), parts.collect::<String>())
}

/// What a checkpoint is, in words.
pub fn what(model: &Model) -> String {
    let config = match model {
        Model::TextToImage(config) => config,
        Model::Diffusion(info) => {
            let ([height, width], channels) = (info.network.size(), info.network.channels());
            let class = info.scheduler.as_ref().map_or("", |scheduler| &scheduler.class);
            let of = if channels == 1 { "gray pictures" } else { "pictures" };
            return format!("an unconditional model of {of} of {width}x{height} ({class})");
        }
        Model::ControlNet(config) => {
            let width = config.unet.text_width;
            let channels: Vec<usize> = config.unet.levels.iter().map(|level| level.channels).collect();
            return format!("a ControlNet for U-Nets of {channels:?} channels, text states of {width}");
        }
        Model::T2iAdapter(config) => {
            let (kind, channels) = (config.kind.name(), &config.channels);
            let of = if config.picture_channels == 1 { "gray pictures" } else { "pictures" };
            return format!("a T2I-Adapter ({kind}) of {channels:?} channels, which looks at {of}");
        }
        Model::IpAdapter(config) => {
            let how = match config.projection {
                IpProjection::Linear { .. } => "of whole pictures",
                IpProjection::Perceptron => "of patches, by a perceptron: full-face",
                IpProjection::Resampler { .. } => "of patches, by a resampler: plus",
            };
            let (attentions, width, image) = (config.channels.len(), config.text_width, config.image_width);
            return format!(
                "an IP-Adapter ({how}) for {attentions} attentions, text states of {width}, image states of {image}"
            );
        }
        Model::ImageEncoder(config) => {
            let ClipVision { size, layers, width, projection, .. } = **config;
            return format!(
                "an image encoder of {layers} layers of {width}, {projection} at its end, for pictures of {size}x{size}"
            );
        }
        Model::AutoencoderTiny(info) if !info.has_encoder => {
            return "the decoder of a tiny autoencoder".into();
        }
        Model::AutoencoderTiny(_) => return "a tiny autoencoder".into(),
        Model::Upscaler(info) => {
            let (blocks, factor) = (info.network.blocks, info.network.factor());
            return format!("an upscaler of {blocks} blocks, x{factor}");
        }
        _ => return "another model".into(),
    };
    let family = family(config.family);
    let form = match config.unet().map(|unet| (unet.in_channels, unet.guidance_code)) {
        Some((9, _)) => ", for inpainting",
        Some((5, _)) => ", led by depth",
        None | Some((_, 0)) => "",
        _ => ", a latent consistency model",
    };
    format!("{family}{form}, predicts {}", config.scheduler.prediction_type)
}

/// A family's name for people.
pub fn family(family: Family) -> &'static str {
    match family {
        Family::Sd1 => "Stable Diffusion 1.x",
        Family::Sd2 => "Stable Diffusion 2.x",
        Family::Sdxl => "SDXL",
        Family::SdxlRefiner => "SDXL's refiner",
        Family::Sd3 => "Stable Diffusion 3",
        Family::Sd35 => "Stable Diffusion 3.5",
        Family::ZImage => "Z-Image",
        Family::Flux2 => "FLUX.2-klein",
        _ => "another model",
    }
}

/// The name of the weight file that a checkpoint would become: never its own.
pub fn named_as(path: &Path) -> String {
    let more = if path.extension().is_some_and(|extension| extension == "gguf") { "-f16" } else { "" };
    format!("{}{more}.gguf", stem(path))
}

/// A line on stderr that says how far it is, for work that began then.
pub fn line(started: Instant) -> impl FnMut(Event<'_>) {
    let mut line = StatusLine::new();
    move |event| line.show(|| progress(event, started.elapsed().as_secs_f64()))
}

fn progress(event: Event<'_>, seconds: f64) -> String {
    let left = (event.of - event.bytes) as f64 * seconds / event.bytes.max(1) as f64;
    format!("{} of {}, {left:.0} s left", human(event.bytes), human(event.of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_what_is_left() {
        let event = Event { name: "a", tensors: 1, bytes: 1_000_000, of: 4_000_000 };
        assert_eq!(progress(event, 2.0), "1.0 MB of 4.0 MB, 6 s left");
    }
}
