//! Textual inversions: files of vectors for a word that a model is to be taught.

use super::error::ImportError;
use super::tensor_file::TensorFile;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::Embedding;
use std::path::Path;

/// What A1111 calls the tensor of a file that its name gives a word to.
const BARE: &str = "emb_params";

/// Opens a `.safetensors` file of vectors for the model of `file`. `word` stands for them in a prompt; if none is given, it is
/// the tensor's name, of a file of diffusers (`<cat-toy>`), or else the file's, as in A1111 (`emb_params`, or for the two
/// encoders of SDXL `clip_l` and `clip_g`).
///
/// A tensor is `[vectors][width]`, or `[width]` of one vector.
///
/// # Errors
/// [`ImportError::Embedding`]: an embedding for another kind of model, more vectors than a window has room for, NaN, or a file
/// that is none. Otherwise what is wrong with the file as such.
pub fn embedding(path: impl AsRef<Path>, word: Option<&str>, file: &File<'_>) -> Result<Embedding, ImportError> {
    let path = path.as_ref();
    let refuse = |why: String| ImportError::Embedding { path: path.into(), why };
    let size = |key: &str| file.u32(key).ok().map(|n| n as usize);
    let widths: Vec<usize> =
        ["text_encoder", "text_encoder_2"].iter().filter_map(|part| size(&format!("nijimi.{part}.width"))).collect();
    let most = size("nijimi.text_encoder.positions").unwrap_or(0).saturating_sub(2);
    let opened = TensorFile::open(path)?;
    let names: Vec<&str> = opened.tensors().keys().map(String::as_str).collect();
    let (found, own): (Vec<&str>, _) = match names[..] {
        ["clip_g", "clip_l"] => (vec!["clip_l", "clip_g"], None),
        [name @ (BARE | "clip_l" | "clip_h" | "clip_g")] => (vec![name], None),
        [name] => (vec![name], Some(name)),
        [] => return Err(refuse("it has no tensors".into())),
        [first, ..] => {
            return Err(refuse(format!(
                "it has {} tensors, {first:?} for example, but an embedding has one, or clip_l and clip_g for SDXL: give one \
                 file for each word",
                names.len()
            )));
        }
    };
    let kind =
        |of: usize| if of == 2 { "two text encoders, as SDXL has" } else { "one text encoder, as SD 1.x and 2.x have" };
    if found.len() != widths.len() {
        let (of, has) = (kind(found.len()), kind(widths.len()));
        return Err(refuse(format!("it has vectors for {of}, this model has {has}: it is for another kind of model")));
    }
    let (mut vectors, mut counts) = (Vec::new(), Vec::new());
    for (name, width) in found.iter().zip(widths) {
        let shape = &opened.tensors()[*name].shape;
        let count = match shape[..] {
            [of] if of == width => 1,
            [count, of] if of == width && count > 0 => count,
            _ => {
                return Err(refuse(format!(
                    "the tensor {name} has the shape {shape:?}, but this model's vectors have {width} numbers: it is for \
                     another kind of model"
                )));
            }
        };
        if count > most {
            return Err(refuse(format!("it has {count} vectors, but a window of a prompt has room for {most} tokens")));
        }
        let mut values = Vec::new();
        opened.read(name, 0..count * width, &mut values)?;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let value = values[at];
            return Err(refuse(format!("number {at} (from 0) of the tensor {name} is {value}: it is damaged")));
        }
        vectors.push(values);
        counts.push(count);
    }
    if counts.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(refuse(format!(
            "it has {counts:?} vectors for the two text encoders: as many are needed for each"
        )));
    }
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let word = word.or(own).map_or_else(stem, str::to_owned);
    if word.trim().is_empty() {
        return Err(refuse("it has no name to stand for it: give a word".into()));
    }
    Ok(Embedding { word, vectors })
}
