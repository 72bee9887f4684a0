//! ControlNets: diffusers folders, and single files with diffusers' names or those of the original code (cldm).

use super::checkpoint::{Checkpoint, Format, Found, Options};
use super::config::Model;
use super::detect::{self, Levels, SIZE_CODE, Shapes, context, count, depth, dim, linear_projection, middle_of, need};
use super::error::{ImportError, refused};
use super::json::Json;
use super::names::{Candidate, Form, candidate, replace_start, unet};
use super::tensor_file::TensorFile;
use super::{aside, expect, files, parse};
use nijimi_runtime::raw::nn::{ControlNet, SdAdded, SdUnet};
use serde_json::json;
use std::path::Path;

const PART: &str = "control";
const EMBEDDING: &str = "controlnet_cond_embedding.";

/// Reads a folder with a `config.json` of this class.
pub(super) fn open_folder(path: &Path, json: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let config = parse(json)?;
    let files = files::open(path, options.variant.as_deref())?;
    let names = |name: &str| vec![candidate(name, Form::Same)];
    checkpoint(path, Format::Diffusers, config, files, names, |_| false)
}

fn parse(json: &Json) -> Result<ControlNet, ImportError> {
    let own = [
        "controlnet_conditioning_channel_order",
        "global_pool_conditions",
        "conditioning_embedding_out_channels",
        "conditioning_channels",
    ];
    json.nothing_else(&[&parse::UNET[..], &parse::ABSENT, &own].concat())?;
    json.only("controlnet_conditioning_channel_order", json!("rgb"))?;
    json.absent("global_pool_conditions")?;
    let embedding = match json.get("conditioning_embedding_out_channels") {
        Some(_) => json.sizes("conditioning_embedding_out_channels")?,
        None => vec![16, 32, 96, 256],
    };
    Ok(ControlNet {
        unet: parse::trunk(json)?,
        picture_channels: json.size("conditioning_channels", Some(3))?,
        embedding,
    })
}

/// By which names a single file calls its tensors.
#[derive(Clone, Copy)]
enum Naming {
    /// diffusers'.
    Diffusers,
    /// cldm's, after this prefix.
    Original(&'static str),
}

fn naming(shapes: &Shapes) -> Option<Naming> {
    let has = |name: &str| shapes.contains_key(name);
    if has("controlnet_down_blocks.0.weight") || has("controlnet_cond_embedding.conv_in.weight") {
        return Some(Naming::Diffusers);
    }
    let prefixes = ["control_model.", ""].into_iter();
    prefixes.map(|prefix| (prefix, ["zero_convs.0.0.weight", "input_hint_block.0.weight"])).find_map(
        |(prefix, names)| names.iter().any(|name| has(&format!("{prefix}{name}"))).then_some(Naming::Original(prefix)),
    )
}

/// Whether a single file is one.
pub(super) fn is(shapes: &Shapes) -> bool {
    naming(shapes).is_some()
}

/// Reads a single file.
pub(super) fn open_single(path: &Path, file: TensorFile, shapes: &Shapes) -> Result<Checkpoint, ImportError> {
    let refuse = |why: String| ImportError::NotAModel { path: path.into(), why };
    for (name, what) in [
        ("difference", "the difference to a ControlNet of another model: take the whole ControlNet"),
        ("lora_controlnet", "a ControlNet as a LoRA (Control-LoRA), which is not supported: take the whole ControlNet"),
    ] {
        if shapes.contains_key(name) {
            return Err(refuse(format!("it is {what}")));
        }
    }
    let naming = naming(shapes).unwrap_or(Naming::Diffusers);
    let config = detect(shapes, naming).map_err(|why| refuse(format!("it is a ControlNet, but {why}")))?;
    let names = |name: &str| match naming {
        Naming::Diffusers => vec![candidate(name, Form::Same)],
        Naming::Original(prefix) => {
            vec![candidate(format!("{prefix}{}", original(name, &config)), Form::Same)]
        }
    };
    // Beside the network there may be what its training left.
    let aside = |name: &str| matches!(naming, Naming::Original(prefix) if !name.starts_with(prefix)) && aside::is(name);
    checkpoint(path, Format::SingleFile, config.clone(), vec![file], names, aside)
}

fn checkpoint(
    path: &Path,
    format: Format,
    config: ControlNet,
    files: Vec<TensorFile>,
    names: impl Fn(&str) -> Vec<Candidate>,
    is_aside: impl Fn(&str) -> bool,
) -> Result<Checkpoint, ImportError> {
    let all = 0..files.len();
    let mut found = Found::new(files);
    found.take(path, PART, expect::control(&config).map_err(refused(path))?, all.clone(), names)?;
    found.left_over(all, is_aside)?;
    Ok(found.checkpoint(path, format, Model::ControlNet(Box::new(config))))
}

/// cldm's name.
fn original(name: &str, config: &ControlNet) -> String {
    if let Some(rest) = name.strip_prefix(EMBEDDING) {
        // Counted with the activations between them.
        let last = 4 * (config.embedding.len() - 1) + 2;
        let pairs = [("conv_in.", "input_hint_block.0."), ("conv_out.", &format!("input_hint_block.{last}."))];
        let block = rest.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'));
        return match block.and_then(|(i, rest)| Some((i.parse::<usize>().ok()?, rest))) {
            Some((i, rest)) => format!("input_hint_block.{}.{rest}", 2 * i + 2),
            None => replace_start(rest, &pairs),
        };
    }
    if let Some((i, rest)) = name.strip_prefix("controlnet_down_blocks.").and_then(|rest| rest.split_once('.')) {
        return format!("zero_convs.{i}.0.{rest}");
    }
    match name.strip_prefix("controlnet_mid_block.") {
        Some(rest) => format!("middle_block_out.0.{rest}"),
        // The way down alone, whose tensors have one name each.
        None => unet(name, 1 + config.unet.layers_per_block()).swap_remove(0),
    }
}

/// What it is, by its tensors.
fn detect(shapes: &Shapes, naming: Naming) -> Result<ControlNet, String> {
    // The first convolution of the picture, and those that halve.
    let (unet, first, halving): (_, String, Box<dyn Fn(usize) -> String>) = match naming {
        Naming::Diffusers => (
            trunk(shapes, addition(shapes, "add_embedding.linear_1.weight")?)?,
            format!("{EMBEDDING}conv_in.weight"),
            Box::new(|i| format!("{EMBEDDING}blocks.{}.weight", 2 * i + 1)),
        ),
        Naming::Original(prefix) => {
            let addition = addition(shapes, &format!("{prefix}label_emb.0.0.weight"))?;
            let hint = move |at: usize| format!("{prefix}input_hint_block.{at}.weight");
            (detect::trunk(shapes, prefix, addition)?, hint(0), Box::new(move |i| hint(4 * i + 4)))
        }
    };
    let picture_channels = need(shapes, &first, 1)?;
    let halvings = count(shapes, &halving);
    let names = [first].into_iter().chain((0..halvings).map(halving));
    let embedding = names.map(|name| need(shapes, &name, 0)).collect::<Result<_, _>>()?;
    Ok(ControlNet { unet, picture_channels, embedding })
}

/// SDXL's second condition, if the layer that takes it is there.
fn addition(shapes: &Shapes, name: &str) -> Result<Option<SdAdded>, String> {
    match dim(shapes, name, 1) {
        None => Ok(None),
        Some(width) if width > 6 * SIZE_CODE => Ok(Some(SdAdded { code: SIZE_CODE, width })),
        Some(_) => Err(format!("its {name} is not as wide as SDXL's: take the folder that has its config.json")),
    }
}

/// All of the U-Net that a ControlNet has, by diffusers' names.
fn trunk(shapes: &Shapes, added: Option<SdAdded>) -> Result<SdUnet, String> {
    let resnet = |level: usize, i: usize| format!("down_blocks.{level}.resnets.{i}.conv1.weight");
    let levels = count(shapes, |level| resnet(level, 0));
    let depths = |level: usize| {
        let layers = count(shapes, |i| resnet(level, i));
        (0..layers).map(|i| depth(shapes, &format!("down_blocks.{level}.attentions.{i}"))).collect()
    };
    Levels {
        channels: (0..levels).map(|level| need(shapes, &resnet(level, 0), 0)).collect::<Result<_, _>>()?,
        down: (0..levels).map(depths).collect(),
        middle: middle_of(shapes, "mid_block.resnets.0.conv1.weight", "mid_block.attentions.0"),
        context: context(shapes, "")?,
        linear_projection: linear_projection(shapes, ""),
        in_channels: need(shapes, "conv_in.weight", 1)?,
        guidance_code: 0,
        added,
    }
    .config()
}
