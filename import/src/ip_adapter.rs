//! IP-Adapters: single files, as the original code (tencent-ailab/IP-Adapter) writes them.

use super::checkpoint::{Checkpoint, Format, Found};
use super::config::Model;
use super::detect::{Shapes, count, has, need};
use super::error::{ImportError, refused};
use super::expect;
use super::names::{Form, candidate};
use super::tensor_file::TensorFile;
use nijimi_runtime::raw::nn::{IpAdapter, IpProjection};
use std::path::Path;

const PART: &str = "ip";
const LATENTS: &str = "image_proj.latents";
/// Channels of a head of a resampler, whatever its width: no tensor tells them.
const HEAD_CHANNELS: usize = 64;

/// Whether a single file is one.
pub(super) fn is(shapes: &Shapes) -> bool {
    has(shapes, "ip_adapter.") || has(shapes, "image_proj.")
}

/// Reads a single file.
pub(super) fn open_single(path: &Path, file: TensorFile, shapes: &Shapes) -> Result<Checkpoint, ImportError> {
    let refuse =
        |why: String| ImportError::NotAModel { path: path.into(), why: format!("it is an IP-Adapter, but {why}") };
    let config = detect(shapes).map_err(refuse)?;
    let mut found = Found::new(vec![file]);
    let expected = expect::ip_adapter(&config).map_err(refused(path))?;
    found.take(path, PART, expected, 0..1, |name| match name.strip_suffix(".weight") {
        Some(LATENTS) => vec![candidate(LATENTS, Form::Flat)],
        _ => vec![candidate(name, Form::Same)],
    })?;
    found.left_over(0..1, |_| false)?;
    Ok(found.checkpoint(path, Format::SingleFile, Model::IpAdapter(Box::new(config))))
}

/// What the tensors tell.
fn detect(shapes: &Shapes) -> Result<IpAdapter, String> {
    let size = |name: &str, at: usize| need(shapes, name, at);
    let is = |name: &str| shapes.contains_key(name);
    let (projection, image_width, text_width) = match () {
        () if is("image_proj.proj.weight") => {
            let (all, width) = (size("image_proj.proj.weight", 0)?, size("image_proj.norm.weight", 0)?);
            (IpProjection::Linear { tokens: all / width }, size("image_proj.proj.weight", 1)?, width)
        }
        () if is("image_proj.proj.3.weight") => {
            (IpProjection::Perceptron, size("image_proj.proj.0.weight", 1)?, size("image_proj.proj.3.weight", 0)?)
        }
        () if is(LATENTS) && is("image_proj.layers.0.0.to_q.weight") => {
            let inner = size("image_proj.layers.0.0.to_q.weight", 0)?;
            if !inner.is_multiple_of(HEAD_CHANNELS) {
                return Err(format!("its resampler's {inner} channels are no heads of {HEAD_CHANNELS}"));
            }
            let projection = IpProjection::Resampler {
                tokens: size(LATENTS, 1)?,
                width: size(LATENTS, 2)?,
                layers: count(shapes, |i| format!("image_proj.layers.{i}.0.to_q.weight")),
                heads: inner / HEAD_CHANNELS,
                head_channels: HEAD_CHANNELS,
                hidden: size("image_proj.layers.0.1.1.weight", 0)?,
            };
            (projection, size("image_proj.proj_in.weight", 1)?, size("image_proj.proj_out.weight", 0)?)
        }
        () if has(shapes, "image_proj.perceiver_resampler.") || is("image_proj.norm.weight") => {
            return Err("of faces as another network sees them (FaceID, InsightFace), which is not read: take one that looks at \
                        pictures (ip-adapter, -plus, -plus-face, -full-face)"
                .into());
        }
        () => return Err("how it makes tokens of a picture (image_proj.*) is not known".into()),
    };
    // Every second one, of which none may be missing.
    let numbers = shapes.keys().filter_map(|name| name.strip_prefix("ip_adapter.")?.split('.').next()?.parse().ok());
    let attentions = numbers.max().map_or(0, |last: u16| usize::from(last).div_ceil(2));
    let channels = (0..attentions).map(|i| size(&format!("ip_adapter.{}.to_k_ip.weight", 2 * i + 1), 0));
    Ok(IpAdapter { projection, image_width, text_width, channels: channels.collect::<Result<_, _>>()? })
}
