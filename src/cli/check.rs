//! What options need, and what they exclude.

use super::value::{Backend, PreviewMethod};
use super::{Cli, Plan, none_of};
use crate::fault::Fault;
use std::path::Path;

/// More threads than any machine has are a slip of the finger.
const MAX_THREADS: usize = 1024;

/// Most pictures for each word: a number of nine digits would draw for a year.
const MAX_BATCH: usize = 1_000_000;

/// What is wrong with options that several commands have, if it is.
fn common(batch: usize, steps: Option<usize>, cfg_scale: Option<f32>, threads: usize) -> [(bool, &'static str); 4] {
    [
        (!(1..=MAX_BATCH).contains(&batch), "-b must be 1 to 1000000"),
        (steps == Some(0), "--steps must be at least 1"),
        (threads > MAX_THREADS, "-t must be at most 1024; 0 takes one thread for each core"),
        (cfg_scale.is_some_and(|scale| !scale.is_finite()), "--cfg-scale must be a finite number, 1 for none"),
    ]
}

const DEVICE: &str = "--device is for GPUs: leave it out, or --backend cpu";

fn none(problems: &[(bool, &str)]) -> Result<(), Fault> {
    match problems.iter().find(|problem| problem.0) {
        Some((_, problem)) => Err(Fault::Usage((*problem).into())),
        None => Ok(()),
    }
}

/// Whether a file that is to be written has another extension than this one.
fn other(file: Option<&Path>, extension: &str) -> bool {
    file.is_some_and(|file| !file.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension)))
}

impl Plan {
    /// That no option is out of range, or excludes another.
    pub(super) fn check(self) -> Result<Self, Fault> {
        none(&common(self.batch, self.steps, self.cfg_scale, self.threads))?;
        none(&[(self.device.is_some() && self.backend == Some(Backend::Cpu), DEVICE)])?;
        Ok(self)
    }
}

impl Cli {
    /// That no option is given which only models that read prompts know.
    pub fn no_text(&self) -> Result<(), Fault> {
        let given = [
            ("-n", self.negative_prompt.is_some()),
            ("-W", self.width.is_some()),
            ("-H", self.height.is_some()),
            ("--cfg-rescale", self.cfg_rescale.is_some()),
            ("-i", self.init_img.is_some()),
            ("--lora", !self.lora.is_empty()),
            ("--control-net", self.control_net.is_some()),
            ("--taesd", self.taesd.is_some()),
            ("--vae-tiling", self.vae_tiling),
            ("--clip-skip", self.clip_skip.is_some()),
            ("--rng", self.rng.is_some()),
            ("--latents", self.latents.is_some()),
            ("--save-latents", self.save_latents.is_some()),
            ("--preview", self.preview.is_some()),
            ("--type", self.kind.is_some()),
            ("--tokenizer", self.tokenizer.is_some()),
            ("--memory-limit", self.memory_limit.is_some()),
            ("--stay-resident", self.stay_resident),
        ];
        none_of(&given, "models that read prompts: ")
    }

    /// That no option is given which is about steps, of a model that has none; `why` says so.
    pub fn no_sampler(&self, why: &str) -> Result<(), Fault> {
        let given = [
            ("--steps", self.steps.is_some()),
            ("--cfg-scale", self.cfg_scale.is_some()),
            ("--classifier", self.classifier.is_some()),
            ("--sampling-method", self.sampling_method.is_some()),
            ("--scheduler", self.scheduler.is_some()),
            ("--eta", self.eta.is_some()),
            ("--no-clip", self.no_clip),
        ];
        none_of(&given, &format!("diffusion models: {why}, so "))
    }

    /// That no option is out of range, lacks another, or excludes it.
    pub(super) fn check(self) -> Result<Self, Fault> {
        none(&common(self.batch, self.steps, self.cfg_scale, self.threads))?;
        none(&self.drawing())?;
        none(&self.text())?;
        Ok(self)
    }

    fn drawing(&self) -> [(bool, &'static str); 7] {
        let cpu = self.backend == Some(Backend::Cpu);
        [
            (
                self.positional.is_some() && self.prompt.is_some(),
                "the prompt was given twice: once is enough, with or without -p",
            ),
            (self.tune && cpu, "--tune is for GPUs: leave it out, or --backend cpu"),
            (self.device.is_some() && cpu, DEVICE),
            (self.scale.is_some_and(|scale| !(1..=64).contains(&scale)), "--scale must be 1 to 64"),
            (
                self.classifier_scale.is_some_and(|scale| !scale.is_finite()),
                "--classifier-scale must be a finite number, 0 for none",
            ),
            (self.classifier_scale.is_some() && self.classifier.is_none(), "--classifier-scale needs a --classifier"),
            (
                self.classifier.is_some() && self.cfg_scale.is_some(),
                "--classifier takes the place of --cfg-scale: give one of them",
            ),
        ]
    }

    /// Of models that read prompts. What needs another option is no option of its own: `no_text` leaves it out.
    fn text(&self) -> [(bool, &'static str); 13] {
        let Self { init_img, control_net, preview, .. } = self;
        [
            (self.strength.is_some_and(|x| !(0.0..=1.0).contains(&x)), "--strength must be 0 to 1"),
            (self.strength.is_some() && init_img.is_none(), "--strength needs the picture to begin with: -i"),
            (self.mask.is_some() && init_img.is_none(), "--mask needs the picture to repaint: -i"),
            (
                control_net.is_some() && self.control_image.is_none(),
                "--control-net needs the picture that it reads: --control-image",
            ),
            (
                self.control_image.is_some() && control_net.is_none(),
                "--control-image needs the model that reads it: --control-net",
            ),
            (self.control_strength.is_some() && control_net.is_none(), "--control-strength needs a --control-net"),
            (
                self.control_strength.is_some_and(|x| !x.is_finite()),
                "--control-strength must be a finite number, 0 for none",
            ),
            (
                other(self.save_latents.as_deref(), "safetensors"),
                "--save-latents writes a .safetensors file: give it that ending",
            ),
            (other(preview.as_deref(), "png"), "--preview writes a PNG: give it the ending .png"),
            (self.preview_method.is_some() && preview.is_none(), "--preview-method needs a --preview"),
            (self.preview_interval.is_some() && preview.is_none(), "--preview-interval needs a --preview"),
            (self.preview_interval == Some(0), "--preview-interval must be at least 1"),
            (
                self.preview_method == Some(PreviewMethod::Taesd) && self.taesd.is_none(),
                "--preview-method taesd needs a --taesd",
            ),
        ]
    }
}
