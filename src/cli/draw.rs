//! The options of drawing, flat, as they are read.

use super::value::{
    Backend, Bytes, EmbeddingFile, HiresUpscaler, LatentsFile, Layers, LoraFile, PreviewMethod, Rng, dtype,
    enlargement, prediction,
};
use argh::{ArgsInfo, FromArgs};
use nijimi_cli::number::{count, finite, index, interval, scale, seed, share, threads};
use nijimi_runtime::quant::DType;
use std::path::PathBuf;

/// Draws from a model: pictures as PNG, on a GPU or the CPU, or numbers as CSV.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} \"a red apple\" -o apple.png",
    example = "{command_name} \"a cat\" -b 16 -s 1 -o cats.png",
    example = "{command_name} \"0 1 2 3 4 5 6 7 8 9\" -m digits -b 4 -s 1 -o grid.png",
    example = "{command_name} \"3 5\" -m digits -b 100 -o digit-%03d.png",
    example = "{command_name} -m heights.gguf -b 1000 -o heights.csv",
    note = "As the first word, these eight are commands, not prompts:\n  nijimi convert      converts a Stable Diffusion checkpoint to a weight file\n  nijimi plan         tells what a run will take: memory, operations, time\n  nijimi inspect      tells what a weight file is, or how a picture was drawn\n  nijimi upscale      enlarges a picture with an upscaler (ESRGAN)\n  nijimi density      evaluates a model's log density for rows of numbers\n  nijimi serve        serves drawing over HTTP\n  nijimi devices      lists the GPUs and what they can do\n  nijimi self-test    compares a GPU with the CPU: include its output in bug reports",
    error_code(1, "Internal error, or standard output cannot be written."),
    error_code(2, "The command line is wrong."),
    error_code(3, "A file, a folder or the prompt is invalid."),
    error_code(4, "No GPU was found, or it failed.")
)]
pub struct Cli {
    /// what to draw, in words. Models with labels take label names, separated by spaces or commas. Without a prompt, the
    /// model draws anything
    #[argh(positional, arg_name = "prompt")]
    pub(super) positional: Option<String>,
    /// the same, as an option. - reads prompts from standard input: each line that is not blank is one of its own
    #[argh(option, short = 'p', arg_name = "prompt")]
    pub(super) prompt: Option<String>,
    /// what the picture should not show (models that read prompts)
    #[argh(option, short = 'n', arg_name = "prompt")]
    pub(super) negative_prompt: Option<String>,
    /// weight file, or a Stable Diffusion checkpoint (a folder, or a .safetensors or GGUF file), which is converted on the fly.
    /// emoji and digits (handwritten) are built in (default: emoji)
    #[argh(option, short = 'm', arg_name = "file")]
    pub(super) model: Option<PathBuf>,
    /// PNG file, in a folder that exists (default: output.png). Several pictures make a labelled grid; with a number
    /// in the name, as in out-%03d.png, each gets its own file, counted from 0. Numbers go to a CSV file (default: printed)
    #[argh(option, short = 'o', arg_name = "file")]
    pub(super) output: Option<String>,
    /// pictures for each word of the prompt, each line of -p -, or rows of numbers (default: 1)
    #[argh(option, short = 'b', arg_name = "n", default = "1", from_str_fn(count))]
    pub(super) batch: usize,
    /// seed of the first picture (default, and if negative: random); the following pictures have the following seeds, the
    /// same for each word. Rows of numbers share one seed
    #[argh(option, short = 's', arg_name = "n", from_str_fn(seed))]
    pub(super) seed: Option<u64>,
    /// width of the picture (models that read prompts; default: that of -i, or the model's)
    #[argh(option, short = 'W', arg_name = "n", from_str_fn(count))]
    pub(super) width: Option<usize>,
    /// its height
    #[argh(option, short = 'H', arg_name = "n", from_str_fn(count))]
    pub(super) height: Option<usize>,
    /// number of steps (default: the model's; with another sampling method than the model's, 50 for ddim and 1000 for
    /// ddpm; 20 for models that read prompts)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    pub(super) steps: Option<usize>,
    /// how strictly to follow the prompt; 1 is no guidance (default: the model's). Latent consistency models are given
    /// the scale as an input, and need no second evaluation for it
    #[argh(option, arg_name = "x", from_str_fn(finite))]
    pub(super) cfg_scale: Option<f32>,
    /// classifier of noised pictures that guides towards the prompt, instead of the model's own labels
    #[argh(option, arg_name = "file")]
    pub(super) classifier: Option<PathBuf>,
    /// strength of its guidance (default: 1)
    #[argh(option, arg_name = "x", from_str_fn(finite))]
    pub(super) classifier_scale: Option<f32>,
    /// ddpm or ddim (default: the model's); models that read prompts know many more, such as euler_a and dpm++2m
    #[argh(option, arg_name = "name")]
    pub(super) sampling_method: Option<String>,
    /// spacing of the noise levels (models that read prompts): discrete, karras, exponential, ... (default: the model's)
    #[argh(option, arg_name = "name")]
    pub(super) scheduler: Option<String>,
    /// how far to undo the contrast of strong guidance, 0 to 1 (models that read prompts; default: 0)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub(super) cfg_rescale: Option<f32>,
    /// evaluate the whole network for the first of n steps alone, faster and another picture (models that read prompts;
    /// default: 1)
    #[argh(option, arg_name = "n", from_str_fn(interval))]
    pub(super) cache: Option<usize>,
    /// how strongly to keep to the picture, 1 and more (models that change pictures by instruction; default: 1.5)
    #[argh(option, arg_name = "x", from_str_fn(finite))]
    pub(super) img_cfg_scale: Option<f32>,
    /// skip-layer guidance, away from what the network answers without some of its blocks, 2.8 for instance: fewer broken shapes, for
    /// half a call more at its steps (Stable Diffusion 3.5; default: none)
    #[argh(option, arg_name = "x", from_str_fn(finite))]
    pub(super) slg_scale: Option<f32>,
    /// the blocks that it leaves out, from 0 (default: 7,8,9)
    #[argh(option, arg_name = "list")]
    pub(super) skip_layers: Option<Layers>,
    /// share of the steps before it begins, 0 to 1 (default: 0.01)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub(super) skip_layer_start: Option<f64>,
    /// share of the steps at which it ends, 0 to 1 (default: 0.2)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub(super) skip_layer_end: Option<f64>,
    /// noise added in each step of ddim and tcd, 0 to 1 (default: 0 for ddim, none)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub(super) eta: Option<f64>,
    /// do not clip estimates of the clean picture to the range of pictures between steps, as in the book
    #[argh(switch)]
    pub(super) no_clip: bool,
    /// PNG or JPEG init image. This and all options down to --stay-resident are for models that read prompts. The image's
    /// center is cropped to the shape of the picture, and resized
    #[argh(option, short = 'i', arg_name = "file")]
    pub(super) init_img: Option<PathBuf>,
    /// how much of the init image to replace, 0 to 1; 1 ignores it (default: 0.75)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub(super) strength: Option<f64>,
    /// mask image for inpainting: white is repainted, black is kept. If it has transparent pixels, its alpha is the mask
    #[argh(option, arg_name = "file")]
    pub(super) mask: Option<PathBuf>,
    /// draw only what is masked, and n pixels around it, at the size of -W and -H (default: the model's), and put it back into
    /// the init image; 32 is usual
    #[argh(option, arg_name = "n", from_str_fn(index))]
    pub(super) mask_crop: Option<usize>,
    /// PNG picture of how near everything is, gray, of 8 or 16 bits, near things white, for models that are led by depth
    #[argh(option, arg_name = "file")]
    pub(super) depth_image: Option<PathBuf>,
    /// draw the picture once more over itself, so many times as large, as in 2 or 1.5 (hires fix), with as many steps. For
    /// pictures from a prompt alone
    #[argh(option, arg_name = "x", from_str_fn(enlargement))]
    pub(super) hires: Option<f64>,
    /// how much of the enlarged picture to replace, 0 to 1 (default: 0.5)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub(super) hires_strength: Option<f64>,
    /// how it is enlarged: latent, lanczos, or by an upscaler (ESRGAN), a weight file or .safetensors file (default: latent)
    #[argh(option, arg_name = "file")]
    pub(super) hires_upscaler: Option<HiresUpscaler>,
    /// SDXL's refiner, which takes the last steps of SDXL's pictures: a weight file, folder, .safetensors or GGUF file. It is
    /// loaded when the model is done
    #[argh(option, arg_name = "file")]
    pub(super) refiner: Option<PathBuf>,
    /// the share of the noise levels after which the refiner goes on, 0 to 1 (default: 0.8)
    #[argh(option, arg_name = "x", from_str_fn(share))]
    pub(super) refiner_start: Option<f64>,
    /// a LoRA to apply to the model (.safetensors; LoCon, LoHa, LoKr and DoRA too), and its strength (default: 1), as in
    /// style.safetensors:0.8. May be repeated
    #[argh(option, arg_name = "file[:x]")]
    pub(super) lora: Vec<LoraFile>,
    /// a textual inversion (.safetensors), and the word of a prompt that stands for it (default: the file's own, or its
    /// name), as in toy.safetensors:mytoy. May be repeated
    #[argh(option, arg_name = "file[:word]")]
    pub(super) embedding: Vec<EmbeddingFile>,
    /// a ControlNet or a T2I-Adapter: weight file, folder or .safetensors file. May be repeated, each with an image, and a
    /// strength if any has one, in the same order
    #[argh(option, arg_name = "file")]
    pub(super) control_net: Vec<PathBuf>,
    /// the image that it reads: edges, depth, a pose, whatever it was trained for
    #[argh(option, arg_name = "file")]
    pub(super) control_image: Vec<PathBuf>,
    /// strength of the ControlNet or T2I-Adapter (default: 1)
    #[argh(option, arg_name = "x", from_str_fn(finite))]
    pub(super) control_strength: Vec<f32>,
    /// an IP-Adapter, which draws something like its pictures: weight file or .safetensors file
    #[argh(option, arg_name = "file")]
    pub(super) ip_adapter: Option<PathBuf>,
    /// a picture that it is shown, whose middle counts. May be repeated
    #[argh(option, arg_name = "file")]
    pub(super) ip_adapter_image: Vec<PathBuf>,
    /// picture that is looked at while one is drawn, to change it as the prompt says, or to take things from it (FLUX.2-klein);
    /// may be repeated
    #[argh(option, arg_name = "file")]
    pub(super) ref_image: Vec<PathBuf>,
    /// strength of the IP-Adapter, 1 for as strong as the prompt, less for what the prompt says (default: 1)
    #[argh(option, arg_name = "x", from_str_fn(finite))]
    pub(super) ip_adapter_strength: Option<f32>,
    /// the image encoder that the IP-Adapter was trained with (CLIP ViT-H/14, of some ViT-bigG/14): weight file, folder
    /// (image_encoder) or .safetensors file. It is loaded, asked and given back before anything is drawn
    #[argh(option, arg_name = "file")]
    pub(super) clip_vision: Option<PathBuf>,
    /// tiny autoencoder (TAESD), a weight file, folder or .safetensors file, used instead of the model's own: fast and
    /// small, with some loss of detail
    #[argh(option, arg_name = "file")]
    pub(super) taesd: Option<PathBuf>,
    /// decode in overlapping tiles, which takes less memory (default: only if the picture would not fit otherwise)
    #[argh(switch)]
    pub(super) vae_tiling: bool,
    /// layer of the text encoder to use, counted from the end: 1 is the last, 2 the one before (default: 0, the model's)
    #[argh(option, arg_name = "n", from_str_fn(index))]
    pub(super) clip_skip: Option<usize>,
    /// random numbers: nijimi, or cpu or cuda for those that PyTorch draws there with the same seed (default: nijimi)
    #[argh(option, arg_name = "name")]
    pub(super) rng: Option<Rng>,
    /// starting noise (n, c, h, w): the tensor of that name in a .safetensors file (default: noise or latents, or the only
    /// one)
    #[argh(option, arg_name = "file[:name]")]
    pub(super) latents: Option<LatentsFile>,
    /// file (.safetensors) for the starting noise, as "noise", and the final latents, as "latents"
    #[argh(option, arg_name = "file")]
    pub(super) save_latents: Option<PathBuf>,
    /// PNG file that shows the picture while it is drawn; it is rewritten as the run goes on
    #[argh(option, arg_name = "file")]
    pub(super) preview: Option<PathBuf>,
    /// how the preview is made: proj (fast, rough), taesd, or vae (slow) (default: proj)
    #[argh(option, arg_name = "name")]
    pub(super) preview_method: Option<PreviewMethod>,
    /// steps between previews (default: 1)
    #[argh(option, arg_name = "n", from_str_fn(count))]
    pub(super) preview_interval: Option<usize>,
    /// number format for the weights of a checkpoint: f32, f16, bf16, q8_0, q6_k, q5_k, q4_k or q4_0 (default: f16). A weight
    /// file has its own
    #[argh(option, long = "type", arg_name = "name", from_str_fn(dtype))]
    pub(super) kind: Option<DType>,
    /// a U-Net in place of the checkpoint's: a .safetensors or GGUF file of one alone, or a checkpoint that has it
    #[argh(option, arg_name = "file")]
    pub(super) unet: Option<PathBuf>,
    /// autoencoder in place of the checkpoint's, likewise
    #[argh(option, arg_name = "file")]
    pub(super) vae: Option<PathBuf>,
    /// text encoder in place of the checkpoint's (of SDXL the first), likewise
    #[argh(option, arg_name = "file")]
    pub(super) clip_l: Option<PathBuf>,
    /// SDXL's and Stable Diffusion 3's second text encoder in place of the checkpoint's, likewise
    #[argh(option, arg_name = "file")]
    pub(super) clip_g: Option<PathBuf>,
    /// third text encoder (T5) of Stable Diffusion 3, which a checkpoint may lack, likewise
    #[argh(option, arg_name = "file")]
    pub(super) t5xxl: Option<PathBuf>,
    /// text encoder (Qwen3) of Z-Image, which its files lack, likewise
    #[argh(option, arg_name = "file")]
    pub(super) llm: Option<PathBuf>,
    /// folder with the vocabulary, which a single-file checkpoint lacks: vocab.json and merges.txt, or tokenizer.json
    #[argh(option, arg_name = "folder")]
    pub(super) tokenizer: Option<PathBuf>,
    /// what the network predicts: epsilon, v_prediction or sample (default: what the file says)
    #[argh(option, arg_name = "name", from_str_fn(prediction))]
    pub(super) prediction_type: Option<String>,
    /// variant of a checkpoint folder's files, such as fp16 for model.fp16.safetensors (default: none, or the one that is there)
    #[argh(option, arg_name = "name")]
    pub(super) variant: Option<String>,
    /// most memory to use, such as 4G or 800M (default: what is free). If the whole run would not fit, parts of the model
    /// are loaded one after another, and pictures are decoded in tiles
    #[argh(option, arg_name = "size")]
    pub(super) memory_limit: Option<Bytes>,
    /// keep every part of the model that the run uses in memory from picture to picture
    #[argh(switch)]
    pub(super) stay_resident: bool,
    /// auto, cpu or gpu (default: auto, a GPU if there is one, else the CPU). gpu also accepts a driver that runs shaders
    /// on the CPU
    #[argh(option, arg_name = "name")]
    pub(super) backend: Option<Backend>,
    /// GPU to use, by its number in nijimi devices
    #[argh(option, arg_name = "n", from_str_fn(index))]
    pub(super) device: Option<usize>,
    /// first measure how the GPU computes this model's layers fastest; the result is kept for this model and driver
    #[argh(switch)]
    pub(super) tune: bool,
    /// CPU threads (default, and if 0 or negative: one per core)
    #[argh(option, short = 't', arg_name = "n", default = "0", from_str_fn(threads))]
    pub(super) threads: usize,
    /// enlarge each pixel to n x n (default: 2 in a grid, otherwise 1)
    #[argh(option, arg_name = "n", from_str_fn(scale))]
    pub(super) scale: Option<usize>,
    /// report on the model, the machine, memory and time
    #[argh(switch, short = 'v')]
    pub(super) verbose: bool,
    /// print the version and exit
    #[argh(switch, short = 'V')]
    pub(super) version: bool,
}
