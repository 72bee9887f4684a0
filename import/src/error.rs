//! What a checkpoint, and a LoRA, can have against it.

use nijimi_runtime::Error;
use nijimi_runtime::error::Fault;
use nijimi_runtime::gguf::{FileError, GgufError, WriteError};
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
    /// A GGUF file of another program.
    #[error("{}: {source}", path.display())]
    Gguf { path: PathBuf, source: GgufError },
    /// A part of a model in a file of its own.
    #[error("{}: {why}", path.display())]
    Part { path: PathBuf, why: String },
    /// Something else than a file holds was asked for.
    #[error("{}: {why}", path.display())]
    Range { path: PathBuf, why: String },
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
    #[error("{}: the tensor {name} is stored as {found}: read are F32, F16, BF16, FP8 (F8_E4M3, F8_E5M2) and, of GGUF, q4_0 to q8_0, q2_K to q6_K, iq4_nl and iq4_xs, so convert it to one of them", path.display())]
    DType { path: PathBuf, name: String, found: String },
    /// Numbers that cannot be stored.
    #[error("{}: the tensor {name} of {stored}: {source}", path.display())]
    Values { path: PathBuf, name: String, stored: String, source: QuantError },
    /// NaN or infinity.
    #[error(
        "{}: the tensor {name} of {stored}: {count} of its {of} values are NaN or infinite, value {at} is {value}: it is \
         damaged, or of a training that diverged",
        path.display()
    )]
    NotFinite { path: PathBuf, name: String, stored: String, at: usize, value: f32, count: usize, of: usize },
    /// A pattern of `--tensor-type`.
    #[error("the tensor pattern {pattern:?}: {why}")]
    Pattern { pattern: String, why: String },
    /// Sizes, settings or words that make no model.
    #[error("{}: {source}", path.display())]
    Model { path: PathBuf, source: Box<Error> },
    /// Vectors of a word that the model cannot be taught.
    #[error("{} cannot be an embedding of this model: {why}", path.display())]
    Embedding { path: PathBuf, why: String },
    /// A LoRA that cannot be added.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// Something that our file cannot hold.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ImportError {
    /// Whose fault it is: a file's, if not of what was asked for.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Pattern { .. } | Self::Lora(LoraError::Strength { .. }) => Fault::Request,
            _ => Fault::Input,
        }
    }
}

/// Adds to an [`std::io::Error`] what was tried on which path.
pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImportError {
    move |source| ImportError::File(FileError { action, path: path.into(), source })
}

/// Adds to what is wrong with a model where it is.
pub(super) fn refused<E: Into<Error>>(path: &Path) -> impl Fn(E) -> ImportError {
    move |source| match source.into() {
        Error::Write(e) => ImportError::Write(e),
        source => ImportError::Model { path: path.into(), source: Box::new(source) },
    }
}

/// Names that a message lists before it only counts.
pub(super) const LISTED: usize = 3;

/// Why a LoRA cannot be added to a model: each says what was wrong, in which file, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum LoraError {
    /// A strength that is NaN or infinite.
    #[error("the strength {strength} of {} is no number to multiply by: 1 is what it was trained at, 0 is nothing", path.display())]
    Strength { path: PathBuf, strength: f32 },
    /// A file without a single tensor of a LoRA.
    #[error("{} is no LoRA: none of its tensors is called as one, {first:?} for example", path.display())]
    NotALora { path: PathBuf, first: String },
    /// Another way of storing a change of weights.
    #[error(
        "{}: the tensor {name} is of {form}: LoRA, LoCon, LoHa, LoKr and DoRA are merged, so take one of these, or merge it into \
         the model with the program that made it",
        path.display()
    )]
    Form { path: PathBuf, name: String, form: &'static str },
    /// Tensors by names that no LoRA has.
    #[error(
        "{}: {count} of its {of} tensors have names that are not known ({}): without them it would be another LoRA",
        path.display(), listed(.names, *.count)
    )]
    Unknown { path: PathBuf, count: usize, of: usize, names: Vec<String> },
    /// A LoRA of another kind of network.
    #[error("{}: the module {module} is of {family}: take a LoRA that was trained for SD 1.x, 2.x or SDXL", path.display())]
    Family { path: PathBuf, module: String, family: &'static str },
    /// A part of a module without the others.
    #[error("{}: the module {module} has no {missing}: the download is not complete", path.display())]
    Half { path: PathBuf, module: String, missing: &'static str },
    /// Modules for which the model has no tensor.
    #[error(
        "{}: this model has no place for {count} of its {of} modules ({}): it is for another kind of model, or for a part \
         that this file lacks",
        path.display(), listed(.names, *.count)
    )]
    OtherModel { path: PathBuf, count: usize, of: usize, names: Vec<String> },
    /// A tensor that does not fit the model's, or its other half.
    #[error(
        "{}: the tensor {name} has the shape {found:?}, this model needs {expected:?}: it is for another kind of model",
        path.display()
    )]
    Shape { path: PathBuf, name: String, found: Vec<usize>, expected: Vec<usize> },
    /// A factor of a LoKr whose sides do not divide the layer's.
    #[error(
        "{}: the tensor {name} has the shape {found:?}, whose sides do not divide those of the layer, {layer:?}: it is for \
         another kind of model",
        path.display()
    )]
    Divide { path: PathBuf, name: String, found: Vec<usize>, layer: [usize; 2] },
    /// Two modules for one tensor of the model, or two tensors that are the same of one module.
    #[error("{}: {first} and {second} are both for {of}, which can have one: it is damaged", path.display())]
    Twice { path: PathBuf, first: String, second: String, of: String },
    /// NaN or infinity.
    #[error(
        "{}: number {at} (from 0) of the tensor {name} is {value}: damaged, or from a training that diverged",
        path.display()
    )]
    NotFinite { path: PathBuf, name: String, at: usize, value: f32 },
    /// What diffusers says of the training, in the header.
    #[error("{}: lora_adapter_metadata in its header: {why}", path.display())]
    Metadata { path: PathBuf, why: String },
}

/// The first names, and whether there are more.
fn listed(names: &[String], count: usize) -> String {
    let more = if count > names.len() { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}
