//! The options of drawing.

use super::value::{Backend, Bytes, LoraFile, Place, PreviewMethod, Rng, TensorFile, dtype};
use argh::FromArgs;
use nijimi_runtime::quant::DType;
use std::path::PathBuf;

/// Draws from a model: pictures as PNG, on a GPU or the CPU, or numbers as CSV.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} \"a red apple\" -o apple.png",
    example = "{command_name} \"a cat\" -b 16 -s 1 -o cats.png",
    example = "{command_name} \"0 1 2 3 4 5 6 7 8 9\" -m digits -b 4 -s 1 -o grid.png",
    example = "{command_name} \"3 5\" -m digits -b 100 -o digit-%03d.png",
    example = "{command_name} -m heights.gguf -b 1000 -o heights.csv",
    note = "As the first word, six are commands, not prompts:\n  nijimi convert      makes a weight file of a Stable Diffusion checkpoint\n  nijimi plan         tells what a run will take: memory, operations, time\n  nijimi inspect      tells what a weight file is, or what a picture was drawn with\n  nijimi density      evaluates a model's log density for rows of numbers\n  nijimi devices      lists the GPUs and what they can do\n  nijimi self-test    compares a GPU with the CPU: put what it prints into bug reports",
    error_code(1, "Internal error."),
    error_code(2, "The command line is wrong."),
    error_code(3, "A file, a folder or the prompt is not what it must be."),
    error_code(4, "A GPU is missing, or did not do what it was asked.")
)]
pub struct Cli {
    /// what to draw, in words; of models that know labels, their names, separated by spaces or commas; nothing: whatever
    /// comes
    #[argh(positional, arg_name = "prompt")]
    pub(super) positional: Option<String>,
    /// the same, as an option
    #[argh(option, short = 'p', arg_name = "prompt")]
    pub(super) prompt: Option<String>,
    /// what a picture shall not show, of models that read prompts
    #[argh(option, short = 'n', arg_name = "prompt")]
    pub negative_prompt: Option<String>,
    /// weight file, or a checkpoint of Stable Diffusion: a folder or a .safetensors file, converted on the fly (default:
    /// emoji; it and digits, handwritten ones, are part of the program)
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: Option<PathBuf>,
    /// PNG file, in a folder that exists (default: output.png). Several pictures make a labelled grid; with a number
    /// in the name, as in out-%03d.png, each gets its own file, counted from 0. Numbers go to a CSV file, or are
    /// printed if none is named
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: Option<String>,
    /// pictures for each word of the prompt, or rows of numbers (default: 1)
    #[argh(option, short = 'b', arg_name = "n", default = "1")]
    pub batch: usize,
    /// seed of the first picture (default: random); the next ones have the next seeds, the same for each word. Rows of
    /// numbers share it
    #[argh(option, short = 's', arg_name = "n")]
    pub seed: Option<u64>,
    /// width of the picture, of models that read prompts (default: that of -i, or the model's)
    #[argh(option, short = 'W', arg_name = "n")]
    pub width: Option<usize>,
    /// height of it
    #[argh(option, short = 'H', arg_name = "n")]
    pub height: Option<usize>,
    /// number of steps (default: the model's; of the other method, 50 for ddim and all 1000 for ddpm; 20 of models that
    /// read prompts)
    #[argh(option, arg_name = "n")]
    pub steps: Option<usize>,
    /// how strictly to follow the prompt: 1 is without guidance (default: the model's). Latent consistency models are told
    /// the scale, and need no second evaluation for it
    #[argh(option, arg_name = "x")]
    pub cfg_scale: Option<f32>,
    /// classifier of noised pictures that draws towards the prompt, in place of the model's own labels
    #[argh(option, arg_name = "file")]
    pub classifier: Option<PathBuf>,
    /// how strongly it does (default: 1)
    #[argh(option, arg_name = "x")]
    pub classifier_scale: Option<f32>,
    /// ddpm or ddim (default: the model's); models that read prompts know many more, as euler_a and dpm++2m
    #[argh(option, arg_name = "name")]
    pub sampling_method: Option<String>,
    /// how the noise levels are spread, of models that read prompts: discrete, karras, exponential, ... (default: the
    /// model's)
    #[argh(option, arg_name = "name")]
    pub scheduler: Option<String>,
    /// how far the contrast of strong guidance is brought back, 0 to 1, of models that read prompts (default: 0)
    #[argh(option, arg_name = "x")]
    pub cfg_rescale: Option<f32>,
    /// noise in each step of ddim, 0 to 1 (default: 0, none)
    #[argh(option, arg_name = "x")]
    pub eta: Option<f64>,
    /// let estimates of the clean picture leave the range of pictures on the way, as the book does
    #[argh(switch)]
    pub no_clip: bool,
    /// PNG or JPEG init image, of models that read prompts, as all from here to --stay-resident. Its middle is
    /// cut to the shape asked for, and resized
    #[argh(option, short = 'i', arg_name = "file")]
    pub init_img: Option<PathBuf>,
    /// how much of that picture is given up, 0 to 1: 1 draws anew (default: 0.75)
    #[argh(option, arg_name = "x")]
    pub strength: Option<f64>,
    /// picture of what to draw anew of it: white is repainted, black stays
    #[argh(option, arg_name = "file")]
    pub mask: Option<PathBuf>,
    /// a LoRA to add to the model, a .safetensors file, and its strength (default: 1), as in style.safetensors:0.8. May be
    /// repeated
    #[argh(option, arg_name = "file[:x]")]
    pub lora: Vec<LoraFile>,
    /// model that reads a further picture, a ControlNet: weight file, folder or .safetensors file
    #[argh(option, arg_name = "file")]
    pub control_net: Option<PathBuf>,
    /// that picture: edges, depth, a pose, as it was trained for
    #[argh(option, arg_name = "file")]
    pub control_image: Option<PathBuf>,
    /// how strongly it acts (default: 1)
    #[argh(option, arg_name = "x")]
    pub control_strength: Option<f32>,
    /// tiny autoencoder (TAESD), a weight file, folder or .safetensors file, in place of the model's own: fast and small,
    /// at some loss of detail
    #[argh(option, arg_name = "file")]
    pub taesd: Option<PathBuf>,
    /// decode in overlapping tiles, with less memory (default: if it would not do otherwise)
    #[argh(switch)]
    pub vae_tiling: bool,
    /// layer of the text encoder that is used, counted from the end: 1 is the last, 2 the one before (default: 0, the
    /// model's)
    #[argh(option, arg_name = "n")]
    pub clip_skip: Option<usize>,
    /// whose random numbers: nijimi, or cpu or cuda for those that PyTorch draws there with the same seed (default: nijimi)
    #[argh(option, arg_name = "name")]
    pub rng: Option<Rng>,
    /// starting noise (n, c, h, w), the tensor of that name in a .safetensors file (default: noise or latents, or its only
    /// one)
    #[argh(option, arg_name = "file[:name]")]
    pub latents: Option<TensorFile>,
    /// file for the starting noise, as noise, and for what is decoded in the end, as latents (.safetensors)
    #[argh(option, arg_name = "file")]
    pub save_latents: Option<PathBuf>,
    /// PNG file that shows the picture while it is drawn, written again and again
    #[argh(option, arg_name = "file")]
    pub preview: Option<PathBuf>,
    /// how it is made: proj (at once, rough), taesd, or vae (slow) (default: proj)
    #[argh(option, arg_name = "name")]
    pub preview_method: Option<PreviewMethod>,
    /// steps from one to the next (default: 1)
    #[argh(option, arg_name = "n")]
    pub preview_interval: Option<usize>,
    /// number format of the weights of a checkpoint: f32, f16, bf16, q8_0 or q4_0 (default: f16). A weight file has its own
    #[argh(option, long = "type", arg_name = "name", from_str_fn(dtype))]
    pub kind: Option<DType>,
    /// folder of the vocabulary, which a checkpoint of a single file has not: vocab.json and merges.txt, or tokenizer.json
    #[argh(option, arg_name = "folder")]
    pub tokenizer: Option<PathBuf>,
    /// memory that may be used, as 4G or 800M (default: what is free): parts of the model are loaded one after another,
    /// and pictures decoded in tiles, if all would not fit at once
    #[argh(option, arg_name = "size")]
    pub memory_limit: Option<Bytes>,
    /// keep all parts of the model that the run uses in memory from picture to picture
    #[argh(switch)]
    pub stay_resident: bool,
    /// auto, cpu or gpu (default: auto, a GPU if there is one, or else the CPU). With gpu, a driver that runs shaders on
    /// the CPU will do
    #[argh(option, arg_name = "name")]
    pub(super) backend: Option<Backend>,
    /// the GPU of that number in nijimi devices
    #[argh(option, arg_name = "n")]
    pub(super) device: Option<usize>,
    /// measure first how the GPU computes this model's layers best; the choice is kept, for it and this driver
    #[argh(switch)]
    pub tune: bool,
    /// threads of the CPU (default: one for each core)
    #[argh(option, short = 't', arg_name = "n", default = "0")]
    pub threads: usize,
    /// enlarge each pixel to n x n (default: 2 in a grid, 1 else)
    #[argh(option, arg_name = "n")]
    pub scale: Option<usize>,
    /// tell about the model, the machine, memory and time
    #[argh(switch, short = 'v')]
    pub verbose: bool,
    /// print the version and exit
    #[argh(switch)]
    pub(super) version: bool,
}

impl Cli {
    /// What was asked for; empty for anything.
    pub fn prompt(&self) -> &str {
        self.positional.as_deref().or(self.prompt.as_deref()).unwrap_or_default()
    }

    /// Where to draw.
    pub fn place(&self) -> Place {
        Place::new(self.device, self.backend)
    }
}
