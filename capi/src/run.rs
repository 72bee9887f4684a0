//! Runs: begun, taken step by step, looked at, and ended at any time.
#![allow(unsafe_code)] // the functions' names, which are the header's, and nothing else: a test looks

use crate::border::{In, Out, Place, Room, Text, put, required, structs};
use crate::context::Context;
use crate::fault::{DONE, Fault, LastError, OK, Status, guard};
use crate::model::Model;
use crate::options::{DrawOptions, Pixels};
use nijimi_runtime::model::ModelRun;
use std::sync::{Arc, Mutex, PoisonError};

/// A program's `nijimi_run`.
pub struct Run {
    /// Its context's.
    errors: Arc<LastError>,
    /// None after a panic, which leaves it half done.
    made: Mutex<Option<ModelRun>>,
}

structs! {
    /// What a run makes.
    RunInfo as "nijimi_run_info" {
        count: usize,
        width: usize,
        height: usize,
        channels: usize,
        bytes: usize,
    }

    /// A step that was made.
    StepInfo as "nijimi_step_info" {
        step: usize,
        total: usize,
        timestep: f64,
    }
}

impl Run {
    /// Does `work` with the run, for a function of the header.
    fn guard(this: Option<&Self>, work: impl FnOnce(&mut ModelRun) -> Result<Status, Fault>) -> Status {
        guard(this.map(|run| &*run.errors), || {
            let mut made = required(this, "run")?.made.lock().unwrap_or_else(PoisonError::into_inner);
            let mut run =
                made.take().ok_or_else(|| Fault::usage("the run failed before: free it, and begin another"))?;
            let done = work(&mut run);
            *made = Some(run);
            done
        })
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_run_begin(
    context: Option<&Context>,
    model: Option<&Model>,
    prompt: Text,
    options: In<DrawOptions>,
    run: Place<'_, Run>,
) -> Status {
    Context::guard(context, |context| {
        put(run, || {
            let model = required(model, "model")?;
            let options = options.over(DrawOptions::of(model)?)?;
            let pixels = Pixels::read(&options)?;
            let request = options.request(model, prompt.get("prompt")?.unwrap_or_default(), &pixels)?;
            let made = model.loaded.run(&request)?;
            Ok(Run { errors: context.errors.clone(), made: Mutex::new(Some(made)) })
        })?;
        Ok(OK)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_run_describe(run: Option<&Run>, mut info: Out<RunInfo>) -> Status {
    Run::guard(run, |run| {
        let [height, width, channels] = run.picture_shape();
        info.fill(&RunInfo { size: 0, count: run.len(), width, height, channels, bytes: run.bytes() })?;
        Ok(OK)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_step(run: Option<&Run>, mut info: Out<StepInfo>) -> Status {
    Run::guard(run, |run| {
        let Some(step) = run.step()? else { return Ok(DONE) };
        let timestep = f64::from(step.timestep);
        info.fill_if_wanted(&StepInfo { size: 0, step: step.index + 1, total: step.total, timestep })?;
        Ok(OK)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_preview(run: Option<&Run>, mut pixels: Room, len: usize) -> Status {
    Run::guard(run, |run| {
        check(run, len)?;
        run.write_preview(pixels.get(len, "pixels")?)?;
        Ok(OK)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_pictures(run: Option<&Run>, mut pixels: Room, len: usize) -> Status {
    Run::guard(run, |run| {
        check(run, len)?;
        let pixels = pixels.get(len, "pixels")?;
        while run.step()?.is_some() {}
        run.write_u8(pixels)?;
        Ok(OK)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_run_free(run: Option<Box<Run>>) {
    guard(None, || {
        drop(run);
        Ok(OK)
    });
}

/// Before anything is written to so many bytes.
fn check(run: &ModelRun, len: usize) -> Result<(), Fault> {
    let bytes = run.bytes();
    let wrong = || Fault::usage(format!("len is {len}, and the pictures have {bytes} bytes: see nijimi_run_describe"));
    if len == bytes { Ok(()) } else { Err(wrong()) }
}
