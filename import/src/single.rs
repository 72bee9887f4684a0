//! Checkpoints of one file, with the names of the original code.

use super::checkpoint::{Checkpoint, Format, Options, take};
use super::config::{Family, Model};
use super::detect::{Shapes, detect, is_aside};
use super::error::ImportError;
use super::safetensors::Safetensors;
use super::tokenizer::Tokenizer;
use super::{control, expect, folder, names, tiny};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The second encoder of SDXL fills windows with "!" (its tokenizer's `pad_token`).
const SDXL_PAD_2: &str = "!";

/// Reads one `.safetensors` file.
pub(super) fn open(path: &Path, options: &Options) -> Result<Checkpoint, ImportError> {
    let file = Safetensors::open(path)?;
    let shapes: Shapes = file.tensors().iter().map(|(name, entry)| (name.clone(), entry.shape.clone())).collect();
    if !shapes.keys().any(|name| name.starts_with("model.diffusion_model.")) {
        if control::is(&shapes) {
            return control::open_single(path, file, &shapes);
        }
        if tiny::is(&shapes) {
            return tiny::open_single(path, file, &shapes);
        }
    }
    let mut config = detect(&shapes).map_err(|why| ImportError::NotAModel { path: path.into(), why })?;
    let mut notes = Vec::new();
    let stated = file.metadata().get("modelspec.prediction_type").or_else(|| file.metadata().get("prediction_type"));
    match (stated.map(String::as_str), config.family) {
        (Some("epsilon" | "eps"), _) => config.scheduler.prediction_type = "epsilon".into(),
        (Some("v" | "v_prediction"), _) => config.scheduler.prediction_type = "v_prediction".into(),
        (_, Family::Sd2) if options.prediction_type.is_none() => notes.push(
            "the file does not say what its network predicts: taken for that of 2.x at 768 pixels, v_prediction; if \
             pictures are noise, convert with --prediction-type epsilon"
                .to_string(),
        ),
        _ => {}
    }

    let files = vec![file];
    let (mut used, mut tensors) = (BTreeSet::new(), Vec::new());
    for (part, expected) in expect::parts(&config) {
        let names = |name: &str| names::original(part, name, &config);
        take(path, part, &expected, &files, 0..1, names, &mut used, &mut tensors)?;
    }
    let aside = folder::left_over(&files, &used, is_aside)?;

    let tokenizer = tokenizer(path, options)?;
    let tokenizer_2 = tokenizer.clone().filter(|_| config.text_2.is_some()).map(|mut second| {
        let pad = second.tokens.iter().position(|token| token == SDXL_PAD_2);
        second.pad = pad.map_or(second.pad, |pad| pad as u32);
        second
    });
    let format = Format::SingleFile;
    let checkpoint = Checkpoint {
        path: path.into(),
        format,
        model: Model::LatentDiffusion(Box::new(config)),
        tokenizer: Some(tokenizer).flatten(),
        tokenizer_2,
        files,
        tensors,
        aside,
        notes,
    };
    checkpoint.check_vocabulary()?;
    Ok(checkpoint)
}

/// CLIP's vocabulary, which such a file does not hold: where it is said to be, or beside the file, or in a pipeline folder
/// beside it that is called as the file up to a dot.
fn tokenizer(path: &Path, options: &Options) -> Result<Option<Tokenizer>, ImportError> {
    if let Some(folder) = &options.tokenizer {
        return Tokenizer::open(folder).map(Some);
    }
    let beside = path.parent().unwrap_or(Path::new("."));
    let mut folders: Vec<PathBuf> = vec![beside.join("tokenizer"), beside.into()];
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    folders.extend(
        name.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| beside.join(&name[..at]).join("tokenizer")),
    );
    match folders.iter().find(|folder| Tokenizer::is_in(folder)) {
        Some(folder) => Tokenizer::open(folder).map(Some),
        None => {
            let remedy = "a checkpoint of one file has no vocabulary: name the tokenizer folder of any pipeline of its family \
                          with --tokenizer, or put its vocab.json and merges.txt beside the file";
            Err(ImportError::MissingFile { path: beside.join("tokenizer"), remedy })
        }
    }
}
