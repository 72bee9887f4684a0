//! CLIP's image encoders, which IP-Adapters read: folders of transformers, and single files with its names.

use super::checkpoint::{Checkpoint, Format, Found, Options};
use super::config::Model;
use super::detect::{Shapes, count, has, need};
use super::error::{ImportError, refused};
use super::json::Json;
use super::names::{Candidate, Form, candidate};
use super::tensor_file::TensorFile;
use super::{expect, files};
use nijimi_runtime::raw::graph::Activation;
use nijimi_runtime::raw::nn::{ClipText, ClipVision};
use serde_json::json;
use std::path::Path;

const PART: &str = "image_encoder";
/// `model_type` of its `config.json`.
pub(super) const TYPE: &str = "clip_vision_model";
const PATCHES: &str = "vision_model.embeddings.patch_embedding.weight";
/// Of all that were published.
const HEADS: usize = 16;
/// Width of OpenAI's ViT-L/14, whose function is another than OpenCLIP's.
const VIT_L: usize = 1024;

/// Reads a folder with a `config.json` of this type.
pub(super) fn open_folder(path: &Path, json: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let config = parse(json)?;
    checkpoint(path, Format::Diffusers, config, files::open(path, options.variant.as_deref())?)
}

/// Its `config.json`; what it does not say is transformers' default.
fn parse(json: &Json) -> Result<ClipVision, ImportError> {
    let activation = ClipText::activation_of(json.str("hidden_act", "quick_gelu")?);
    json.only("num_channels", json!(3))?;
    let (width, heads) = (json.size("hidden_size", Some(768))?, json.size("num_attention_heads", Some(12))?);
    if !width.is_multiple_of(heads) {
        return Err(json.wrong("num_attention_heads", format!("a divisor of the width {width}")));
    }
    Ok(ClipVision {
        size: json.size("image_size", Some(224))?,
        patch: json.size("patch_size", Some(32))?,
        width,
        layers: json.size("num_hidden_layers", Some(12))?,
        heads,
        hidden: json.size("intermediate_size", Some(3072))?,
        activation: activation.ok_or_else(|| json.wrong("hidden_act", "\"quick_gelu\" or \"gelu\""))?,
        eps: json.number("layer_norm_eps", 1e-5)? as f32,
        projection: json.size("projection_dim", Some(512))?,
    })
}

/// Whether a single file is one. A file that has CLIP's text encoder too is one of those.
pub(super) fn is(shapes: &Shapes) -> bool {
    shapes.contains_key(PATCHES) && !has(shapes, "text_model.")
}

/// Reads a single file.
pub(super) fn open_single(path: &Path, file: TensorFile, shapes: &Shapes) -> Result<Checkpoint, ImportError> {
    let refuse =
        |why: String| ImportError::NotAModel { path: path.into(), why: format!("it is an image encoder, but {why}") };
    checkpoint(path, Format::SingleFile, detect(shapes).map_err(refuse)?, vec![file])
}

fn checkpoint(
    path: &Path,
    format: Format,
    config: ClipVision,
    files: Vec<TensorFile>,
) -> Result<Checkpoint, ImportError> {
    let all = 0..files.len();
    let mut found = Found::new(files);
    found.take(path, PART, expect::image_encoder(&config).map_err(refused(path))?, all.clone(), names)?;
    // A list of numbers from 0, which older files have.
    found.left_over(all, |name| name == "vision_model.embeddings.position_ids")?;
    Ok(found.checkpoint(path, format, Model::ImageEncoder(Box::new(config))))
}

/// A vector where a table of one row is expected, and a convolution of whole patches where a matrix is.
fn names(name: &str) -> Vec<Candidate> {
    match name {
        "vision_model.embeddings.class_embedding.weight" => {
            vec![candidate("vision_model.embeddings.class_embedding", Form::Flat)]
        }
        PATCHES => vec![candidate(PATCHES, Form::Flat)],
        _ => vec![candidate(name, Form::Same)],
    }
}

/// What the tensors tell.
fn detect(shapes: &Shapes) -> Result<ClipVision, String> {
    let size = |name: &str, at: usize| need(shapes, name, at);
    let layer = |i: usize| format!("vision_model.encoder.layers.{i}.mlp.fc1.weight");
    let (width, patch) = (size(PATCHES, 0)?, size(PATCHES, 3)?);
    let places = size("vision_model.embeddings.position_embedding.weight", 0)?;
    let side = (places - 1).isqrt();
    if !width.is_multiple_of(HEADS) || side * side + 1 != places {
        return Err(format!(
            "its width {width} is no {HEADS} heads, or its {places} places are no square: take the folder that has its config.json"
        ));
    }
    Ok(ClipVision {
        size: side * patch,
        patch,
        width,
        layers: count(shapes, layer),
        heads: HEADS,
        hidden: size(&layer(0), 0)?,
        activation: if width == VIT_L { Activation::QuickGelu } else { Activation::Gelu },
        eps: 1e-5,
        projection: size("visual_projection.weight", 0)?,
    })
}
