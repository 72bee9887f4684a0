//! Checkpoints of one file, with the names of the original code.

use super::checkpoint::{Checkpoint, Format, Found, LanguageVocabulary, Options};
use super::config::{Family, Model};
use super::detect::{Shapes, UNET, detect, per_level};
use super::error::{ImportError, refused};
use super::tensor_file::TensorFile;
use super::tokenizer::Tokenizer;
use super::{aside, expect, flux2, header, llama, marks, names, parts, pieces};
use nijimi_runtime::raw::text::Pieces;
use std::path::{Path, PathBuf};

/// The second encoder of SDXL fills windows with "!" (its tokenizer's `pad_token`).
const SDXL_PAD_2: &str = "!";

/// Reads the networks of one file.
pub(super) fn open(path: &Path, file: TensorFile, options: &Options) -> Result<Checkpoint, ImportError> {
    let refuse = |why: String| ImportError::NotAModel { path: path.into(), why };
    let files = parts::assemble(file, options)?;
    let shapes: Shapes = files.iter().flat_map(TensorFile::shapes).collect();
    if let Some((name, why)) = aside::refused(&shapes) {
        return Err(refuse(format!("its tensor {name:?} says that {why}")));
    }
    let mut config = detect(&shapes).map_err(refuse)?;
    flux2::read_statistics(&files, flux2::EPS, &mut config)?;
    llama::obey(&files, &mut config)?;
    // What is said of a U-Net is said where it is.
    let mut notes = header::notes(&files[0]);
    marks::obey(files[0].path(), &files[0], &mut config, options.prediction_type.is_some(), &mut notes)?;

    let (all, per_level) = (0..files.len(), per_level(&shapes, UNET));
    let mut found = Found::new(files);
    for (part, expected) in expect::parts(&config).map_err(refused(path))? {
        found.take(path, part, expected, all.clone(), |name| names::original(part, name, &config, per_level))?;
    }
    found.left_over(all, aside::is)?;

    let found = found.checkpoint(path, Format::SingleFile, Model::TextToImage(Box::new(config)));
    Ok(Checkpoint { parts: options.parts.clone(), notes, ..found })
}

/// Gives a model of one file, if it reads prompts, the vocabulary that the file lacks.
pub(super) fn vocabulary(checkpoint: &mut Checkpoint, options: &Options) -> Result<(), ImportError> {
    let Some(config) = checkpoint.latent_diffusion().filter(|_| checkpoint.format == Format::SingleFile) else {
        return Ok(());
    };
    let (family, text_2, language) = (config.family, config.text_2, config.language.clone());
    // Of a file of llama.cpp its own.
    let own = match &options.tokenizer {
        None => checkpoint.files.iter().find_map(|file| file.llama().map(|llama| (file.path(), &llama.vocabulary))),
        Some(_) => None,
    };
    if family.reads_language() {
        checkpoint.language = Some(match own {
            Some((path, vocabulary)) => own_vocabulary(path, vocabulary)?,
            None => LanguageVocabulary::Qwen3(Tokenizer::open_bytes(&tokenizer_folder(&checkpoint.path, options)?)?),
        });
        return checkpoint.check_vocabulary();
    }
    let folder = tokenizer_folder(&checkpoint.path, options)?;
    let tokenizer = Tokenizer::open(&folder)?;
    checkpoint.tokenizer_2 = text_2.map(|_| second(&folder, &tokenizer)).transpose()?;
    let third = match (language, own) {
        (None, _) => None,
        (Some(_), Some((path, vocabulary))) => Some(own_vocabulary(path, vocabulary)?),
        (Some(_), None) => Some(LanguageVocabulary::T5(third(&folder)?)),
    };
    checkpoint.language = third;
    // The refiner's only one is SDXL's second.
    checkpoint.tokenizer = Some(if family == Family::SdxlRefiner { second(&folder, &tokenizer)? } else { tokenizer });
    checkpoint.check_vocabulary()
}

/// That of a file of llama.cpp.
fn own_vocabulary(
    path: &Path,
    vocabulary: &Result<LanguageVocabulary, String>,
) -> Result<LanguageVocabulary, ImportError> {
    vocabulary.clone().map_err(|why| {
        let why = format!("{why}: name the folder of the tokenizer with --tokenizer");
        ImportError::NotAModel { path: path.into(), why }
    })
}

/// That of Stable Diffusion 3's third encoder: a pipeline's own, or T5's beside the other.
fn third(folder: &Path) -> Result<Pieces, ImportError> {
    let own = folder.with_file_name("tokenizer_3");
    if pieces::is_in(&own) {
        return pieces::open(&own);
    }
    let remedy = "the checkpoint has the T5 text encoder, whose vocabulary is another than CLIP's: put T5's tokenizer.json into a \
                  folder tokenizer_3 beside the folder of the tokenizer";
    Err(ImportError::MissingFile { path: own.join("tokenizer.json"), remedy })
}

/// That of SDXL's second encoder: a pipeline's own, if the first is a pipeline's, or as it is published.
fn second(folder: &Path, first: &Tokenizer) -> Result<Tokenizer, ImportError> {
    let own = folder.with_file_name("tokenizer_2");
    if folder.ends_with("tokenizer") && Tokenizer::is_in(&own) {
        return Tokenizer::open(&own);
    }
    let pad = first.tokens.iter().position(|token| token == SDXL_PAD_2);
    Ok(Tokenizer { pad: pad.map_or(first.pad, |pad| pad as u32), ..first.clone() })
}

/// The folder of CLIP's vocabulary, which such a file does not hold: where it is said to be, or beside the file, or in a pipeline folder
/// beside it that is called as the file up to a dot.
fn tokenizer_folder(path: &Path, options: &Options) -> Result<PathBuf, ImportError> {
    if let Some(folder) = &options.tokenizer {
        return Ok(folder.clone());
    }
    let beside = path.parent().unwrap_or(Path::new("."));
    let mut folders: Vec<PathBuf> = vec![beside.join("tokenizer"), beside.into()];
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    folders.extend(
        name.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| beside.join(&name[..at]).join("tokenizer")),
    );
    match folders.into_iter().find(|folder| Tokenizer::is_in(folder)) {
        Some(folder) => Ok(folder),
        None => {
            let remedy = "a checkpoint of one file has no vocabulary: name the tokenizer folder of any pipeline of its family \
                          with --tokenizer, or put its vocab.json and merges.txt beside the file";
            Err(ImportError::MissingFile { path: beside.join("tokenizer"), remedy })
        }
    }
}
