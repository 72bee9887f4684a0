//! `nijimi-train distill`: `nijimi-train text2image` with a teacher.
use super::command::{TextToImageArgs, on_device};
use super::teacher::Lesson;
use crate::error::{Error, Result};
use crate::fit::Ended;
use crate::fit_command::fit_command;
use crate::world::World;
use argh::FromArgs as _;
use nijimi_cli::number;
use nijimi_runtime::quant::DType;
use std::path::PathBuf;
use std::rc::Rc;

fit_command! {
    /// Teach a student that draws in few steps, without guidance, what a text-to-image model draws in many: its weights begin as the
    /// teacher's. Its file is sampled as the teacher's is.
    DistillArgs "distill" {
        /// the weight file of the teacher, from nijimi-train text2image
        #[argh(option)]
        teacher: PathBuf,
        /// folder with the pictures and captions that it was trained on
        #[argh(option)]
        data: PathBuf,
        out;
        report("log, curve, previews, latents and checkpoint");
        /// steps of the student (default 4)
        #[argh(option, from_str_fn(number::count), default = "4")]
        steps: usize,
        /// steps of the teacher, a multiple of the student's (default 20)
        #[argh(option, from_str_fn(number::count), default = "20")]
        teacher_steps: usize,
        /// strength of the teacher's guidance (default: the file's own)
        #[argh(option, from_str_fn(number::not_negative))]
        cfg_scale: Option<f32>,
        epochs("epochs; in each, every subject is drawn eight times", "8");
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
        /// text file with the prompts that previews show, one a line (default: 24 of the captions)
        #[argh(option)]
        prompts: Option<PathBuf>,
        max_steps;
        device;
        threads;
    }
}

/// Teaches, and writes the student's file.
///
/// # Errors
/// As [`super::command::run`].
pub fn run(a: &DistillArgs, world: &Rc<dyn World>) -> Result<Ended> {
    let path = a.teacher.to_string_lossy();
    // The student is a model that goes on from its teacher; what is not said here is as there.
    let common = TextToImageArgs::from_args(&["distill"], &["--data", "", "--out", "", "--init", &path]);
    let common = common.map_err(|e| Error::Usage(e.output))?;
    let args = TextToImageArgs {
        data: a.data.clone(),
        out: a.out.clone(),
        init: Some(a.teacher.clone()),
        report: a.report.clone(),
        epochs: a.epochs,
        batch: a.batch,
        lr: a.lr,
        decay: a.decay,
        warmup: a.warmup,
        clip: a.clip,
        ema: a.ema,
        dtype: a.dtype,
        name: a.name.clone(),
        seed: a.seed,
        precision: a.precision.clone(),
        resume: a.resume,
        checkpoint_minutes: a.checkpoint_minutes,
        keep: a.keep,
        prompts: a.prompts.clone(),
        max_steps: a.max_steps,
        device: a.device,
        threads: a.threads,
        // The student's pictures are its teacher's: what was mirrored there is so by caption and noise.
        mirror: 0.0,
        ..common
    };
    let lesson =
        Lesson { steps: a.steps, teacher_steps: a.teacher_steps, guidance_scale: a.cfg_scale.unwrap_or(f32::INFINITY) };
    on_device(&args, Some(lesson), world)
}
