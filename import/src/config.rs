//! What a checkpoint's networks are, in numbers.

use super::control::ControlConfig;
use super::tiny::TinyConfig;

/// What a checkpoint is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Model {
    /// Stable Diffusion: U-Net, autoencoder, text encoders.
    LatentDiffusion(Box<Config>),
    /// What leads one by a picture.
    ControlNet(Box<ControlConfig>),
    /// What decodes its latents fast (TAESD).
    AutoencoderTiny(TinyConfig),
}

impl Model {
    /// `nijimi.system` of its file.
    pub fn system(&self) -> &'static str {
        match self {
            Self::LatentDiffusion(_) => "latent-diffusion",
            Self::ControlNet(_) => "control-net",
            Self::AutoencoderTiny(_) => "autoencoder-tiny",
        }
    }
}

/// Which of the published models it is a form of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// Stable Diffusion 1.x: CLIP ViT-L/14, convolutions around its transformers.
    Sd1,
    /// Stable Diffusion 2.x: OpenCLIP ViT-H/14, linear layers around its transformers.
    Sd2,
    /// SDXL: both CLIP ViT-L/14 and OpenCLIP ViT-bigG/14, sizes as a condition.
    Sdxl,
}

impl Family {
    /// `sd1`, `sd2` or `sdxl`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "sd1",
            Self::Sd2 => "sd2",
            Self::Sdxl => "sdxl",
        }
    }
}

/// SDXL's second embedding beside time: six sizes as sinusoids, and the pooled text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    /// Length of the sinusoid of each size.
    pub time_embed_dim: usize,
    /// Length of all six with the pooled text.
    pub input_dim: usize,
}

/// diffusers' `UNet2DConditionModel`, as far as the published models use it.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetConfig {
    /// Channels that enter: 4, or 9 for inpainting.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Channels of each level.
    pub channels: Vec<usize>,
    /// Residual blocks of a level on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// Attention heads of each level.
    pub heads: Vec<usize>,
    /// Transformer blocks in each attention of a level; 0 for a level without.
    pub transformer_layers: Vec<usize>,
    /// Transformer blocks in the middle.
    pub mid_transformer_layers: usize,
    /// Width of the text states.
    pub cross_attention_dim: usize,
    /// Whether the layers around a transformer are linear (2.x, SDXL) or 1x1 convolutions (1.x).
    pub linear_projection: bool,
    /// Groups of the norms.
    pub norm_groups: usize,
    /// Added to a variance.
    pub norm_eps: f32,
    /// Whether cosines come first in the time embedding.
    pub flip_sin_to_cos: bool,
    /// Shift of its frequencies.
    pub freq_shift: f32,
    /// SDXL's.
    pub addition: Option<Addition>,
    /// Length of the sinusoid of a guidance scale that is a condition (latent consistency models).
    pub time_cond_proj_dim: Option<usize>,
    /// Side of the latents it was trained at.
    pub sample_size: usize,
}

/// diffusers' `AutoencoderKL`.
#[derive(Debug, Clone, PartialEq)]
pub struct VaeConfig {
    /// Channels of a picture.
    pub in_channels: usize,
    /// Channels of a decoded picture.
    pub out_channels: usize,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Channels of each level.
    pub channels: Vec<usize>,
    /// Residual blocks of a level of the encoder; one more in the decoder.
    pub layers_per_block: usize,
    /// Groups of the norms.
    pub norm_groups: usize,
    /// Whether the middle has attention.
    pub mid_attention: bool,
    /// Whether a 1x1 convolution follows the encoder.
    pub quant_conv: bool,
    /// Whether one precedes the decoder.
    pub post_quant_conv: bool,
    /// The networks' latents are `(z - shift_factor) * scaling_factor`.
    pub scaling_factor: f32,
    /// See there.
    pub shift_factor: f32,
    /// Mean of each latent channel, where the model states it.
    pub latents_mean: Option<Vec<f32>>,
    /// Its standard deviation.
    pub latents_std: Option<Vec<f32>>,
    /// Whether half precision is known to overflow.
    pub force_upcast: bool,
    /// Side of the pictures it was trained at.
    pub sample_size: usize,
}

/// transformers' `CLIPTextModel`, with or without a projection.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Length of a window.
    pub positions: usize,
    /// Width of a state.
    pub width: usize,
    /// Width within an MLP.
    pub mlp_width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// `quick_gelu` or `gelu`.
    pub activation: String,
    /// Added to a variance.
    pub norm_eps: f32,
    /// Length of the projected pooled state; `None` without one.
    pub projection_dim: Option<usize>,
}

/// A scheduler's setting.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named by their Rust types")]
pub enum Setting {
    U32(u32),
    F64(f64),
    Bool(bool),
    Str(String),
    F64s(Vec<f64>),
}

/// A diffusers scheduler, as its `scheduler_config.json` has it.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// Its class: `DDIMScheduler`, …
    pub class: String,
    /// Noise levels of the training.
    pub train_steps: u32,
    /// Beta at the first level.
    pub beta_start: f64,
    /// Beta at the last.
    pub beta_end: f64,
    /// How beta runs: `linear`, `scaled_linear`, `squaredcos_cap_v2`.
    pub beta_schedule: String,
    /// `epsilon`, `v_prediction` or `sample`.
    pub prediction_type: String,
    /// The rest, by diffusers' names; what is not here is the class's default.
    pub settings: Vec<(&'static str, Setting)>,
}

/// All of a latent diffusion model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Which form it is.
    pub family: Family,
    /// The denoiser.
    pub unet: UNetConfig,
    /// The autoencoder.
    pub vae: VaeConfig,
    /// The text encoder.
    pub text: TextConfig,
    /// SDXL's second.
    pub text_2: Option<TextConfig>,
    /// Noise.
    pub scheduler: SchedulerConfig,
    /// Whether an empty negative prompt is zeros (SDXL).
    pub force_zeros_for_empty_prompt: bool,
}
