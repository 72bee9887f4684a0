//! A student of a diffusion model on labelled pictures.
use super::teacher::Teacher;
use super::{Ddpm, DdpmSettings, Naming};
use crate::data::idx::{LabelledPictures, Split};
use crate::error::{Error, Result};
use crate::export::book_unet::FIRST_TIMESTEP;
use crate::fingerprint::{FileSum, Fingerprint};
use crate::fit::{Ended, FitOptions, fit_in};
use crate::fit_command::FitCommand as _;
use crate::import;
use crate::launch::{self, Device};
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::systems::distill::command::DistillArgs;
use crate::systems::distill::lesson::{Course, Lesson};
use crate::world::World;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::Info;
use nijimi_runtime::raw::nn::{BookUnet, PixelUnet};
use nijimi_runtime::sampler::{Prediction, Solver, SolverSettings};
use nijimi_runtime::schedule::Schedule;
use std::path::Path;
use std::rc::Rc;

/// Probability that a label is dropped: a student is told none now and then, as its teacher was.
const LABEL_DROP: f32 = 0.1;

/// The course of a teacher that is described so.
///
/// # Errors
/// A lesson that cannot be taught.
pub fn course(info: &Info, lesson: Lesson) -> Result<Course> {
    // With estimates that are kept in the pictures' range, as the runtime draws.
    let teacher = info.settings(Solver::ddim(0.0), 1)?;
    Course::new(lesson, &info.schedule, teacher, SolverSettings { prediction: Prediction::V, ..teacher })
}

/// The network, if the model is of a form that is trained here: else the student's file could not say what it is.
fn trainable(info: &Info) -> std::result::Result<&BookUnet, String> {
    let refuse = |what: &str| {
        Err(format!("{what}: it can be drawn with, but not taught from; nijimi-train ddpm makes a teacher"))
    };
    let PixelUnet::Book(network) = &info.network else { return refuse("the model is a published one") };
    let (schedule, levels) = (&info.schedule, info.schedule.steps());
    if Schedule::linear(schedule.beta(1), schedule.beta(levels), levels).as_ref() != Ok(schedule) {
        return refuse("its noise levels are not those of a linear schedule");
    }
    if network.in_channels != 1 || info.range != [0.0, 1.0] {
        return refuse("its pictures are not gray ones with values from 0 to 1");
    }
    if info.first_timestep != FIRST_TIMESTEP {
        return refuse("its lowest noise level has another number than 1");
    }
    Ok(network)
}

/// That pictures and labels are such as the teacher draws.
fn fitting(network: &BookUnet, data: &LabelledPictures, folder: &Path) -> Result<()> {
    if (network.width, network.height) != (data.width, data.height) {
        let ((w, h), (own_w, own_h)) = ((data.width, data.height), (network.width, network.height));
        let what = format!("pictures of {w}x{h}, --teacher draws {own_w}x{own_h}: give those that it was trained on");
        return Err(Error::data(folder, what));
    }
    let most = usize::from(data.labels.iter().copied().max().unwrap_or(0));
    if network.label_count > 0 && most >= network.label_count {
        let (last, what) = (network.label_count - 1, "give those that it was trained on");
        return Err(Error::data(folder, format!("has the label {most}, --teacher knows 0 to {last}: {what}")));
    }
    Ok(())
}

/// Teaches, and writes the student's file. `bytes` are the teacher's.
///
/// # Errors
/// A teacher of another form, a lesson that cannot be taught, data that is not the teacher's; as [`super::command::run`].
pub fn run(a: &DistillArgs, bytes: &[u8], world: &Rc<dyn World>) -> Result<Ended> {
    match a.device {
        Device::Cpu => on(dfdx::prelude::Cpu::default(), a, bytes, world),
        #[cfg(feature = "cuda")]
        Device::Cuda => {
            let device = dfdx::prelude::Cuda::try_build(0, 0);
            on(device.map_err(|e| Error::Device(format!("CUDA device 0: {e}")))?, a, bytes, world)
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda => unreachable!("refused where the command line is read"),
    }
}

fn on<D: Kit>(device: D, a: &DistillArgs, bytes: &[u8], world: &Rc<dyn World>) -> Result<Ended> {
    let refused = |e: &dyn std::fmt::Display| Error::data(&a.teacher, e.to_string());
    let file = File::new_checked(bytes).map_err(|e| refused(&e))?;
    let info = Info::read(&file).map_err(|e| refused(&e))?;
    let network = trainable(&info).map_err(|what| refused(&what))?;
    launch::obeyed(&[
        ("--prompts", "a teacher that reads none", a.prompts.is_some()),
        ("--cfg-scale", "a teacher without labels", network.label_count == 0 && a.cfg_scale.is_some()),
    ])?;
    let lesson = a.asked().of(info.defaults.steps, info.defaults.guidance_scale);
    let course = course(&info, lesson)?;
    launch::threads(a.threads)?;
    a.prove(world.share(), &[("--teacher", &a.teacher), ("--data", &a.data)])?;
    let data = LabelledPictures::load(&a.data, Split::Train)?;
    fitting(network, &data, &a.data)?;
    let settings = DdpmSettings {
        decay: a.decay,
        epochs: a.epochs,
        batch: a.batch,
        label_drop: LABEL_DROP,
        as_in_book: false,
        steps: info.schedule.steps(),
        beta_start: info.schedule.beta(1),
        beta_end: info.schedule.beta(info.schedule.steps()),
        seed: a.seed,
        precision: D::precision(&a.precision).map_err(|e| Error::Usage(format!("--precision {e}")))?,
    };
    let naming = Naming { name: a.name.clone().unwrap_or_else(|| info.name.clone()), labels: info.labels.clone() };
    let model = import::book_unet(&device, &file).map_err(|e| refused(&e))?.with_precision(settings.precision);
    let fingerprint = Fingerprint::new("distill")
        .with("--batch", a.batch)
        .with("--decay", a.decay)
        .with("--seed", a.seed)
        .with("--precision", &a.precision)
        .with("the file of --teacher", FileSum(bytes))
        .with("the data", data.sum());
    let adam = AdamW { lr: a.lr, weight_decay: 0.0, warmup: a.warmup, clip: Some(a.clip), muon: None };
    let ema = Some(a.ema).filter(|e| *e > 0.0);
    let options = FitOptions { keep: a.keep, ..a.fit_options(adam, ema, lesson.named(fingerprint)) };
    let task = Ddpm::new(device, settings, naming, model.config().clone(), data)?;
    let mut task = task.taught_by(Teacher::new(model, course));
    fit_in(&**world, &mut task, &options, &launch::interruptible()?)
}
