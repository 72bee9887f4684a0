//! What lies at a path, told from headers alone: a checkpoint, whole or in part, or what is added to one.

use super::checkpoint::{Checkpoint, Format, Options};
use super::config::{Family, Language};
use super::detect::{self, Detected, Shapes, UNET};
use super::error::ImportError;
use super::parts::{self, Part};
use super::seems::Seems;
use super::tensor_file::{Entry, TensorFile};
use super::{describe, language, llama, open, scales, sd3, single};
use nijimi_runtime::model::FirstStage;
use nijimi_runtime::raw::nn::{ClipText, Denoiser};
use std::fs;
use std::path::{Path, PathBuf};

/// What it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Kind {
    /// All of a model's networks.
    Whole(Box<Checkpoint>),
    /// A model of this family without some of its parts, which may be files of their own.
    Partial(Family, Box<Denoiser>),
    /// An autoencoder alone.
    Vae(Box<FirstStage>),
    /// A text encoder alone.
    Text(Box<ClipText>),
    /// A language model that reads texts alone, as it is given with the part's option.
    Language(Part, Box<Language>),
    /// What is added to a model by `--lora`.
    Lora,
    /// Words for a model: vectors of these widths.
    Embedding(Vec<usize>),
}

/// Tensors of one part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    /// The part: `unet`, `vae`, `text_encoder`, …; empty of what has none.
    pub part: String,
    /// Its tensors.
    pub tensors: usize,
    /// Their numbers.
    pub parameters: u64,
    /// Their bytes in the file.
    pub bytes: u64,
    /// Numbers by type, as the file calls these, the most first.
    pub types: Vec<(String, u64)>,
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// A network.
    Part(Part),
    /// The vocabulary of the text encoders.
    Vocabulary,
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// What it is.
    pub kind: Kind,
    /// Whether it is a folder or a file.
    pub format: Format,
    /// Whether its file is GGUF.
    pub is_gguf: bool,
    /// Its files of tensors.
    pub files: Vec<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
    /// Its parts, in the order of our file.
    pub parts: Vec<Counted>,
    /// What a run needs beside it.
    pub missing: Vec<Missing>,
    /// What had to be guessed, or is not obeyed.
    pub notes: Vec<String>,
}

impl Survey {
    /// Looks at a folder or a file. But for one vector, which tells what a 2.x model predicts, no numbers are read.
    ///
    /// # Errors
    /// What is wrong with it, or what it seems to be where it is nothing that is known.
    pub fn of(path: impl AsRef<Path>) -> Result<Self, ImportError> {
        let (path, options) = (path.as_ref(), Options::default());
        let mut checkpoint = match open::networks(path, &options) {
            Ok(checkpoint) => checkpoint,
            Err(e @ ImportError::NotAModel { .. }) if !path.is_dir() => return apart(path, e),
            Err(e) => return Err(e),
        };
        let mut missing = Vec::new();
        match single::vocabulary(&mut checkpoint, &options) {
            Ok(()) => checkpoint.notes.extend(describe::check(&checkpoint)?),
            Err(ImportError::MissingFile { .. }) => missing.push(Missing::Vocabulary),
            Err(e) => return Err(e),
        }
        let mut parts = Vec::new();
        for tensor in &checkpoint.tensors {
            let part = tensor.name.split('.').next().unwrap_or_default();
            let entry = &checkpoint.files[tensor.file].tensors()[&tensor.stored_name];
            count(&mut parts, part, entry, tensor.shape.iter().product::<usize>() as u64);
        }
        let files: Vec<PathBuf> = checkpoint.files.iter().map(|file| file.path().into()).collect();
        Ok(Self {
            format: checkpoint.format,
            is_gguf: checkpoint.files.iter().any(TensorFile::is_gguf),
            bytes: bytes(&files),
            files,
            parts,
            missing,
            notes: std::mem::take(&mut checkpoint.notes),
            kind: Kind::Whole(Box::new(checkpoint)),
        })
    }
}

/// A file that is no whole model: a part of one, or what is added to one; else it is refused as it was.
fn apart(path: &Path, refused: ImportError) -> Result<Survey, ImportError> {
    let file = scales::open(path)?;
    let own = file.shapes();
    let wrong = |why: String| ImportError::NotAModel { path: path.into(), why };
    let mut survey = Survey {
        kind: Kind::Lora,
        format: Format::SingleFile,
        is_gguf: file.is_gguf(),
        files: vec![path.into()],
        bytes: bytes(&[path.into()]),
        parts: Vec::new(),
        missing: Vec::new(),
        notes: Vec::new(),
    };
    let seems = Seems::of(&own);
    let named = if parts::is_unet(&own) { parts::assemble(file, &Options::default())?.swap_remove(0) } else { file };
    let shapes = named.shapes();
    if detect::has(&shapes, UNET) {
        // What is there is right, or else that is why the whole is refused.
        let Ok(Detected { family, denoiser, vae, text, text_2, language }) = detect::parts(&shapes, false) else {
            return Err(refused);
        };
        let lacks = [
            (Part::ClipL, text.is_none() && !family.reads_language()),
            (Part::ClipG, (family == Family::Sdxl || family.is_sd3()) && text_2.is_none()),
            (Part::Llm, family.reads_language() && language.is_none()),
            (Part::Vae, vae.is_none()),
        ];
        survey.missing = lacks.into_iter().filter(|(_, lacks)| *lacks).map(|(part, _)| Missing::Part(part)).collect();
        if survey.missing.is_empty() {
            return Err(refused);
        }
        survey.missing.push(Missing::Vocabulary);
        survey.kind = Kind::Partial(family, denoiser.into());
        survey.parts = counted(&named, |name| Part::ALL.into_iter().find(|part| part.has(name)).map(Part::name));
        return Ok(survey);
    }
    let (kind, part) = match seems {
        Seems::Lora => (Kind::Lora, ""),
        Seems::Embedding => (Kind::Embedding(own.values().filter_map(|shape| shape.last().copied()).collect()), ""),
        Seems::Vae => {
            let shapes = parts::open(Part::Vae, path, false)?.shapes();
            let vae =
                detect::vae(&shapes, Family::Sd1).and_then(|vae| vae.ok_or("it is no autoencoder of these".into()));
            (Kind::Vae(vae.map_err(wrong)?.into()), "vae")
        }
        Seems::Text => {
            (Kind::Text(text(&parts::open(Part::ClipL, path, false)?.shapes()).map_err(wrong)?.into()), "text_encoder")
        }
        Seems::T5 | Seems::Llm => {
            let part = if seems == Seems::T5 { Part::T5 } else { Part::Llm };
            let file = parts::open(part, path, false)?;
            let shapes = file.shapes();
            let language = match part {
                Part::T5 => sd3::t5(&shapes).map(|t5| t5.map(Language::T5)),
                // Which states are taken, the model decides that it belongs to.
                _ => language::qwen3(&shapes, |layers| Ok(vec![layers])).map(|of| of.map(Language::Qwen3)),
            };
            let language = language.and_then(|of| of.ok_or("nothing is there".into()));
            let language = language.map_err(|why| wrong(format!("{}, of which {why}", seems.words())))?;
            if let Some(llama) = file.llama() {
                llama.check(path, llama::of(&language), &[])?;
            }
            (Kind::Language(part, language.into()), part.name())
        }
        Seems::Transformer(_) | Seems::Unknown => return Err(refused),
    };
    survey.kind = kind;
    survey.parts = counted(&named, |_| Some(part));
    Ok(survey)
}

/// A text encoder that stands where SD 1.x's would, by either program's names.
fn text(shapes: &Shapes) -> Result<ClipText, String> {
    let [open_clip, transformers] = ["cond_stage_model.model.", "cond_stage_model.transformer."];
    match detect::has(shapes, open_clip) {
        true => detect::open_clip(shapes, open_clip, false),
        false => detect::transformers(shapes, transformers),
    }
}

fn bytes(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|path| fs::metadata(path).ok()).map(|about| about.len()).sum()
}

/// All tensors of a file, by part; those of none last.
fn counted<'a>(file: &TensorFile, part: impl Fn(&str) -> Option<&'a str>) -> Vec<Counted> {
    let mut parts = Vec::new();
    for (name, entry) in file.tensors() {
        count(&mut parts, part(name).unwrap_or_default(), entry, entry.elements());
    }
    parts.sort_by_key(|of| of.part.is_empty());
    parts
}

/// Adds `parameters` of a tensor's numbers to those of its part.
fn count(parts: &mut Vec<Counted>, part: &str, entry: &Entry, parameters: u64) {
    let at = parts.iter().position(|of| of.part == part).unwrap_or_else(|| {
        parts.push(Counted { part: part.into(), ..Counted::default() });
        parts.len() - 1
    });
    let of = &mut parts[at];
    of.tensors += 1;
    of.parameters += parameters;
    // A third of a matrix is a third of its bytes.
    of.bytes += (u128::from(entry.bytes()) * u128::from(parameters) / u128::from(entry.elements().max(1))) as u64;
    match of.types.iter_mut().find(|(name, _)| *name == entry.dtype) {
        Some((_, sum)) => *sum += parameters,
        None => of.types.push((entry.dtype.clone(), parameters)),
    }
    of.types.sort_by_key(|(_, parameters)| std::cmp::Reverse(*parameters));
}
