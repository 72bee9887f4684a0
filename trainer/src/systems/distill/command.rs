//! `nijimi-train distill`: which kind of student, by the teacher's file.
use super::lesson::Asked;
use crate::error::{Error, Result};
use crate::fit::Ended;
use crate::fit_command::fit_command;
use crate::systems::{ddpm, text2image};
use crate::world::World;
use nijimi_cli::number;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::quant::DType;
use std::path::PathBuf;
use std::rc::Rc;

fit_command! {
    /// Teach a student that draws in few steps, without guidance, what its teacher draws in many: a text-to-image model, or a
    /// diffusion model on labelled pictures. Its weights begin as the teacher's, and its file says how it is drawn with.
    DistillArgs "distill" {
        /// the weight file of the teacher, from nijimi-train text2image or nijimi-train ddpm
        #[argh(option)]
        teacher: PathBuf,
        /// what it was trained on: a folder with pictures and captions, or one with IDX files
        #[argh(option)]
        data: PathBuf,
        out;
        report("log, curve, previews, latents and checkpoint");
        /// steps of the student (default 4)
        #[argh(option, from_str_fn(number::count), default = "4")]
        steps: usize,
        /// steps of the teacher, a multiple of the student's (default 20, or the file's own if those are fewer, rounded up)
        #[argh(option, from_str_fn(number::count))]
        teacher_steps: Option<usize>,
        /// strength of the teacher's guidance, of models with labels or prompts (default: the file's own)
        #[argh(option, from_str_fn(number::not_negative))]
        cfg_scale: Option<f32>,
        epochs("epochs: passes over labelled pictures; of captioned ones, every subject is drawn eight times", "8");
        batch("32");
        lr("learning rate", "2e-4");
        /// share of the run, at its end, over which the learning rate falls to 0 (default 1)
        #[argh(option, from_str_fn(number::share), default = "1.0")]
        decay: f64,
        warmup("50");
        clip("1", "1.0");
        ema("0.999", "0.999");
        dtype("", "q8_0", "DType::Q8_0");
        name("the teacher");
        seed;
        precision("");
        checkpoints;
        /// checkpoints of epochs that are kept beside the newest one (default 0); to go on from one, copy it over checkpoint.safetensors
        #[argh(option, from_str_fn(number::or_none), default = "0")]
        keep: usize,
        /// text file with the prompts that a text-to-image student's previews show, one a line (default: 24 of the captions)
        #[argh(option)]
        prompts: Option<PathBuf>,
        max_steps;
        device;
        threads;
    }
}

impl DistillArgs {
    /// The lesson that they ask for.
    pub(crate) fn asked(&self) -> Asked {
        Asked { steps: self.steps, teacher_steps: self.teacher_steps, guidance_scale: self.cfg_scale }
    }
}

/// Teaches, and writes the student's file.
///
/// # Errors
/// A file that is no teacher's; as the kind's own training.
pub fn run(a: &DistillArgs, world: &Rc<dyn World>) -> Result<Ended> {
    let refused = |e: &dyn std::fmt::Display| Error::data(&a.teacher, e.to_string());
    let mapped = MappedFile::open(&a.teacher).map_err(|e| refused(&e))?;
    let file = File::new_checked(mapped.bytes()).map_err(|e| refused(&e))?;
    match file.str("nijimi.system").map_err(|e| refused(&e))? {
        "ddpm" => ddpm::student::run(a, mapped.bytes(), world),
        "latent-diffusion" => text2image::student::run(a, world),
        system => {
            let what = format!(
                "holds a model of the kind {system}: a teacher is one that draws in steps, from nijimi-train text2image or \
                 nijimi-train ddpm"
            );
            Err(Error::data(&a.teacher, what))
        }
    }
}
