//! T2I-Adapters: diffusers folders, and single files with diffusers' names or those of the original code (TencentARC).

use super::checkpoint::{Checkpoint, Format, Found, Options};
use super::config::Model;
use super::detect::{Shapes, count, need};
use super::error::{ImportError, refused};
use super::json::Json;
use super::names::{Form, candidate};
use super::tensor_file::TensorFile;
use super::{expect, files};
use nijimi_runtime::raw::nn::{T2iAdapter, T2iKind};
use std::path::Path;

const PART: &str = "adapter";
/// Of the squares of pixels that SDXL's adapters take as one, which is all by which their tensors can be told from those of 1.x.
const XL_UNSHUFFLE: usize = 16;

/// Reads a folder with a `config.json` of this class.
pub(super) fn open_folder(path: &Path, json: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let config = parse(json)?;
    checkpoint(path, Format::Diffusers, config, files::open(path, options.variant.as_deref())?, Naming::Diffusers)
}

fn parse(json: &Json) -> Result<T2iAdapter, ImportError> {
    json.nothing_else(&["adapter_type", "in_channels", "channels", "num_res_blocks", "downscale_factor"])?;
    let key = "adapter_type";
    let kind = T2iKind::from_name(json.str(key, "full_adapter")?);
    let channels = match json.get("channels") {
        Some(_) => json.sizes("channels")?,
        None => vec![320, 640, 1280, 1280],
    };
    Ok(T2iAdapter {
        kind: kind.ok_or_else(|| json.wrong(key, "full_adapter, full_adapter_xl or light_adapter"))?,
        picture_channels: json.size("in_channels", Some(3))?,
        channels,
        layers: json.size("num_res_blocks", Some(2))?,
        unshuffle: json.size("downscale_factor", Some(8))?,
    })
}

/// By which names a file calls its tensors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// diffusers', which are ours: `adapter.body.0.resnets.0.block1`.
    Diffusers,
    /// The original's: `body.0.block1`, all residual blocks counted through.
    Original,
    /// The original's, of narrow blocks: `body.0.body.0.block1`.
    OriginalLight,
}

fn naming(shapes: &Shapes) -> Option<Naming> {
    let all = [
        ("adapter.body.0.resnets.0.block1.weight", Naming::Diffusers),
        ("body.0.block1.weight", Naming::Original),
        ("body.0.body.0.block1.weight", Naming::OriginalLight),
    ];
    all.into_iter().find(|(name, _)| shapes.contains_key(*name)).map(|(_, naming)| naming)
}

impl Naming {
    /// The file's name of a tensor, in a network of so many residual blocks a block.
    fn name(self, name: &str, layers: usize) -> String {
        let parts: Vec<&str> = name.split('.').collect();
        match (self, &parts[..]) {
            (Self::Diffusers, _) => format!("{PART}.{name}"),
            (Self::Original, ["body", block, "resnets", layer, rest @ ..]) => {
                let number = |text: &str| text.parse::<usize>().unwrap_or(0);
                format!("body.{}.{}", number(block) * layers + number(layer), rest.join("."))
            }
            (Self::Original, ["body", block, rest @ ..]) => {
                format!("body.{}.{}", block.parse::<usize>().unwrap_or(0) * layers, rest.join("."))
            }
            (Self::OriginalLight, ["body", block, "resnets", rest @ ..]) => {
                format!("body.{block}.body.{}", rest.join("."))
            }
            _ => name.to_owned(),
        }
    }
}

/// Whether a single file is one, or of its kin that are not read.
pub(super) fn is(shapes: &Shapes) -> bool {
    naming(shapes).is_some() || other(shapes).is_some()
}

fn other(shapes: &Shapes) -> Option<&'static str> {
    [
        ("style_embedding", "a style adapter, which reads what CLIP sees of a picture"),
        ("task_embedding", "what joins several of them (CoAdapter's fuser)"),
    ]
    .into_iter()
    .find_map(|(name, what)| shapes.contains_key(name).then_some(what))
}

/// Reads a single file.
pub(super) fn open_single(path: &Path, file: TensorFile, shapes: &Shapes) -> Result<Checkpoint, ImportError> {
    let refuse = |why: String| ImportError::NotAModel { path: path.into(), why };
    let Some(naming) = naming(shapes) else {
        let what = other(shapes).unwrap_or("another network");
        return Err(refuse(format!(
            "it is of T2I-Adapter, but {what}: only those are read that look at a picture's pixels (canny, depth, sketch, \
             openpose, color, ...)"
        )));
    };
    let config = detect(shapes, naming).map_err(|why| refuse(format!("it is a T2I-Adapter, but {why}")))?;
    checkpoint(path, Format::SingleFile, config, vec![file], naming)
}

fn checkpoint(
    path: &Path,
    format: Format,
    config: T2iAdapter,
    files: Vec<TensorFile>,
    naming: Naming,
) -> Result<Checkpoint, ImportError> {
    let all = 0..files.len();
    let mut found = Found::new(files);
    let expected = expect::t2i_adapter(&config).map_err(refused(path))?;
    let names = |name: &str| vec![candidate(naming.name(name, config.layers), Form::Same)];
    found.take(path, PART, expected, all.clone(), names)?;
    found.left_over(all, |_| false)?;
    Ok(found.checkpoint(path, format, Model::T2iAdapter(Box::new(config))))
}

/// What the tensors tell.
fn detect(shapes: &Shapes, naming: Naming) -> Result<T2iAdapter, String> {
    let has = |name: String| shapes.contains_key(&name);
    let light = has(naming.name("body.0.in_conv.weight", 1));
    // Where blocks are counted through, a second one begins where channels change.
    let layers = match naming {
        Naming::Original => {
            let all = count(shapes, |i| format!("body.{i}.block1.weight"));
            (1..all).find(|i| has(format!("body.{i}.in_conv.weight"))).unwrap_or(all)
        }
        _ => count(shapes, |i| naming.name(&format!("body.0.resnets.{i}.block1.weight"), 0)),
    };
    let size = |name: &str, at: usize| need(shapes, &naming.name(name, layers), at);
    let blocks = count(shapes, |i| naming.name(&format!("body.{i}.resnets.0.block1.weight"), layers));
    let out = if light { "out_conv" } else { "resnets.0.block1" };
    let mut channels =
        (0..blocks).map(|i| size(&format!("body.{i}.{out}.weight"), 0)).collect::<Result<Vec<_>, _>>()?;
    if light {
        // The last is there once more.
        channels.pop();
    }
    let inputs = size(if light { "body.0.in_conv.weight" } else { "conv_in.weight" }, 1)?;
    // Squares of gray pixels, or of red, green and blue: 3 is no square.
    let square = |channels: usize| (1..=64).find(|u| channels * u * u == inputs).map(|u| (channels, u));
    let (picture_channels, unshuffle) = square(1).or_else(|| square(3)).ok_or_else(|| {
        format!("it reads {inputs} channels, which are no squares of pixels of 1 or 3: take the folder that has its config.json")
    })?;
    let kind = match (light, unshuffle) {
        (true, _) => T2iKind::Light,
        (false, XL_UNSHUFFLE) => T2iKind::FullXl,
        (false, _) => T2iKind::Full,
    };
    Ok(T2iAdapter { kind, picture_channels, channels, layers, unshuffle })
}
