//! A student of a text-to-image model: `nijimi-train text2image` with a teacher.
use super::command::{TextToImageArgs, on_device};
use crate::error::{Error, Result};
use crate::fit::Ended;
use crate::systems::distill::command::DistillArgs;
use crate::world::World;
use argh::FromArgs as _;
use std::rc::Rc;

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
    on_device(&args, Some(a.asked()), world)
}
