//! What a checkpoint can have against it.

use super::lora::LoraError;
use nijimi_runtime::gguf::{FileError, WriteError};
use nijimi_runtime::quant::QuantError;
use std::path::{Path, PathBuf};

/// Why a checkpoint cannot be imported: each says what was wrong, in which file, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum ImportError {
    /// A file cannot be opened, read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A Python pickle.
    #[error(
        "{} is a Python pickle, which can run any program when it is read, so it never is: download the model as \
         .safetensors, or convert it with a tool that you trust with your machine",
        path.display()
    )]
    Pickle { path: PathBuf },
    /// A file without contents.
    #[error("{} is empty: download it again", path.display())]
    Empty { path: PathBuf },
    /// The header of a `.safetensors` file.
    #[error("{} is not a sound .safetensors file: {why}", path.display())]
    Safetensors { path: PathBuf, why: String },
    /// A configuration or a vocabulary that is not JSON, or another kind of JSON.
    #[error("{}: {why}", path.display())]
    Json { path: PathBuf, why: String },
    /// Neither a pipeline folder nor a checkpoint of Stable Diffusion.
    #[error("{} is no model that can be imported: {why}", path.display())]
    NotAModel { path: PathBuf, why: String },
    /// A part of a pipeline folder.
    #[error("{} is missing: {remedy}", path.display())]
    MissingFile { path: PathBuf, remedy: &'static str },
    /// A setting that this version cannot honour.
    #[error("{}: {key} is {found}, expected {expected}", path.display())]
    Config { path: PathBuf, key: String, found: String, expected: String },
    /// A tensor that the model needs.
    #[error("{} lacks the tensor {name} of shape {expected:?}: the download is not complete, or of another model", path.display())]
    MissingTensor { path: PathBuf, name: String, expected: Vec<usize> },
    /// A tensor that no part of the model takes.
    #[error("{}: nothing in this model takes the tensor {name} of shape {found:?}: it is a variant not supported", path.display())]
    ExtraTensor { path: PathBuf, name: String, found: Vec<usize> },
    /// A tensor of another shape than the configuration says.
    #[error("{}: the tensor {name} has the shape {found:?}, expected {expected:?}", path.display())]
    Shape { path: PathBuf, name: String, found: Vec<usize>, expected: Vec<usize> },
    /// Numbers of a kind that is not read.
    #[error("{}: the tensor {name} is stored as {found}: only F32, F16 and BF16 are read, so convert it to one of them", path.display())]
    DType { path: PathBuf, name: String, found: String },
    /// Numbers that cannot be stored.
    #[error("{}: the tensor {name} of {stored}: {source}", path.display())]
    Values { path: PathBuf, name: String, stored: String, source: QuantError },
    /// A pattern of `--tensor-type`.
    #[error("the tensor pattern {pattern:?}: {why}")]
    Pattern { pattern: String, why: String },
    /// A LoRA that cannot be added.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// Something that our file cannot hold.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Adds to an [`std::io::Error`] what was tried on which path.
pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImportError {
    move |source| ImportError::File(FileError { action, path: path.into(), source })
}
