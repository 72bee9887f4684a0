//! Upscalers of ESRGAN and Real-ESRGAN (RRDBNet): single files with BasicSR's names, or those of the two older codes.

use super::checkpoint::{Checkpoint, Format, Found};
use super::config::Model;
use super::detect::{Shapes, count, need};
use super::error::{ImportError, refused};
use super::expect;
use super::names::{Form, candidate};
use super::tensor_file::TensorFile;
use nijimi_runtime::model::UpscalerInfo;
use nijimi_runtime::raw::nn::RrdbNet;
use std::path::Path;

const PART: &str = "upscaler";

/// By which names a file calls its tensors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// BasicSR's, which are ours: `body.0.rdb1.conv1`.
    Body,
    /// ESRGAN's: `RRDB_trunk.0.RDB1.conv1`.
    Trunk,
    /// Those of its first code, by places in a sequence: `model.1.sub.0.RDB1.conv1.0`.
    Sequence,
}

fn naming(shapes: &Shapes) -> Option<Naming> {
    let all = [Naming::Body, Naming::Trunk, Naming::Sequence];
    all.into_iter().find(|naming| shapes.contains_key(&naming.name("body.0.rdb1.conv1.weight", [0, 0])))
}

impl Naming {
    /// The file's name of a tensor, in a network of so many blocks and doublings.
    fn name(self, name: &str, [blocks, doublings]: [usize; 2]) -> String {
        let (layer, kind) = name.rsplit_once('.').unwrap_or((name, ""));
        let dense = |i: &str| i.replace("rdb", "RDB");
        let up = |layer: &str| layer.strip_prefix("conv_up").and_then(|i| i.parse::<usize>().ok());
        let layer = match (self, layer.strip_prefix("body.")) {
            (Self::Body, _) => layer.to_owned(),
            (Self::Trunk, Some(rest)) => format!("RRDB_trunk.{}", dense(rest)),
            (Self::Trunk, None) => match layer {
                "conv_body" => "trunk_conv".to_owned(),
                "conv_hr" => "HRconv".to_owned(),
                layer => layer.replace("conv_up", "upconv"),
            },
            (Self::Sequence, Some(rest)) => format!("model.1.sub.{}.0", dense(rest)),
            // After the blocks: for each doubling what enlarges, a convolution, an activation; then two more convolutions.
            (Self::Sequence, None) => match layer {
                "conv_first" => "model.0".to_owned(),
                "conv_body" => format!("model.1.sub.{blocks}"),
                "conv_hr" => format!("model.{}", 3 * doublings + 2),
                "conv_last" => format!("model.{}", 3 * doublings + 4),
                layer => up(layer).map_or_else(|| layer.to_owned(), |i| format!("model.{}", 3 * i)),
            },
        };
        format!("{layer}.{kind}")
    }
}

/// Whether a single file is one, or a network of another kind that enlarges pictures.
pub(super) fn is(shapes: &Shapes) -> bool {
    naming(shapes).is_some() || other(shapes).is_some()
}

/// Networks that enlarge pictures, and are not read.
fn other(shapes: &Shapes) -> Option<&'static str> {
    let dims = |name: &str| shapes.get(name).map(Vec::len);
    match () {
        // A convolution, then slopes, one a channel.
        () if dims("body.0.weight") == Some(4) && dims("body.1.weight") == Some(1) => {
            Some("SRVGGNetCompact (realesr-general, realesr-animevideo)")
        }
        () if dims("layers.0.residual_group.blocks.0.norm1.weight").is_some()
            && dims("conv_first.weight").is_some() =>
        {
            Some("a transformer (SwinIR, Swin2SR or HAT)")
        }
        () => None,
    }
}

/// Reads a single file.
pub(super) fn open_single(path: &Path, file: TensorFile, shapes: &Shapes) -> Result<Checkpoint, ImportError> {
    let refuse = |why: String| ImportError::NotAModel { path: path.into(), why };
    let Some(naming) = naming(shapes) else {
        let what = other(shapes).unwrap_or("another network");
        return Err(refuse(format!(
            "it is an upscaler, but {what}: only RRDBNet is read (ESRGAN, RealESRGAN_x4plus, _x4plus_anime_6B, _x2plus)"
        )));
    };
    let network = detect(shapes, naming).map_err(|why| refuse(format!("it is an upscaler (RRDBNet), but {why}")))?;
    let counts = [network.blocks, network.doublings];
    let expected = expect::upscaler(&network).map_err(refused(path))?;
    let mut found = Found::new(vec![file]);
    found.take(path, PART, expected, 0..1, |name| vec![candidate(naming.name(name, counts), Form::Same)])?;
    found.left_over(0..1, |_| false)?;
    let info = UpscalerInfo { name: String::new(), license: String::new(), network };
    Ok(found.checkpoint(path, Format::SingleFile, Model::Upscaler(Box::new(info))))
}

/// What the tensors tell.
fn detect(shapes: &Shapes, naming: Naming) -> Result<RrdbNet, String> {
    let blocks = count(shapes, |i| naming.name(&format!("body.{i}.rdb1.conv1.weight"), [0, 0]));
    let doublings = count(shapes, |i| naming.name(&format!("conv_up{}.weight", i + 1), [blocks, 0]));
    let size = |name: &str, at: usize| need(shapes, &naming.name(name, [blocks, doublings]), at);
    let (channels, inputs) = (size("conv_last.weight", 0)?, size("conv_first.weight", 1)?);
    let square = |u: &usize| channels * u * u == inputs;
    let unshuffle = (1..=1 << doublings.min(5)).find(square).ok_or_else(|| {
        format!("it reads {inputs} channels and makes {channels}: expected {channels}, 4 or 16 times as many")
    })?;
    let growth = size("body.0.rdb1.conv1.weight", 0)?;
    Ok(RrdbNet { channels, features: size("conv_first.weight", 0)?, growth, blocks, doublings, unshuffle })
}
