//! `nijimi-train distill`: `nijimi-train text2image` with a teacher.
use super::command::{TextToImageArgs, on_device};
use super::teacher::Lesson;
use crate::error::{Error, Result};
use crate::fit::Ended;
use crate::launch::{self, Device};
use crate::world::World;
use argh::FromArgs;
use nijimi_runtime::model::{LatentDefaults, LatentInfo};
use nijimi_runtime::quant::DType;
use std::path::PathBuf;
use std::rc::Rc;

/// Teach a student that draws in few steps, without guidance, what a text-to-image model draws in many: its weights begin as the
/// teacher's. Its file is sampled as the teacher's is.
#[derive(FromArgs)]
#[argh(subcommand, name = "distill")]
pub struct DistillArgs {
    /// the weight file of the teacher, from nijimi-train text2image
    #[argh(option)]
    teacher: PathBuf,
    /// folder with the pictures and captions that it was trained on
    #[argh(option)]
    data: PathBuf,
    /// the weight file to write
    #[argh(option)]
    out: PathBuf,
    /// folder for log, curve, previews, latents and checkpoint (default: the weight file's name without its extension, with -report)
    #[argh(option)]
    report: Option<PathBuf>,
    /// steps of the student (default 4)
    #[argh(option, default = "4")]
    steps: usize,
    /// steps of the teacher, a multiple of the student's (default 20)
    #[argh(option, default = "20")]
    teacher_steps: usize,
    /// strength of the teacher's guidance (default: the file's own)
    #[argh(option)]
    cfg_scale: Option<f32>,
    /// epochs; in each, every subject is drawn eight times (default 8)
    #[argh(option, default = "8")]
    epochs: u64,
    /// pictures in a batch (default 32)
    #[argh(option, default = "32")]
    batch: usize,
    /// learning rate (default 2e-4)
    #[argh(option, default = "2e-4")]
    lr: f64,
    /// share of the run, at its end, over which the learning rate falls to 0 (default 1)
    #[argh(option, default = "1.0")]
    decay: f64,
    /// steps over which the learning rate rises from 0 (default 50)
    #[argh(option, default = "50")]
    warmup: u64,
    /// largest norm of the gradients; longer ones are scaled down (default 1)
    #[argh(option, default = "1.0")]
    clip: f64,
    /// decay of the averaged weights that are exported; 0 exports the raw ones (default 0.999)
    #[argh(option, default = "0.999")]
    ema: f64,
    /// type of the exported weights: f32, f16, q8_0 or q4_0 (default q8_0)
    #[argh(option, long = "type", from_str_fn(launch::dtype), default = "DType::Q8_0")]
    dtype: DType,
    /// name of the model in the file (default: the teacher's)
    #[argh(option)]
    name: Option<String>,
    /// keys everything random (default 0)
    #[argh(option, default = "0")]
    seed: u64,
    /// precision of the products: f32, or bf16 on CPUs that have it (default f32)
    #[argh(option, default = "String::from(\"f32\")")]
    precision: String,
    /// go on from the checkpoint in the report folder
    #[argh(switch)]
    resume: bool,
    /// minutes between checkpoints (default 5)
    #[argh(option, default = "5.0")]
    checkpoint_minutes: f64,
    /// checkpoints of epochs that are kept beside the newest one (default 0); to go on from one, copy it over checkpoint.safetensors
    #[argh(option, default = "0")]
    keep: usize,
    /// text file with the prompts that previews show, one a line (default: 24 of the captions)
    #[argh(option)]
    prompts: Option<PathBuf>,
    /// stop after this many steps
    #[argh(option)]
    max_steps: Option<u64>,
    /// what to train on: cpu, or cuda in a build for it (default cpu)
    #[argh(option, default = "Device::Cpu")]
    device: Device,
    /// threads (default: all cores)
    #[argh(option, short = 't')]
    threads: Option<usize>,
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

/// A lesson with the guidance that the teacher's file states where none is given (infinite); the student's file then states how it
/// is drawn with.
pub(super) fn taught(lesson: Lesson, info: &mut LatentInfo) -> Result<Lesson> {
    let own = info.defaults.guidance_scale.unwrap_or(1.0);
    let guidance_scale = if lesson.guidance_scale == f32::INFINITY { own } else { lesson.guidance_scale };
    let lesson = Lesson { guidance_scale, ..lesson };
    lesson.check()?;
    info.defaults =
        LatentDefaults { steps: Some(lesson.steps), guidance_scale: Some(1.0), ..LatentDefaults::default() };
    Ok(lesson)
}
