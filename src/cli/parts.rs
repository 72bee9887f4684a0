//! What was asked for, in parts: a signature that takes a part says which options it depends on.

use super::value::{
    Bytes, EmbeddingFile, HiresUpscaler, LatentsFile, LoraFile, PreviewMethod, Rng, SkipOptions, parts, place,
};
use super::{Cli, none_of};
use crate::fault::Fault;
use nijimi_import::Part;
use nijimi_runtime::model::Place;
use nijimi_runtime::quant::DType;
use std::iter::repeat;
use std::path::PathBuf;

/// A drawing.
#[derive(Debug, PartialEq)]
pub struct Draw {
    pub model: Option<PathBuf>,
    pub subject: Subject,
    pub sampling: SamplingOptions,
    pub text: TextOptions,
    pub machine: MachineOptions,
    pub output: OutputOptions,
}

/// What every model is asked for.
#[derive(Debug, PartialEq)]
pub struct Subject {
    /// Empty for anything; `-` for what standard input says.
    pub prompt: String,
    /// Whether each line of it is one.
    pub listed: bool,
    /// Pictures for each word, or rows.
    pub batch: usize,
    pub seed: Option<u64>,
}

/// For models that draw in steps.
#[derive(Debug, PartialEq)]
pub struct SamplingOptions {
    pub steps: Option<usize>,
    pub cfg_scale: Option<f32>,
    pub classifier: Option<PathBuf>,
    pub classifier_scale: Option<f32>,
    pub method: Option<String>,
    pub scheduler: Option<String>,
    pub eta: Option<f64>,
    pub no_clip: bool,
}

/// For models that read prompts.
#[derive(Debug, PartialEq)]
pub struct TextOptions {
    pub negative_prompt: Option<String>,
    pub width: Option<usize>,
    pub height: Option<usize>,
    pub cfg_rescale: Option<f32>,
    pub cache: Option<usize>,
    pub img_cfg_scale: Option<f32>,
    pub skip: Option<SkipOptions>,
    pub init_img: Option<PathBuf>,
    pub strength: Option<f64>,
    pub mask: Option<PathBuf>,
    pub mask_crop: Option<usize>,
    pub depth_image: Option<PathBuf>,
    pub hires: Option<f64>,
    pub hires_strength: Option<f64>,
    pub hires_upscaler: Option<HiresUpscaler>,
    pub refiner: Option<PathBuf>,
    pub refiner_start: Option<f64>,
    pub lora: Vec<LoraFile>,
    pub embedding: Vec<EmbeddingFile>,
    pub controls: Vec<ControlFiles>,
    pub image_prompt: Option<ImagePromptFiles>,
    pub ref_image: Vec<PathBuf>,
    pub taesd: Option<PathBuf>,
    pub vae_tiling: bool,
    pub clip_skip: Option<usize>,
    pub rng: Option<Rng>,
    pub latents: Option<LatentsFile>,
    pub save_latents: Option<PathBuf>,
    pub preview: Option<PathBuf>,
    pub preview_method: Option<PreviewMethod>,
    pub preview_interval: Option<usize>,
    pub dtype: Option<DType>,
    /// Parts of a checkpoint with files of their own.
    pub parts: Vec<(Part, PathBuf)>,
    pub tokenizer: Option<PathBuf>,
    pub prediction_type: Option<String>,
    pub variant: Option<String>,
    pub memory_limit: Option<Bytes>,
    pub stay_resident: bool,
}

/// A ControlNet or a T2I-Adapter, and what it is shown.
#[derive(Debug, PartialEq)]
pub struct ControlFiles {
    pub network: PathBuf,
    pub image: PathBuf,
    /// 1 if none is given.
    pub strength: f32,
}

/// An IP-Adapter, and what it is shown.
#[derive(Debug, PartialEq)]
pub struct ImagePromptFiles {
    pub adapter: PathBuf,
    pub encoder: PathBuf,
    /// At least one.
    pub images: Vec<PathBuf>,
    /// 1 if none is given.
    pub strength: f32,
}

/// Where to draw.
#[derive(Debug, PartialEq)]
pub struct MachineOptions {
    pub place: Place,
    pub tune: bool,
    /// 0 for one a core.
    pub threads: usize,
    pub verbose: bool,
}

/// Where pictures or rows go.
#[derive(Debug, PartialEq)]
pub struct OutputOptions {
    pub file: Option<String>,
    pub scale: Option<usize>,
}

impl Subject {
    /// One for each picture, if `batch` is 1.
    pub fn prompts(&self) -> Vec<&str> {
        if self.listed { self.prompt.lines().collect() } else { vec![&self.prompt] }
    }
}

impl From<Cli> for Draw {
    fn from(cli: Cli) -> Self {
        // All of it: an option that is forgotten here is a compiler's error.
        #[rustfmt::skip]
        let Cli {
            positional, prompt, negative_prompt, model, output, batch, seed, width, height, steps, cfg_scale,
            classifier, classifier_scale, sampling_method, scheduler, cfg_rescale, cache, img_cfg_scale, slg_scale, skip_layers,
            skip_layer_start, skip_layer_end, eta, no_clip, init_img,
            strength, mask, mask_crop, depth_image, hires, hires_strength, hires_upscaler, refiner, refiner_start, lora, embedding, control_net,
            control_image, control_strength, ip_adapter, ip_adapter_image, ip_adapter_strength, clip_vision, ref_image, taesd, vae_tiling, clip_skip, rng, latents, save_latents, preview, preview_method,
            preview_interval, kind, unet, vae, clip_l, clip_g, t5xxl, llm, tokenizer,
            prediction_type, variant, memory_limit, stay_resident, backend, device, tune, threads, scale, verbose, version: _,
        } = cli;
        // As many images as networks: that was looked at.
        let strengths = control_strength.into_iter().chain(repeat(1.0));
        let controls = control_net.into_iter().zip(control_image).zip(strengths);
        let controls = controls.map(|((network, image), strength)| ControlFiles { network, image, strength }).collect();
        let image_prompt = ip_adapter.zip(clip_vision).map(|(adapter, encoder)| ImagePromptFiles {
            adapter,
            encoder,
            images: ip_adapter_image,
            strength: ip_adapter_strength.unwrap_or(1.0),
        });
        Self {
            model,
            subject: Subject { prompt: positional.or(prompt).unwrap_or_default(), listed: false, batch, seed },
            #[rustfmt::skip]
            sampling: SamplingOptions {
                steps, cfg_scale, classifier, classifier_scale, method: sampling_method, scheduler, eta, no_clip,
            },
            #[rustfmt::skip]
            text: TextOptions {
                negative_prompt, width, height, cfg_rescale, cache, img_cfg_scale,
                skip: SkipOptions::new(slg_scale, skip_layers.as_ref(), skip_layer_start, skip_layer_end),
                init_img, strength, mask, mask_crop,
                depth_image, hires,
                hires_strength, hires_upscaler, refiner, refiner_start, lora, embedding, controls, image_prompt, ref_image, taesd, vae_tiling, clip_skip, rng,
                latents, save_latents, preview, preview_method, preview_interval, dtype: kind,
                parts: parts([&unet, &vae, &clip_l, &clip_g, &t5xxl, &llm]), tokenizer, prediction_type, variant, memory_limit,
                stay_resident,
            },
            machine: MachineOptions { place: place(device, backend), tune, threads, verbose },
            output: OutputOptions { file: output, scale },
        }
    }
}

impl SamplingOptions {
    /// That none of them is given, for a model without steps; `why` says so.
    pub fn refuse(&self, why: &str) -> Result<(), Fault> {
        #[rustfmt::skip]
        let Self { steps, cfg_scale, classifier, classifier_scale: _, method, scheduler, eta, no_clip } = self;
        let given = [
            ("--steps", steps.is_some()),
            ("--cfg-scale", cfg_scale.is_some()),
            ("--classifier", classifier.is_some()),
            ("--sampling-method", method.is_some()),
            ("--scheduler", scheduler.is_some()),
            ("--eta", eta.is_some()),
            ("--no-clip", *no_clip),
        ];
        none_of(&given, &format!("diffusion models, but {why}"))
    }
}

impl TextOptions {
    /// That none of them is given, for a model that reads no prompts, but for how a checkpoint is read if it `was_converted`. What
    /// needs another of them is not looked at.
    pub fn refuse(&self, was_converted: bool) -> Result<(), Fault> {
        #[rustfmt::skip]
        let Self {
            negative_prompt, width, height, cfg_rescale, cache, img_cfg_scale, skip, init_img, strength: _, mask: _, mask_crop: _,
            depth_image, hires, hires_strength: _, hires_upscaler: _, refiner, refiner_start: _, lora, embedding, controls,
            image_prompt, ref_image, taesd, vae_tiling, clip_skip, rng, latents, save_latents, preview, preview_method: _,
            preview_interval: _, dtype, parts, tokenizer, prediction_type, variant, memory_limit, stay_resident,
        } = self;
        let given = [
            ("-n", negative_prompt.is_some()),
            ("-W", width.is_some()),
            ("-H", height.is_some()),
            ("--cfg-rescale", cfg_rescale.is_some()),
            ("--ref-image", !ref_image.is_empty()),
            ("--cache", cache.is_some()),
            ("--img-cfg-scale", img_cfg_scale.is_some()),
            ("--slg-scale", skip.is_some()),
            ("-i", init_img.is_some()),
            ("--depth-image", depth_image.is_some()),
            ("--hires", hires.is_some()),
            ("--refiner", refiner.is_some()),
            ("--lora", !lora.is_empty()),
            ("--embedding", !embedding.is_empty()),
            ("--control-net", !controls.is_empty()),
            ("--ip-adapter", image_prompt.is_some()),
            ("--taesd", taesd.is_some()),
            ("--vae-tiling", *vae_tiling),
            ("--clip-skip", clip_skip.is_some()),
            ("--rng", rng.is_some()),
            ("--latents", latents.is_some()),
            ("--save-latents", save_latents.is_some()),
            ("--preview", preview.is_some()),
            ("--type", dtype.is_some() && !was_converted),
            (parts.first().map_or("", |(part, _)| part.option()), !parts.is_empty()),
            ("--tokenizer", tokenizer.is_some()),
            ("--prediction-type", prediction_type.is_some()),
            ("--variant", variant.is_some() && !was_converted),
            ("--memory-limit", memory_limit.is_some()),
            ("--stay-resident", *stay_resident),
        ];
        none_of(&given, "models that read prompts")
    }
}
