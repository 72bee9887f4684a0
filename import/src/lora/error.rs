//! What a LoRA can have against it.

use std::path::PathBuf;

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
        "{}: the tensor {name} is of {form}: only LoRA and LoCon, pairs of two factors, are merged, so take one of these, or \
         merge it into the model with the program that made it",
        path.display()
    )]
    Form { path: PathBuf, name: String, form: &'static str },
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
