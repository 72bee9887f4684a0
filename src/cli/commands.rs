//! The options of the commands.

use super::value::{
    Backend, Bytes, EmbeddingFile, HiresUpscaler, Layers, LoraFile, SkipOptions, dtype, enlargement, parts, place,
    prediction,
};
use argh::{ArgsInfo, FromArgs};
use nijimi_cli::number::{count, finite, index, interval, share, threads};
use nijimi_import::Part;
use nijimi_runtime::model::Place;
use nijimi_runtime::quant::DType;
use std::path::PathBuf;

/// Lists the GPUs, and drivers that run shaders on the CPU.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"))]
pub struct Devices {}

/// Compares everything a GPU computes with the CPU, and measures it. Exits with code 4 unless everything agrees.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(4, "No GPU was found, or its results differ from the CPU's."))]
pub struct SelfTest {
    /// GPU to test, by its number in nijimi devices (default: the best one, or else a driver that runs shaders on the CPU)
    #[argh(option, arg_name = "n", from_str_fn(index))]
    pub device: Option<usize>,
    /// use the shapes of large networks even where shaders run on the CPU; takes minutes
    #[argh(switch)]
    pub large: bool,
}

/// Converts a published checkpoint (Stable Diffusion 1.x, 2.x or SDXL, a ControlNet, a T2I-Adapter, an IP-Adapter or its image
/// encoder, a tiny autoencoder, TAESD, or an upscaler, ESRGAN) to a weight file. The checkpoint is a diffusers folder or a single
/// file: .safetensors, or GGUF of stable-diffusion.cpp or ComfyUI.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} stable-diffusion-v1-5/ -o sd15-q8_0.gguf --type q8_0",
    example = "{command_name} model.safetensors --tokenizer stable-diffusion-v1-5/tokenizer -o model.gguf",
    error_code(2, "The command line is wrong."),
    error_code(3, "The checkpoint is invalid, or the file cannot be written.")
)]
pub struct Convert {
    /// folder with a model_index.json (ControlNet, T2I-Adapter, image encoder or tiny autoencoder: a config.json), or .safetensors or GGUF file
    #[argh(positional)]
    pub source: PathBuf,
    /// file to write
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: PathBuf,
    /// number format of the weights: f32, f16, bf16, q8_0, q6_k, q5_k, q4_k or q4_0 (default: f16). Norms and biases stay f32.
    /// With q8_0 and less, the first and last convolutions, position tables, and rows whose length is not a multiple of 32
    /// are f16, and token tables are q8_0; so are rows of which q6_k, q5_k and q4_k have no whole blocks of 256
    #[argh(option, long = "type", arg_name = "name", default = "String::from(\"f16\")")]
    pub kind: String,
    /// format of some tensors, as in "unet.*attn2=f16": a regular expression that is searched for in tensor names, and their
    /// format. May be repeated; the first match counts
    #[argh(option, arg_name = "regex=type")]
    pub tensor_type: Vec<String>,
    /// variant of the folder's files, such as fp16 for model.fp16.safetensors (default: none, or the one that is there)
    #[argh(option, arg_name = "name")]
    pub variant: Option<String>,
    /// a U-Net in place of the checkpoint's: a .safetensors or GGUF file of one alone, or a checkpoint that has it
    #[argh(option, arg_name = "file")]
    pub unet: Option<PathBuf>,
    /// autoencoder in place of the checkpoint's, likewise
    #[argh(option, arg_name = "file")]
    pub vae: Option<PathBuf>,
    /// text encoder in place of the checkpoint's (of SDXL the first), likewise
    #[argh(option, arg_name = "file")]
    pub clip_l: Option<PathBuf>,
    /// SDXL's and Stable Diffusion 3's second text encoder in place of the checkpoint's, likewise
    #[argh(option, arg_name = "file")]
    pub clip_g: Option<PathBuf>,
    /// third text encoder (T5) of Stable Diffusion 3, which a checkpoint may lack, likewise
    #[argh(option, arg_name = "file")]
    pub t5xxl: Option<PathBuf>,
    /// text encoder (Qwen3) of Z-Image, which its files lack, likewise
    #[argh(option, arg_name = "file")]
    pub llm: Option<PathBuf>,
    /// folder with the vocabulary, which a single file lacks: vocab.json and merges.txt, or tokenizer.json
    #[argh(option, arg_name = "folder")]
    pub tokenizer: Option<PathBuf>,
    /// what the network predicts: epsilon, v_prediction or sample (default: what the checkpoint says)
    #[argh(option, arg_name = "name", from_str_fn(prediction))]
    pub prediction_type: Option<String>,
    /// name of the model (default: the name of the folder or file)
    #[argh(option, arg_name = "text")]
    pub name: Option<String>,
}

/// Enlarges a picture with an upscaler (ESRGAN, Real-ESRGAN): twice or four times its size, as the model does.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} picture.png -m RealESRGAN_x4plus.safetensors -o large.png",
    error_code(2, "The command line is wrong."),
    error_code(3, "A file is invalid, or a tile does not fit into memory."),
    error_code(4, "No GPU was found, or it failed.")
)]
pub struct Upscale {
    /// PNG or JPEG picture. What is transparent lies over white
    #[argh(positional)]
    pub picture: PathBuf,
    /// upscaler: weight file, or .safetensors file
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: PathBuf,
    /// PNG file to write
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: String,
    /// side of the tiles that the picture is cut into, in pixels (default: 160). Smaller ones take less memory, and more time
    #[argh(option, arg_name = "n", from_str_fn(count))]
    pub tile_size: Option<usize>,
    /// number format for the weights of a .safetensors file: f32, f16, bf16, q8_0, q6_k, q5_k, q4_k or q4_0 (default: f16). A
    /// weight file has its own
    #[argh(option, long = "type", arg_name = "name", from_str_fn(dtype))]
    pub kind: Option<DType>,
    /// auto, cpu or gpu (default: auto, a GPU if there is one, else the CPU)
    #[argh(option, arg_name = "name")]
    pub backend: Option<Backend>,
    /// GPU to use, by its number in nijimi devices
    #[argh(option, arg_name = "n", from_str_fn(index))]
    pub device: Option<usize>,
    /// CPU threads (default, and if 0 or negative: one per core)
    #[argh(option, short = 't', arg_name = "n", default = "0", from_str_fn(threads))]
    pub threads: usize,
    /// most memory to use, such as 4G or 800M (default: what is free)
    #[argh(option, arg_name = "size")]
    pub memory_limit: Option<Bytes>,
    /// report on the model, the machine, memory and time
    #[argh(switch, short = 'v')]
    pub verbose: bool,
}

impl Upscale {
    /// Where it would be.
    pub fn place(&self) -> Place {
        place(self.device, self.backend)
    }
}

/// Tells what a run would take, without running it: weights, memory and operations by stage, and the expected time. Only
/// file headers are read.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} -m sd15-q8_0.gguf -W 768 -H 512 --steps 20",
    error_code(2, "The command line is wrong."),
    error_code(3, "A file is invalid, or the run does not fit into memory."),
    error_code(4, "No GPU was found, or it failed.")
)]
pub struct Plan {
    /// weight file of a model that draws in steps, or a checkpoint: a folder, or a .safetensors or GGUF file
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: PathBuf,
    /// the prompt: a long one takes more memory
    #[argh(option, short = 'p', arg_name = "prompt")]
    pub prompt: Option<String>,
    /// what the picture should not show: it counts as well
    #[argh(option, short = 'n', arg_name = "prompt")]
    pub negative_prompt: Option<String>,
    /// width of the picture (default: that of -i, or the model's)
    #[argh(option, short = 'W', arg_name = "n", from_str_fn(count))]
    pub width: Option<usize>,
    /// its height
    #[argh(option, short = 'H', arg_name = "n", from_str_fn(count))]
    pub height: Option<usize>,
    /// pictures (default: 1)
    #[argh(option, short = 'b', arg_name = "n", default = "1", from_str_fn(count))]
    pub batch: usize,
    /// number of steps (default: the model's, or 20)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    pub steps: Option<usize>,
    /// guidance scale; 1 is no guidance, and halves the time of a step (default: the model's, or 7)
    #[argh(option, arg_name = "x", from_str_fn(finite))]
    pub cfg_scale: Option<f32>,
    /// sampler: some evaluate the network twice per step (default: the model's)
    #[argh(option, arg_name = "name")]
    pub sampling_method: Option<String>,
    /// skip-layer guidance, away from what the network answers without some of its blocks, 2.8 for instance: fewer broken shapes, for
    /// half a call more at its steps (Stable Diffusion 3.5; default: none)
    #[argh(option, arg_name = "x", from_str_fn(finite))]
    pub slg_scale: Option<f32>,
    /// the blocks that it leaves out, from 0 (default: 7,8,9)
    #[argh(option, arg_name = "list")]
    pub skip_layers: Option<Layers>,
    /// share of the steps before it begins, 0 to 1 (default: 0.01)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub skip_layer_start: Option<f64>,
    /// share of the steps at which it ends, 0 to 1 (default: 0.2)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub skip_layer_end: Option<f64>,
    /// evaluate the whole network for the first of n steps alone (default: 1)
    #[argh(option, arg_name = "n", from_str_fn(interval))]
    pub cache: Option<usize>,
    /// init image: its size counts, and the encoder runs as well
    #[argh(option, short = 'i', arg_name = "file")]
    pub init_img: Option<PathBuf>,
    /// a second pass over the picture, so many times as large
    #[argh(option, arg_name = "x", from_str_fn(enlargement))]
    pub hires: Option<f64>,
    /// how much of the enlarged picture to replace, 0 to 1 (default: 0.5)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub hires_strength: Option<f64>,
    /// how it is enlarged: latent, lanczos, or by an upscaler (ESRGAN), a weight file or .safetensors file (default: latent)
    #[argh(option, arg_name = "file")]
    pub hires_upscaler: Option<HiresUpscaler>,
    /// SDXL's refiner, which takes the last steps
    #[argh(option, arg_name = "file")]
    pub refiner: Option<PathBuf>,
    /// the share of the noise levels after which the refiner goes on, 0 to 1 (default: 0.8)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub refiner_start: Option<f64>,
    /// a ControlNet or a T2I-Adapter. May be repeated
    #[argh(option, arg_name = "file")]
    pub control_net: Vec<PathBuf>,
    /// an IP-Adapter
    #[argh(option, arg_name = "file")]
    pub ip_adapter: Option<PathBuf>,
    /// a picture that it is shown; only how many there are counts (default: 1). May be repeated
    #[argh(option, arg_name = "file")]
    pub ip_adapter_image: Vec<PathBuf>,
    /// picture that is looked at while one is drawn (FLUX.2-klein); may be repeated
    #[argh(option, arg_name = "file")]
    pub ref_image: Vec<PathBuf>,
    /// the image encoder that the IP-Adapter reads
    #[argh(option, arg_name = "file")]
    pub clip_vision: Option<PathBuf>,
    /// tiny autoencoder (TAESD)
    #[argh(option, arg_name = "file")]
    pub taesd: Option<PathBuf>,
    /// decode in overlapping tiles
    #[argh(switch)]
    pub vae_tiling: bool,
    /// a LoRA to apply to the model. May be repeated
    #[argh(option, arg_name = "file[:x]")]
    pub lora: Vec<LoraFile>,
    /// a textual inversion, and its word. May be repeated
    #[argh(option, arg_name = "file[:word]")]
    pub embedding: Vec<EmbeddingFile>,
    /// auto, cpu or gpu (default: auto, a GPU if there is one, else the CPU)
    #[argh(option, arg_name = "name")]
    pub backend: Option<Backend>,
    /// GPU to use, by its number in nijimi devices
    #[argh(option, arg_name = "n", from_str_fn(index))]
    pub device: Option<usize>,
    /// CPU threads (default, and if 0 or negative: one per core)
    #[argh(option, short = 't', arg_name = "n", default = "0", from_str_fn(threads))]
    pub threads: usize,
    /// number format for the weights of a checkpoint (default: f16)
    #[argh(option, long = "type", arg_name = "name", from_str_fn(dtype))]
    pub kind: Option<DType>,
    /// a U-Net in place of the checkpoint's: a .safetensors or GGUF file of one alone, or a checkpoint that has it
    #[argh(option, arg_name = "file")]
    pub unet: Option<PathBuf>,
    /// autoencoder in place of the checkpoint's, likewise
    #[argh(option, arg_name = "file")]
    pub vae: Option<PathBuf>,
    /// text encoder in place of the checkpoint's (of SDXL the first), likewise
    #[argh(option, arg_name = "file")]
    pub clip_l: Option<PathBuf>,
    /// SDXL's and Stable Diffusion 3's second text encoder in place of the checkpoint's, likewise
    #[argh(option, arg_name = "file")]
    pub clip_g: Option<PathBuf>,
    /// third text encoder (T5) of Stable Diffusion 3, which a checkpoint may lack, likewise
    #[argh(option, arg_name = "file")]
    pub t5xxl: Option<PathBuf>,
    /// text encoder (Qwen3) of Z-Image, which its files lack, likewise
    #[argh(option, arg_name = "file")]
    pub llm: Option<PathBuf>,
    /// folder with the vocabulary, which a single-file checkpoint lacks
    #[argh(option, arg_name = "folder")]
    pub tokenizer: Option<PathBuf>,
    /// variant of a checkpoint folder's files, such as fp16 for model.fp16.safetensors
    #[argh(option, arg_name = "name")]
    pub variant: Option<String>,
    /// most memory to use, such as 4G or 800M (default: what is free)
    #[argh(option, arg_name = "size")]
    pub memory_limit: Option<Bytes>,
    /// keep every part of the model that the run uses in memory
    #[argh(switch)]
    pub stay_resident: bool,
}

impl Convert {
    /// Parts with files of their own.
    pub fn parts(&self) -> Vec<(Part, PathBuf)> {
        parts([&self.unet, &self.vae, &self.clip_l, &self.clip_g, &self.t5xxl, &self.llm])
    }
}

impl Plan {
    /// Parts with files of their own.
    pub fn parts(&self) -> Vec<(Part, PathBuf)> {
        parts([&self.unet, &self.vae, &self.clip_l, &self.clip_g, &self.t5xxl, &self.llm])
    }

    /// Skip-layer guidance.
    pub fn skip(&self) -> Option<SkipOptions> {
        SkipOptions::new(self.slg_scale, self.skip_layers.as_ref(), self.skip_layer_start, self.skip_layer_end)
    }

    /// Where the run would be.
    pub fn place(&self) -> Place {
        place(self.device, self.backend)
    }
}

/// Tells what a weight file is: its system, what it draws, its weights and how it was made; what a checkpoint or a file of another
/// program is, its parts, what is missing, and how to draw with it; or how a PNG picture was drawn. Only headers are read.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(3, "The file is invalid."))]
pub struct Inspect {
    /// weight file (default: the built-in model), checkpoint (a folder, or a .safetensors or GGUF file), or PNG picture
    #[argh(positional)]
    pub file: Option<PathBuf>,
    /// list all metadata
    #[argh(switch)]
    pub keys: bool,
    /// list all tensors
    #[argh(switch)]
    pub tensors: bool,
}

/// Evaluates a model's log density (natural logarithm) for rows of numbers, and prints the rows with it as CSV. The sum goes
/// to stderr.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(3, "A file is invalid."))]
pub struct Density {
    /// weight file
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: PathBuf,
    /// rows of numbers, separated by commas or white space, with or without a header line (default: standard input)
    #[argh(positional)]
    pub data: Option<PathBuf>,
    /// CSV file to write (default: printed)
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: Option<PathBuf>,
}
