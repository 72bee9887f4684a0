//! What a checkpoint's networks are, in numbers.

use nijimi_runtime::model::{FirstStage, Info, SchedulerInfo, TinyInfo, UpscalerInfo};
use nijimi_runtime::raw::nn::{
    ClipText, ClipVision, ControlNet, Denoiser, IpAdapter, Qwen3, SdUnet, T2iAdapter, T5Encoder,
};
use nijimi_runtime::sampler::Field;

/// What a checkpoint is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Model {
    /// Stable Diffusion: what takes noise away, autoencoder, text encoders.
    TextToImage(Box<Config>),
    /// An unconditional model of pixels. It has no name yet.
    Diffusion(Box<Info>),
    /// What leads one by a picture.
    ControlNet(Box<ControlNet>),
    /// What leads one by a picture that it looks at once.
    T2iAdapter(Box<T2iAdapter>),
    /// What leads one by pictures as its prompt does.
    IpAdapter(Box<IpAdapter>),
    /// What tells such an adapter of a picture.
    ImageEncoder(Box<ClipVision>),
    /// What decodes its latents fast (TAESD). It has no name yet.
    AutoencoderTiny(Box<TinyInfo>),
    /// What enlarges pictures (ESRGAN). It has no name yet.
    Upscaler(Box<UpscalerInfo>),
}

impl Model {
    /// `nijimi.system` of its file.
    pub fn system(&self) -> &'static str {
        match self {
            Self::TextToImage(_) => "latent-diffusion",
            Self::Diffusion(_) => "ddpm",
            Self::ControlNet(_) => "control-net",
            Self::T2iAdapter(_) => "t2i-adapter",
            Self::IpAdapter(_) => "ip-adapter",
            Self::ImageEncoder(_) => "image-encoder",
            Self::AutoencoderTiny(_) => "autoencoder-tiny",
            Self::Upscaler(_) => "upscaler",
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
    /// SDXL's refiner: OpenCLIP ViT-bigG/14 alone, sizes and a score as a condition.
    SdxlRefiner,
    /// Stable Diffusion 3: a transformer, both text encoders of SDXL, rectified flow.
    Sd3,
    /// Stable Diffusion 3.5: the same with queries and keys that are normalized.
    Sd35,
    /// Z-Image: a transformer of one stream, Qwen3, rectified flow.
    ZImage,
    /// FLUX.2-klein: a transformer of two streams and then one, Qwen3, latents in squares, rectified flow.
    Flux2,
}

impl Family {
    /// Whether it is SDXL or its refiner, whose texts are states before the last layer, and are told to the U-Net pooled.
    pub(super) fn is_sdxl(self) -> bool {
        matches!(self, Self::Sdxl | Self::SdxlRefiner)
    }

    /// Whether it is Stable Diffusion 3 or 3.5.
    pub fn is_sd3(self) -> bool {
        matches!(self, Self::Sd3 | Self::Sd35)
    }

    /// Whether a language model alone reads its texts.
    pub(super) fn reads_language(self) -> bool {
        matches!(self, Self::ZImage | Self::Flux2)
    }

    /// Whether it goes by rectified flow.
    pub(super) fn is_flow(self) -> bool {
        self.is_sd3() || self.reads_language()
    }

    /// `sd1`, `sd2`, `sdxl`, `sdxl-refiner`, `sd3`, `sd3.5`, `z-image` or `flux2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "sd1",
            Self::Sd2 => "sd2",
            Self::Sdxl => "sdxl",
            Self::SdxlRefiner => "sdxl-refiner",
            Self::Sd3 => "sd3",
            Self::Sd35 => "sd3.5",
            Self::ZImage => "z-image",
            Self::Flux2 => "flux2",
        }
    }
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
    pub settings: Vec<(String, Field)>,
}

/// diffusers' name of the number of noise levels.
const STEPS: &str = "num_train_timesteps";

impl SchedulerConfig {
    /// DDPM's, as diffusers has it where nothing is said (Ho et al. 2020).
    pub(super) fn ddpm() -> Self {
        Self {
            class: "DDPMScheduler".into(),
            train_steps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: "linear".into(),
            prediction_type: "epsilon".into(),
            settings: Vec::new(),
        }
    }

    /// As a description has it.
    pub(super) fn info(&self) -> SchedulerInfo {
        let field = |name: &str, field: Field| (name.to_owned(), field);
        let schedule = [
            field("beta_schedule", Field::Text(self.beta_schedule.clone())),
            field(STEPS, Field::Number(f64::from(self.train_steps))),
            field("beta_start", Field::Number(self.beta_start)),
            field("beta_end", Field::Number(self.beta_end)),
            field("prediction_type", Field::Text(self.prediction_type.clone())),
        ];
        let own = self.settings.iter().filter(|(name, _)| name != STEPS);
        SchedulerInfo { class: self.class.clone(), settings: schedule.into_iter().chain(own.cloned()).collect() }
    }

    /// Whether its file says the number of noise levels.
    pub(super) fn says_steps(&self) -> bool {
        self.settings.iter().any(|(name, _)| name == STEPS)
    }
}

/// A text encoder that is a language model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Language {
    /// Stable Diffusion 3's third.
    T5(T5Encoder),
    /// Z-Image's.
    Qwen3(Qwen3),
}

/// All of a latent diffusion model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Which form it is.
    pub family: Family,
    /// What takes noise away.
    pub denoiser: Denoiser,
    /// Side of the latents that it was trained at.
    pub sample_size: usize,
    /// The autoencoder.
    pub vae: FirstStage,
    /// Side of the pictures that it was trained at.
    pub vae_sample_size: usize,
    /// Whether half precision is known to overflow in it.
    pub force_upcast: bool,
    /// The text encoder; of the refiner, SDXL's second; none where a language model reads alone.
    pub text: Option<ClipText>,
    /// SDXL's second, and Stable Diffusion 3's.
    pub text_2: Option<ClipText>,
    /// Stable Diffusion 3's third, or what reads alone.
    pub language: Option<Language>,
    /// Noise.
    pub scheduler: SchedulerConfig,
    /// Whether an empty negative prompt is zeros (SDXL).
    pub force_zeros_for_empty_prompt: bool,
}

impl Config {
    /// The U-Net, if that takes the noise away.
    pub fn unet(&self) -> Option<&SdUnet> {
        self.denoiser.unet()
    }
}
