//! The options of the commands.

use super::value::{Backend, Bytes, LoraFile, Place, dtype};
use argh::FromArgs;
use nijimi_runtime::quant::DType;
use std::path::PathBuf;

/// Lists the GPUs, and what runs shaders on the CPU.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"))]
pub struct Devices {}

/// Compares all that a GPU does with the CPU, and measures it. Ends with exit code 4 unless everything agrees.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(4, "There is no GPU, or it computes something else than the CPU."))]
pub struct SelfTest {
    /// the GPU of that number in nijimi devices (default: the best; where there is none, what runs shaders on the CPU)
    #[argh(option, arg_name = "n")]
    pub device: Option<usize>,
    /// shapes of large networks, as on a real GPU, also where shaders run on the CPU: takes minutes
    #[argh(switch)]
    pub large: bool,
}

/// Makes a weight file of a published checkpoint of Stable Diffusion 1.x, 2.x or SDXL, of a ControlNet or of a tiny
/// autoencoder (TAESD): a diffusers folder, or a single .safetensors file.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} stable-diffusion-v1-5/ -o sd15-q8_0.gguf --type q8_0",
    example = "{command_name} model.safetensors --tokenizer stable-diffusion-v1-5/tokenizer -o model.gguf",
    error_code(2, "The command line is wrong."),
    error_code(3, "The checkpoint is not what it must be, or the file cannot be written.")
)]
pub struct Convert {
    /// folder with a model_index.json (of a ControlNet or a tiny autoencoder: with a config.json), or .safetensors file
    #[argh(positional)]
    pub source: PathBuf,
    /// file to write
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: PathBuf,
    /// number format of the weights: f32, f16, bf16, q8_0 or q4_0 (default: f16). Norms and biases are f32; with q8_0 and
    /// q4_0, first and last convolutions, tables of positions, and rows that are no multiple of 32, are f16, and tables of
    /// tokens q8_0
    #[argh(option, long = "type", arg_name = "name", default = "String::from(\"f16\")")]
    pub kind: String,
    /// exception, as in "unet.*attn2=f16": a regular expression to be found in the names of tensors, and their format.
    /// May be repeated: the first that matches decides
    #[argh(option, arg_name = "regex=type")]
    pub tensor_type: Vec<String>,
    /// variant of a folder's files: fp16 for model.fp16.safetensors (default: none, or what is there)
    #[argh(option, arg_name = "name")]
    pub variant: Option<String>,
    /// folder of the vocabulary, which a single file has not: vocab.json and merges.txt, or tokenizer.json
    #[argh(option, arg_name = "folder")]
    pub tokenizer: Option<PathBuf>,
    /// epsilon, v_prediction or sample: what the network predicts (default: as the checkpoint says)
    #[argh(option, arg_name = "name")]
    pub prediction_type: Option<String>,
    /// name of the model (default: that of the folder or file)
    #[argh(option, arg_name = "text")]
    pub name: Option<String>,
}

/// Tells what a run would take, without running it: weights, memory and operations by stage, and the expected time.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} -m sd15-q8_0.gguf -W 768 -H 512 --steps 20",
    error_code(2, "The command line is wrong."),
    error_code(3, "A file is not what it must be, or the run does not fit into memory."),
    error_code(4, "A GPU is missing, or did not do what it was asked.")
)]
pub struct Plan {
    /// weight file of a model that reads prompts, or a checkpoint: a folder or a .safetensors file
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: PathBuf,
    /// width of the picture (default: the model's)
    #[argh(option, short = 'W', arg_name = "n")]
    pub width: Option<usize>,
    /// height of it
    #[argh(option, short = 'H', arg_name = "n")]
    pub height: Option<usize>,
    /// pictures (default: 1)
    #[argh(option, short = 'b', arg_name = "n", default = "1")]
    pub batch: usize,
    /// number of steps (default: 20)
    #[argh(option, arg_name = "n")]
    pub steps: Option<usize>,
    /// scale of guidance: 1, without any, takes half the time of a step (default: 7)
    #[argh(option, arg_name = "x")]
    pub cfg_scale: Option<f32>,
    /// the sampler: some evaluate the network twice a step (default: the model's)
    #[argh(option, arg_name = "name")]
    pub sampling_method: Option<String>,
    /// init image, of which only the size counts: the encoder runs, too
    #[argh(option, short = 'i', arg_name = "file")]
    pub init_img: Option<PathBuf>,
    /// model that reads a further picture, a ControlNet
    #[argh(option, arg_name = "file")]
    pub control_net: Option<PathBuf>,
    /// tiny autoencoder (TAESD)
    #[argh(option, arg_name = "file")]
    pub taesd: Option<PathBuf>,
    /// decode in overlapping tiles
    #[argh(switch)]
    pub vae_tiling: bool,
    /// a LoRA to add to the model. May be repeated
    #[argh(option, arg_name = "file[:x]")]
    pub lora: Vec<LoraFile>,
    /// auto, cpu or gpu (default: auto, a GPU if there is one, or else the CPU)
    #[argh(option, arg_name = "name")]
    pub backend: Option<Backend>,
    /// the GPU of that number in nijimi devices
    #[argh(option, arg_name = "n")]
    pub device: Option<usize>,
    /// threads of the CPU (default: one for each core)
    #[argh(option, short = 't', arg_name = "n", default = "0")]
    pub threads: usize,
    /// number format of the weights of a checkpoint (default: f16)
    #[argh(option, long = "type", arg_name = "name", from_str_fn(dtype))]
    pub kind: Option<DType>,
    /// folder of the vocabulary, which a checkpoint of a single file has not
    #[argh(option, arg_name = "folder")]
    pub tokenizer: Option<PathBuf>,
    /// memory that may be used, as 4G or 800M (default: what is free)
    #[argh(option, arg_name = "size")]
    pub memory_limit: Option<Bytes>,
    /// keep all parts of the model that the run uses in memory
    #[argh(switch)]
    pub stay_resident: bool,
}

impl Plan {
    /// Where the run would be.
    pub fn place(&self) -> Place {
        Place::new(self.device, self.backend)
    }
}

/// Tells what a weight file is: its system, what it draws, its weights and how it was made. Of a PNG picture, tells what
/// it was drawn with.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(3, "The file is not what it must be."))]
pub struct Inspect {
    /// weight file (default: the one that is part of the program), or PNG picture
    #[argh(positional)]
    pub file: Option<PathBuf>,
    /// list all metadata
    #[argh(switch)]
    pub keys: bool,
    /// list all tensors
    #[argh(switch)]
    pub tensors: bool,
}

/// Evaluates the log density (natural logarithm) of rows of numbers under a model that has one, and prints the rows
/// with it as CSV; the sum goes to stderr.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(3, "A file is not what it must be."))]
pub struct Density {
    /// weight file
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: PathBuf,
    /// rows of numbers, separated by commas or white space, with or without a line of names (default: standard input)
    #[argh(positional)]
    pub data: Option<PathBuf>,
    /// CSV file for the result (default: printed)
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: Option<PathBuf>,
}
