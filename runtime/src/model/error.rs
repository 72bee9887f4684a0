//! What can be wrong with a model's file, and with what is asked of the model.

use crate::dist::DistError;
use crate::plan::ExecError;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A file that is in order as a file, but not as a model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file's model is of another kind than this version runs.
    #[error("{key} is {found}, this version runs {expected}: use a newer version, or another model")]
    Unsupported {
        /// The metadata key.
        key: &'static str,
        /// What the file says.
        found: String,
        /// What would be understood.
        expected: &'static str,
    },
    /// A model whose texts a language model reads, in a build without those.
    #[error(
        "{key}: a language model reads this model's texts, and this build has none: use one with the feature `language` of \
         nijimi-runtime"
    )]
    NoLanguage {
        /// The metadata key that says so.
        key: &'static str,
    },
    /// A file of another program.
    #[error(
        "it is a GGUF file of another program ({found}), whose tensors have other names and another order: if it is of \
         Stable Diffusion, make one of this program's with nijimi convert"
    )]
    Foreign {
        /// What it says of itself.
        found: String,
    },
    /// A setting of a network or of its noise that is not known.
    #[error(
        "{key}: this version does not know this setting, and would draw as if it were not there: use a newer version"
    )]
    UnknownKey {
        /// The metadata key.
        key: String,
    },
    /// Parts of a model that do not fit each other.
    #[error("{one} {found}, but {other} {expected}: they are not of one model, so take all files of one publication")]
    Joint {
        /// The one side, and what it has or needs: `the U-Net answers with`.
        one: &'static str,
        /// How much.
        found: String,
        /// The other side.
        other: &'static str,
        /// How much.
        expected: String,
    },
    /// A U-Net that reads other things than latents, or latents, mask and what the mask leaves.
    #[error(
        "the U-Net reads {found} channels: of latents of {latent} channels only {latent} (text to image), {depth} (depth), \
         {inpainting} (inpainting) and {editing} (editing by instruction) can be drawn, so models for enlarging cannot"
    )]
    Reads {
        /// Channels that it reads.
        found: usize,
        /// Those of the latents.
        latent: usize,
        /// Those of latents and depth.
        depth: usize,
        /// Those of latents, mask and masked latents.
        inpainting: usize,
        /// Those of latents and of the picture's latents.
        editing: usize,
    },
    /// Metadata that contradicts itself.
    #[error("{key} is {found}, must be {expected}")]
    Value {
        /// The metadata key.
        key: &'static str,
        /// What the file says.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A tensor that the network needs is not in the file.
    #[error("tensor {name} is missing: the network needs it with dimensions {expected:?}")]
    MissingTensor {
        /// The tensor.
        name: String,
        /// Its dimensions, fastest first.
        expected: [u64; 4],
    },
    /// A tensor that the network does not know.
    #[error("tensor {name} with dimensions {found:?} is not of this network: the file's configuration is wrong")]
    ExtraTensor {
        /// The tensor.
        name: String,
        /// Its dimensions, fastest first.
        found: [u64; 4],
    },
    /// A tensor of another shape than the network needs.
    #[error("tensor {name} has dimensions {found:?}, the network needs {expected:?}")]
    TensorShape {
        /// The tensor.
        name: String,
        /// Its dimensions, fastest first.
        found: [u64; 4],
        /// Those needed.
        expected: [u64; 4],
    },
    /// Bytes that may go before the model does, for a device that leaves the weights in them.
    #[error(
        "Device::CpuInPlace leaves the weights in the file's bytes: open them with File::new_static, or use Device::Cpu"
    )]
    NotStatic,
    /// An input or output that the graph does not have, or one that was not given.
    #[error("no {what} {name:?}: {}", ports(.known))]
    Port {
        /// `input` or `output`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Those that the graph has; none if it is one of them, and missing.
        known: Vec<String>,
    },
    /// A diffusion model and a classifier that do not belong together.
    #[error(
        "the diffusion model's {what} ({diffusion}) are not the classifier's ({classifier}): take a classifier that was \
             trained for this model"
    )]
    Pair {
        /// What differs: `pictures`, `values`, `noise` or `labels`.
        what: &'static str,
        /// The diffusion model's.
        diffusion: String,
        /// The classifier's.
        classifier: String,
    },
    /// A ControlNet, a T2I-Adapter or an IP-Adapter, and a U-Net to which it does not fit.
    #[error(
        "the {kind}'s {what} is {control}, the model's is {model}: take one that was trained for models of this kind"
    )]
    Control {
        /// `ControlNet`, `T2I-Adapter` or `IP-Adapter`.
        kind: &'static str,
        /// What differs, as `width of the text's states`.
        what: &'static str,
        /// Its own.
        control: String,
        /// The model's.
        model: String,
    },
    /// An IP-Adapter, and an image encoder that it was not trained with.
    #[error(
        "the IP-Adapter reads image states of width {adapter}, and this image encoder makes {encoder}: take the encoder that it was \
         trained with{whose}"
    )]
    ImageEncoder {
        /// The adapter's width.
        adapter: usize,
        /// The encoder's.
        encoder: usize,
        /// Which one that may be, in words; or nothing.
        whose: &'static str,
    },
    /// A tensor with a NaN or an infinity.
    #[error("tensor {name}: number {at} (from 0) is {value}: damaged, or from a training that diverged")]
    TensorValue {
        /// The tensor.
        name: String,
        /// Where in it.
        at: usize,
        /// What is there.
        value: f32,
    },
    /// Metadata that makes no distribution.
    #[error("{key}: {source}")]
    Dist {
        /// The metadata key.
        key: &'static str,
        /// What is wrong.
        source: DistError,
    },
    /// Metadata that makes no component of a mixture.
    #[error("{key}, component {component} (from 0): {source}")]
    Component {
        /// The metadata key.
        key: &'static str,
        /// The component.
        component: usize,
        /// What is wrong.
        source: DistError,
    },
    /// A tensor whose data cannot be used.
    #[error("tensor {name}: {source}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        source: ExecError,
    },
}

/// A request that cannot be served, or a run that failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A picture asked of a model that makes none.
    #[error("{kind} draws no pictures by itself: {instead}")]
    DrawsNothing {
        /// What it is.
        kind: &'static str,
        /// What it is for.
        instead: &'static str,
    },
    /// The model has no label of that name.
    #[error("no label {label:?}: {}", listing(.known))]
    UnknownLabel {
        /// What was asked for.
        label: String,
        /// The labels that exist.
        known: Vec<String>,
    },
    /// The model has no label of that number.
    #[error("label {label} of picture {picture} is not one of the model's {count}")]
    LabelRange {
        /// The picture, from 0.
        picture: usize,
        /// What was asked for.
        label: u32,
        /// How many labels the model has; 0 is an unconditional model.
        count: usize,
    },
    /// Something that another kind of model does.
    #[error("{what} is for {of}: leave it out")]
    NotOf {
        /// What was asked for.
        what: &'static str,
        /// What does it.
        of: &'static str,
    },
    /// A number out of its range.
    #[error("{what} is {found}, must be {expected}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What was asked for.
        found: String,
        /// What is possible.
        expected: String,
    },
    /// As many seeds as pictures are needed.
    #[error("{labels} labels and {seeds} seeds: give one of each a picture")]
    Lengths {
        /// How many labels.
        labels: usize,
        /// How many seeds.
        seeds: usize,
    },
    /// The session has no memory for guidance.
    #[error("guidance_scale {scale} needs a session made with guidance: set SessionOptions::guidance")]
    GuidanceNotPlanned {
        /// What was asked for.
        scale: f32,
    },
    /// Something that only a device does.
    #[error("the session runs on the CPU, and has no device to draw on: load the model for a GPU (Device::Gpu)")]
    NoDevice,
    /// Memory lent to a session on a device.
    #[error("the session works in its device's memory, and takes none that is lent: use Diffusion::session")]
    DeviceMemory,
    /// A run that takes more memory than it may, however it is done.
    #[error(transparent)]
    TooLarge(alloc::boxed::Box<TooLarge>),
    /// A NaN or an infinity: the weights are damaged, or the guidance is too strong.
    #[error("step {step} of {total}: {source}")]
    NotFinite {
        /// The step, from 1.
        step: usize,
        /// How many steps.
        total: usize,
        /// The operation.
        source: ExecError,
    },
}

/// The ports that exist, as a sentence.
fn ports(known: &[String]) -> String {
    if known.is_empty() {
        return "the graph needs it, so give it".into();
    }
    alloc::format!("the graph has {}", known.join(", "))
}

/// The labels that exist, as a sentence.
fn listing(labels: &[String]) -> String {
    if labels.is_empty() {
        return "the model knows none, so draw without one".into();
    }
    alloc::format!("the model knows {}", labels.join(", "))
}

/// A run that takes more memory than it may: what it takes in each way, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}: {} with all that it uses in memory{}{}{}, of {} that may be used; the most is the {stage}'s, with {} of \
         weights and {} of activations: use {remedy}",
    mb(*.resident), also(*.staged, "one part of it at a time"), also(*.tiled, "also decoding in tiles"),
    also(*.streamed, "also reading weights as they are used"),
    mb(*.allowed), mb(*.weights), mb(*.activations)
)]
pub struct TooLarge {
    /// The pictures.
    pub what: String,
    /// Bytes with all that the run uses in memory.
    pub resident: u64,
    /// Bytes with one part of the model at a time, if that may be.
    pub staged: Option<u64>,
    /// Bytes with small tiles, too, if that is less.
    pub tiled: Option<u64>,
    /// Bytes with weights read as they are used, too, if they can be.
    pub streamed: Option<u64>,
    /// Bytes that may be used.
    pub allowed: u64,
    /// The part that takes the most, in the least of these ways.
    pub stage: String,
    /// Bytes of its weights.
    pub weights: u64,
    /// Bytes of its activations.
    pub activations: u64,
    /// What would help.
    pub remedy: &'static str,
}

/// Bytes for people.
fn mb(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn also(bytes: Option<u64>, how: &str) -> String {
    bytes.map_or_else(String::new, |bytes| format!(", {} with {how}", mb(bytes)))
}
