//! Files of other programs, and folders of diffusers: what they are, from their headers, and what is to be done with them.

use super::Line;
use crate::bytes::human;
use crate::cli::Inspect;
use crate::fault::Fault;
use crate::file::convert;
use nijimi_cli::print::{cut, plain, print};
use nijimi_import::{Counted, Family, Format, ImportError, Kind, Language, Missing, Model, Part, Survey, TensorFile};
use nijimi_runtime::raw::nn::Denoiser;
use std::fmt::Write as _;
use std::path::Path;

/// Widths of text encoders, and whose they are.
const TEXTS: [(usize, &str); 3] = [
    (768, "CLIP ViT-L/14, SD 1.x's and SDXL's first"),
    (1024, "OpenCLIP ViT-H/14, SD 2.x's"),
    (1280, "OpenCLIP ViT-bigG/14, SDXL's second"),
];

/// Explains what lies there.
pub fn run(path: &Path, options: &Inspect) -> Result<(), Fault> {
    let input = |e: ImportError| Fault::Input(e.to_string());
    let survey = Survey::of(path).map_err(input)?;
    let mut text = String::new();
    for (name, value) in lines(path, &survey) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10} {}", plain(&cut(&value)));
    }
    for file in &survey.files {
        if !options.keys && !options.tensors {
            break;
        }
        let file = TensorFile::open(file).map_err(input)?;
        if options.keys {
            let width = file.metadata().keys().map(String::len).max().unwrap_or(0);
            text.push('\n');
            for (key, value) in file.metadata() {
                let _ = writeln!(text, "{:<width$}  {}", plain(key), plain(&cut(&format!("{value:?}"))));
            }
        }
        if options.tensors {
            let width = file.tensors().keys().map(String::len).max().unwrap_or(0);
            text.push('\n');
            for (name, entry) in file.tensors() {
                let (dtype, bytes) = (plain(&entry.dtype), entry.bytes());
                let _ = writeln!(text, "{:<width$}  {dtype:<5} {bytes:>9} bytes  {:?}", plain(name), entry.shape);
            }
        }
    }
    Ok(print(&text)?)
}

fn lines(path: &Path, survey: &Survey) -> Vec<Line> {
    let form = match (survey.format, survey.is_gguf) {
        (Format::Diffusers, _) => "a diffusers folder",
        (Format::SingleFile, true) => "a GGUF file of another program",
        (Format::SingleFile, false) => "a .safetensors file",
    };
    let mut lines = vec![("file", format!("{}, {form}, {} bytes", path.display(), survey.bytes)), ("is", what(survey))];
    lines.extend(survey.parts.iter().map(|part| (named(&part.part), counted(part))));
    if let Some(all) = sum(&survey.parts) {
        lines.push(("in all", all));
    }
    if !survey.missing.is_empty() {
        let missing = survey.missing.iter().map(|missing| match missing {
            Missing::Part(Part::ClipG) => "the second text encoder (--clip-g FILE)".into(),
            Missing::Part(part) => format!("the {} ({} FILE)", part.what(), part.option()),
            _ => "the vocabulary (--tokenizer FOLDER)".to_owned(),
        });
        lines.push(("missing", missing.collect::<Vec<_>>().join(", ")));
    }
    lines.extend(survey.notes.iter().map(|note| ("note", note.clone())));
    lines.extend(uses(path, survey));
    lines
}

fn what(survey: &Survey) -> String {
    match &survey.kind {
        Kind::Whole(checkpoint) => convert::what(&checkpoint.model),
        Kind::Partial(family, denoiser) => {
            let form = match denoiser.unet() {
                Some(unet) if unet.in_channels == 9 => ", for inpainting",
                _ => "",
            };
            let (sizes, width) = (sizes(denoiser), denoiser.text_width());
            format!("a part of {}{form}: {sizes}, text states of {width}", convert::family(*family))
        }
        Kind::Vae(vae) => {
            let (latent, factor) = (vae.network.latent_channels(), vae.network.factor());
            format!("an autoencoder: latents of {latent} channels, {factor} times smaller")
        }
        Kind::Text(text) => {
            let whose = TEXTS.iter().find(|(width, _)| *width == text.width).map(|(_, whose)| format!(" ({whose})"));
            format!("a text encoder: {} layers of {}{}", text.layers, text.width, whose.unwrap_or_default())
        }
        Kind::Language(_, language) => match &**language {
            Language::T5(t5) => {
                format!("a text encoder (T5) of Stable Diffusion 3: {} layers of {}", t5.layers, t5.width)
            }
            Language::Qwen3(qwen3) => {
                let layers = qwen3.states.iter().max().copied().unwrap_or_default();
                format!("a language model (Qwen3), of Z-Image and FLUX.2-klein: {layers} layers of {}", qwen3.width)
            }
            _ => "a language model".into(),
        },
        Kind::Lora => "a LoRA, which is added to a model".into(),
        Kind::Embedding(widths) => format!("a textual inversion: vectors of {widths:?} for a word"),
        _ => "another file".into(),
    }
}

/// What takes noise away, and how large it is.
fn sizes(denoiser: &Denoiser) -> String {
    match denoiser {
        Denoiser::Unet(unet) => {
            let levels: Vec<usize> = unet.levels.iter().map(|level| level.channels).collect();
            format!("U-Net of {levels:?} channels")
        }
        Denoiser::Mmdit(network) => format!("transformer of {} blocks of {}", network.layers, network.width()),
        Denoiser::ZImage(network) => format!("transformer of {} blocks of {}", network.layers, network.width()),
        Denoiser::Flux2(network) => {
            format!("transformer of {} and {} blocks of {}", network.layers, network.single_layers, network.width())
        }
        other => other.name().into(),
    }
}

/// The heading of a part's line.
fn named(part: &str) -> &'static str {
    match part {
        "unet" => "U-Net",
        "transformer" => "transformer",
        "vae" => "decoder",
        "text_encoder" | "text_encoder_2" | "text_encoder_3" | "language_model" => "text",
        "" => "tensors",
        _ => "network",
    }
}

fn counted(of: &Counted) -> String {
    let Counted { tensors, parameters, bytes, types, .. } = of;
    let types: Vec<String> = types
        .iter()
        .map(|(name, n)| match n * 1000 / (*parameters).max(1) {
            // Norms and biases beside the rest.
            _ if types.len() == 1 => name.clone(),
            0 => format!("{name} 0.1 % or less"),
            per_mille => format!("{name} {:.1} %", per_mille as f64 / 10.0),
        })
        .collect();
    format!("{} in {tensors} tensors, {}: {}", parameters_of(*parameters), human(*bytes), types.join(", "))
}

fn sum(parts: &[Counted]) -> Option<String> {
    let [_, _, ..] = parts else { return None };
    let of = |count: fn(&Counted) -> u64| parts.iter().map(count).sum::<u64>();
    Some(format!("{}, {}", parameters_of(of(|part| part.parameters)), human(of(|part| part.bytes))))
}

fn parameters_of(count: u64) -> String {
    match count {
        0..100_000 => format!("{count} parameters"),
        100_000..999_500_000 => format!("{:.1} M parameters", count as f64 / 1e6),
        _ => format!("{:.2} G parameters", count as f64 / 1e9),
    }
}

/// How to draw with it, and how to make it a weight file.
fn uses(path: &Path, survey: &Survey) -> Vec<Line> {
    let name = path.display();
    let draw = "nijimi -m model.gguf -p \"a prompt\" -o picture.png";
    match &survey.kind {
        Kind::Whole(checkpoint) => {
            let to = convert::named_as(path);
            let converted = |more: &str| ("convert", format!("nijimi convert {name}{more} -o {to}"));
            match &checkpoint.model {
                Model::TextToImage(config) if config.family == Family::SdxlRefiner => {
                    let draw = format!("nijimi -m sdxl.gguf -p \"a prompt\" --refiner {name} -o picture.png");
                    vec![("use", draw), converted(&(lacking(&survey.missing) + " --type q8_0"))]
                }
                Model::TextToImage(config) => {
                    let more = lacking(&survey.missing);
                    let draw =
                        format!("nijimi -m {name}{more} -p \"a prompt\"{} -o picture.png", pictures(&config.denoiser));
                    vec![("use", draw), converted(&(more + " --type q8_0"))]
                }
                Model::Diffusion(_) => vec![("use", format!("nijimi -m {name} -o picture.png")), converted("")],
                Model::ControlNet(_) | Model::T2iAdapter(_) => {
                    vec![("use", format!("{draw} --control-image lines.png --control-net {name}")), converted("")]
                }
                Model::IpAdapter(_) => {
                    let shown = "--ip-adapter-image picture.png --clip-vision image_encoder/";
                    vec![("use", format!("{draw} {shown} --ip-adapter {name}")), converted("")]
                }
                Model::ImageEncoder(_) => {
                    let shown = "--ip-adapter ip-adapter.safetensors --ip-adapter-image picture.png";
                    vec![("use", format!("{draw} {shown} --clip-vision {name}")), converted("")]
                }
                Model::AutoencoderTiny(_) => vec![("use", format!("{draw} --taesd {name}")), converted("")],
                Model::Upscaler(_) => {
                    vec![("use", format!("nijimi upscale picture.png -o large.png -m {name}")), converted("")]
                }
                _ => Vec::new(),
            }
        }
        Kind::Partial(_, denoiser) => {
            let (more, pictures) = (lacking(&survey.missing), pictures(denoiser));
            vec![
                ("use", format!("nijimi -m {name}{more} -p \"a prompt\"{pictures} -o picture.png")),
                ("convert", format!("nijimi convert {name}{more} --type q8_0 -o {to}", to = convert::named_as(path))),
            ]
        }
        Kind::Vae(_) => {
            vec![("use", format!("nijimi -m model.safetensors --vae {name} -p \"a prompt\" -o picture.png"))]
        }
        Kind::Text(text) => {
            let option = if text.width == 1280 { "--clip-g" } else { "--clip-l" };
            vec![("use", format!("nijimi -m model.safetensors {option} {name} -p \"a prompt\" -o picture.png"))]
        }
        Kind::Language(part, _) => {
            let draws = format!("nijimi -m model.safetensors {} {name} -p \"a prompt\" -o picture.png", part.option());
            vec![("use", draws)]
        }
        Kind::Lora => vec![("use", format!("{draw} --lora {name}"))],
        Kind::Embedding(_) => {
            vec![("use", format!("nijimi -m model.gguf -p \"a word\" --embedding {name}:word -o picture.png"))]
        }
        _ => Vec::new(),
    }
}

/// What such a network is shown, beside its prompt.
fn pictures(denoiser: &Denoiser) -> &'static str {
    let Some(unet) = denoiser.unet() else { return "" };
    match unet.in_channels {
        9 => " -i picture.png --mask mask.png",
        8 => " -i picture.png",
        5 => " --depth-image near.png",
        _ => "",
    }
}

/// The options that give what is missing.
fn lacking(missing: &[Missing]) -> String {
    let of = |missing: &Missing| match missing {
        Missing::Part(part) => format!(" {} FILE", part.option()),
        _ => " --tokenizer FOLDER".to_owned(),
    };
    missing.iter().map(of).collect()
}
