//! What options need, and what they exclude.

use super::value::{Backend, PreviewMethod};
use super::{Cli, Plan, Upscale};
use crate::fault::Fault;
use nijimi_runtime::model::IpAdapterInfo;
use std::path::Path;

pub(super) const DEVICE: &str = "--device is for GPUs: leave out --device or --backend cpu";

pub(super) fn none(problems: &[(bool, &str)]) -> Result<(), Fault> {
    match problems.iter().find(|problem| problem.0) {
        Some((_, problem)) => Err(Fault::Usage((*problem).into())),
        None => Ok(()),
    }
}

/// Whether a file that is to be written has another extension than this one.
fn other(file: Option<&Path>, extension: &str) -> bool {
    file.is_some_and(|file| !file.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension)))
}

/// Of a second pass, and of what goes with it.
fn hires(scale: Option<f64>, strength: Option<f64>, upscaler: bool, init_img: bool) -> [(bool, &'static str); 3] {
    [
        (strength.is_some() && scale.is_none(), "--hires-strength needs --hires"),
        (upscaler && scale.is_none(), "--hires-upscaler needs --hires"),
        (scale.is_some() && init_img, "--hires is for pictures from a prompt alone: leave out -i or --hires"),
    ]
}

/// Of a second model, and of what takes another second pass, other latents or all memory.
fn refiner(file: bool, start: bool, [hires, stays]: [bool; 2]) -> [(bool, &'static str); 3] {
    [
        (start && !file, "--refiner-start needs a refiner: give one with --refiner"),
        (file && hires, "--refiner and --hires both go on with the picture: leave out one of them"),
        (file && stays, "--refiner is loaded after the model, and --stay-resident keeps that: leave out one of them"),
    ]
}

/// Of an IP-Adapter: the adapter, the encoder, whether a strength is given, and how many pictures.
fn image_prompt([adapter, encoder, strength]: [bool; 3], shown: usize) -> [(bool, &'static str); 4] {
    let given = strength || shown > 0;
    [
        (adapter && !encoder, "--ip-adapter needs the image encoder that it reads: give it with --clip-vision"),
        (encoder && !adapter, "--clip-vision needs --ip-adapter, which reads what it says"),
        (
            given && !adapter,
            "--ip-adapter-image and --ip-adapter-strength need an IP-Adapter: give one with --ip-adapter",
        ),
        (shown > IpAdapterInfo::MAX_PICTURES, "--ip-adapter-image is given more than 16 times: leave some out"),
    ]
}

/// Of skip-layer guidance: whether there is any, and what is said of it: layers, start and end.
fn skip(scale: bool, said: [bool; 3]) -> [(bool, &'static str); 1] {
    [(
        said.contains(&true) && !scale,
        "--skip-layers, --skip-layer-start and --skip-layer-end need --slg-scale, 2.8 for instance",
    )]
}

impl Plan {
    /// That no option excludes another.
    pub(super) fn check(self) -> Result<Self, Fault> {
        none(&[(self.device.is_some() && self.backend == Some(Backend::Cpu), DEVICE)])?;
        none(&hires(self.hires, self.hires_strength, self.hires_upscaler.is_some(), self.init_img.is_some()))?;
        let others = [self.hires.is_some(), self.stay_resident];
        none(&refiner(self.refiner.is_some(), self.refiner_start.is_some(), others))?;
        let said = [self.skip_layers.is_some(), self.skip_layer_start.is_some(), self.skip_layer_end.is_some()];
        none(&skip(self.slg_scale.is_some(), said))?;
        let files = [self.ip_adapter.is_some(), self.clip_vision.is_some(), false];
        none(&image_prompt(files, self.ip_adapter_image.len()))?;
        Ok(self)
    }
}

impl Upscale {
    /// That no option excludes another.
    pub(super) fn check(self) -> Result<Self, Fault> {
        none(&[(self.device.is_some() && self.backend == Some(Backend::Cpu), DEVICE)])?;
        Ok(self)
    }
}

impl Cli {
    /// That no option lacks another, or excludes it.
    pub(super) fn check(self) -> Result<Self, Fault> {
        none(&self.drawing())?;
        none(&self.text())?;
        let others = [self.hires.is_some(), self.stay_resident];
        none(&refiner(self.refiner.is_some(), self.refiner_start.is_some(), others))?;
        none(&hires(self.hires, self.hires_strength, self.hires_upscaler.is_some(), self.init_img.is_some()))?;
        let said = [self.skip_layers.is_some(), self.skip_layer_start.is_some(), self.skip_layer_end.is_some()];
        none(&skip(self.slg_scale.is_some(), said))?;
        let (adapter, shown) = (self.ip_adapter.is_some(), self.ip_adapter_image.len());
        let files = [adapter, self.clip_vision.is_some(), self.ip_adapter_strength.is_some()];
        none(&image_prompt(files, shown))?;
        none(&[(adapter && shown == 0, "--ip-adapter needs a picture to look at: give one with --ip-adapter-image")])?;
        Ok(self)
    }

    fn drawing(&self) -> [(bool, &'static str); 5] {
        let cpu = self.backend == Some(Backend::Cpu);
        [
            (
                self.positional.is_some() && self.prompt.is_some(),
                "the prompt is given twice: give it once, with or without -p",
            ),
            (self.tune && cpu, "--tune is for GPUs: leave out --tune or --backend cpu"),
            (self.device.is_some() && cpu, DEVICE),
            (self.classifier_scale.is_some() && self.classifier.is_none(), "--classifier-scale needs --classifier"),
            (
                self.classifier.is_some() && self.cfg_scale.is_some(),
                "--classifier replaces --cfg-scale: give only one of them",
            ),
        ]
    }

    /// Of models that read prompts.
    fn text(&self) -> [(bool, &'static str); 15] {
        let Self { init_img, preview, .. } = self;
        let [nets, images, strengths] = [self.control_net.len(), self.control_image.len(), self.control_strength.len()];
        [
            (self.strength.is_some() && init_img.is_none(), "--strength needs an init image: give one with -i"),
            (self.mask.is_some() && init_img.is_none(), "--mask needs an init image to repaint: give one with -i"),
            (self.mask_crop.is_some() && self.mask.is_none(), "--mask-crop needs a mask: give one with --mask"),
            (
                self.hires.is_some() && self.save_latents.is_some(),
                "--hires draws two sizes of latents, and --save-latents writes one: leave out one of them",
            ),
            (
                self.refiner.is_some() && self.mask.is_some(),
                "--refiner draws whole pictures, and --mask keeps a part: leave out one of them",
            ),
            (
                self.refiner.is_some() && self.save_latents.is_some(),
                "--refiner goes on with the latents, which --save-latents writes of one model: leave out one of them",
            ),
            (nets > images, "--control-net needs an image to read: give each one with --control-image"),
            (
                images > nets,
                "--control-image needs a ControlNet or a T2I-Adapter that reads it: give one with --control-net",
            ),
            (strengths > 0 && nets == 0, "--control-strength needs --control-net"),
            (
                strengths > 0 && strengths != nets,
                "--control-strength is given for each --control-net, in their order, or for none",
            ),
            (
                other(self.save_latents.as_deref(), "safetensors"),
                "--save-latents writes a .safetensors file: use a name ending in .safetensors",
            ),
            (other(preview.as_deref(), "png"), "--preview writes a PNG file: use a name ending in .png"),
            (self.preview_method.is_some() && preview.is_none(), "--preview-method needs --preview"),
            (self.preview_interval.is_some() && preview.is_none(), "--preview-interval needs --preview"),
            (
                self.preview_method == Some(PreviewMethod::Taesd) && self.taesd.is_none(),
                "--preview-method taesd needs --taesd",
            ),
        ]
    }
}
