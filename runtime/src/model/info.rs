//! What a file says of its model.

use super::latent::keys;
use super::scheduler::SchedulerInfo;
use super::unet_keys::{self, UNET, n};
use super::{ModelError, RequestError};
use crate::Error;
use crate::gguf::{File, GgufError, Value, WriteError, Writer};
use crate::nn::{BookUnet, PixelUnet, SdUnet};
use crate::quant::{DType, QUANTIZATION_VERSION};
use crate::sampler::{Prediction, Solver, SolverSettings, is_edm};
use crate::schedule::{Schedule, Spacing};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// How the model is best sampled, if the user says nothing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Defaults {
    /// The solver.
    pub solver: Solver,
    /// Number of steps.
    pub steps: usize,
    /// Strength of classifier-free guidance; 1 is none.
    pub guidance_scale: f32,
}

/// A model's description, from the file's metadata.
#[derive(Clone, PartialEq, Debug)]
pub struct Info {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: PixelUnet,
    /// The labels' names, by id; empty for an unconditional model.
    pub labels: Vec<String>,
    /// The values of black and white, `[0, 1]` in the book.
    pub range: [f32; 2],
    /// The noise levels.
    pub schedule: Schedule,
    /// What the network answers.
    pub prediction: Prediction,
    /// The number by which the network knows level 1.
    pub first_timestep: u32,
    /// How it is best sampled.
    pub defaults: Defaults,
    /// Which of the levels few steps visit, where the file says so: a student knows no others. Else as suits the solver.
    pub spacing: Option<Spacing>,
    /// The scheduler of a published model, which says what solvers do; none of the book's.
    pub scheduler: Option<SchedulerInfo>,
}

const SYSTEM: (&str, &str) = ("nijimi.system", "ddpm");
const NETWORK: &str = "nijimi.network";
const BOOK: &str = "book-unet";
const PUBLISHED: &str = "sd-unet";

/// The version of our keys that is read.
const FORMAT_VERSION: u32 = 1;

/// The most noise levels that a schedule may have.
const MAX_LEVELS: usize = 1 << 20;

impl Info {
    /// SolverSettings of a run with this solver, for [`Calls::new`](crate::sampler::Calls::new) on [`Self::schedule`]. Estimates
    /// are kept in the range of the pictures, which the book does not do: few steps with guidance are much better for it
    /// (`docs/performance.md`). Of a published model, all is as diffusers' class of the solver does it with the model's settings.
    ///
    /// # Errors
    /// A published model's settings that do not fit the solver.
    pub fn settings(&self, solver: Solver, steps: usize) -> Result<SolverSettings, Error> {
        if let Some(scheduler) = &self.scheduler {
            return Ok(scheduler.see().by(Some(solver), steps)?.1);
        }
        let usual = SolverSettings::new(solver, steps);
        Ok(SolverSettings {
            spacing: self.spacing.unwrap_or(usual.spacing),
            steps_offset: 0,
            prediction: self.prediction,
            clip: Some(self.range),
            epsilon_from_x0: true,
            ..usual
        })
    }

    /// The number of steps that suits a solver: the file knows it for its own; DDPM is meant to take every level, and others
    /// take 50.
    #[must_use]
    pub fn steps(&self, solver: Solver) -> usize {
        let levels = self.schedule.steps();
        match solver {
            _ if solver == self.defaults.solver => self.defaults.steps,
            Solver::Ddpm { .. } => levels,
            _ => levels.min(50),
        }
    }

    /// Reads a file's metadata, and no tensor.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type, unknown to this version, or contradicts itself.
    pub fn read(file: &File<'_>) -> Result<Self, Error> {
        kind(file, &[SYSTEM])?;
        match file.str(NETWORK)? {
            BOOK => Self::read_book(file),
            PUBLISHED => Self::read_published(file),
            other => {
                let expected = "book-unet or sd-unet";
                Err(ModelError::Unsupported { key: NETWORK, found: format!("{other:?}"), expected }.into())
            }
        }
    }

    fn read_book(file: &File<'_>) -> Result<Self, Error> {
        let network = BookUnet {
            in_channels: file.u32("nijimi.unet.in_channels")? as usize,
            channels: file.u32s("nijimi.unet.channels")?.iter().map(|&c| c as usize).collect(),
            time_dim: file.u32("nijimi.unet.time_dim")? as usize,
            label_count: file.u32("nijimi.unet.label_count")? as usize,
            height: file.u32("nijimi.image.height")? as usize,
            width: file.u32("nijimi.image.width")? as usize,
        };
        network.validate()?;
        if network.time_dim == 0 {
            return Err(wrong("nijimi.unet.time_dim", 0, "at least 1: the noise level reaches the network through it"));
        }
        let network = channels(file, PixelUnet::Book(network))?;
        let schedule = schedule(file)?;
        let labels = labels(file, network.label_count(), "nijimi.unet.label_count")?;
        let usual = Defaults { steps: schedule.steps().min(50), ..USUAL };
        let defaults = defaults(file, schedule.steps(), usual)?;
        Ok(Self {
            name: text(file, "general.name"),
            license: text(file, "general.license"),
            labels,
            range: range(file)?,
            prediction: prediction(file)?,
            schedule,
            first_timestep: first_timestep(file)?,
            defaults,
            spacing: spacing(file)?,
            network,
            scheduler: None,
        })
    }

    fn read_published(file: &File<'_>) -> Result<Self, Error> {
        keys::check(file)?;
        let size = |key: &str| file.u32(key).map(|side| side as usize);
        let sides = [size("nijimi.image.height")?, size("nijimi.image.width")?];
        let info = Self::published(unet_keys::unet(file, &UNET)?, sides, SchedulerInfo::read(file)?)?;
        let defaults = defaults(file, info.schedule.steps(), info.defaults)?;
        Ok(Self {
            name: text(file, "general.name"),
            license: text(file, "general.license"),
            network: channels(file, info.network)?,
            range: range(file)?,
            defaults,
            ..info
        })
    }

    /// What a published model is: a network that reads no text, the height and width of its pictures, whose values are -1 to 1,
    /// and its scheduler. It has no name.
    ///
    /// # Errors
    /// A network that is none, or is told more than pictures and the noise level; a scheduler that is not known, or none of
    /// models of noise.
    pub fn published(unet: SdUnet, size: [usize; 2], scheduler: SchedulerInfo) -> Result<Self, Error> {
        let network = PixelUnet::Sd(unet, size);
        network.validate()?;
        let (schedule, settings) = scheduler.see().by(None, 1)?;
        if settings.solver.is_flow() || settings.prediction == Prediction::Flow || is_edm(&scheduler.class) {
            let expected = "that of a model of noise levels with a beta each";
            let found = format!("{:?}", scheduler.class);
            return Err(ModelError::Unsupported { key: "nijimi.scheduler.class", found, expected }.into());
        }
        let levels = schedule.steps();
        let steps = if matches!(settings.solver, Solver::Ddpm { .. }) { levels } else { levels.min(50) };
        Ok(Self {
            name: String::new(),
            license: String::new(),
            labels: Vec::new(),
            range: [-1.0, 1.0],
            prediction: settings.prediction,
            first_timestep: 0,
            defaults: Defaults { solver: settings.solver, steps, ..USUAL },
            spacing: None,
            schedule,
            network,
            scheduler: Some(scheduler),
        })
    }

    /// Writes all metadata of a published model's file, most of whose weights are `dtype`.
    ///
    /// # Errors
    /// What [`Self::read`] would refuse; a model that is not [published](Self::published), whose trainer writes it; keys that were
    /// written already.
    pub fn write(&self, w: &mut Writer, dtype: DType) -> Result<(), Error> {
        let (PixelUnet::Sd(unet, [height, width]), Some(scheduler)) = (&self.network, &self.scheduler) else {
            return Err(wrong(NETWORK, BOOK, PUBLISHED));
        };
        self.network.validate()?;
        begin(w, [&self.name, &self.license], dtype, &[SYSTEM, (NETWORK, PUBLISHED)])?;
        unet_keys::write(w, &UNET, unet)?;
        w.meta("nijimi.image.width", n(*width))?;
        w.meta("nijimi.image.height", n(*height))?;
        w.meta("nijimi.image.channels", n(unet.in_channels))?;
        w.meta("nijimi.image.range", self.range.to_vec())?;
        scheduler.see().write(w)
    }
}

/// What suits a model that says nothing, but for the number of steps.
const USUAL: Defaults =
    Defaults { solver: Solver::Ddim { eta: 0.0, set_alpha_to_one: true }, steps: 1, guidance_scale: 1.0 };

/// The network, if the pictures have its channels.
fn channels(file: &File<'_>, network: PixelUnet) -> Result<PixelUnet, Error> {
    let (key, own) = ("nijimi.image.channels", network.channels());
    match file.u32(key)? {
        found if found as usize == own => Ok(network),
        found => Err(wrong(key, found, format!("{own}, as the network's"))),
    }
}

pub(super) fn wrong(key: &'static str, found: impl ToString, expected: impl Into<String>) -> Error {
    ModelError::Value { key, found: found.to_string(), expected: expected.into() }.into()
}

/// That the file is one of ours, of the version that is read, and says `keys`.
pub(super) fn kind(file: &File<'_>, keys: &[(&'static str, &'static str)]) -> Result<(), Error> {
    // The program first: a file of another lacks our keys, and that is not what is wrong with it.
    let key = "general.architecture";
    match file.get(key) {
        Some(Value::Str("nijimi")) => {}
        Some(Value::Str(name)) => return Err(ModelError::Foreign { found: format!("{key} is {name:?}") }.into()),
        _ => return Err(ModelError::Foreign { found: format!("it has no {key}") }.into()),
    }
    let key = "nijimi.format_version";
    let version = file.u32(key)?;
    if version != FORMAT_VERSION {
        return Err(ModelError::Unsupported { key, found: version.to_string(), expected: "1" }.into());
    }
    supported(file, keys)
}

/// Writes what [`kind`] reads, and whose file it is.
pub(super) fn begin(
    w: &mut Writer,
    [name, license]: [&str; 2],
    dtype: DType,
    keys: &[(&str, &str)],
) -> Result<(), WriteError> {
    w.meta("general.architecture", "nijimi")?;
    w.meta("general.name", name)?;
    if !license.is_empty() {
        w.meta("general.license", license)?;
    }
    w.meta("general.file_type", dtype.file_type())?;
    w.meta("general.quantization_version", QUANTIZATION_VERSION)?;
    w.meta("nijimi.format_version", FORMAT_VERSION)?;
    keys.iter().try_for_each(|&(key, value)| w.meta(key, value))
}

fn supported(file: &File<'_>, keys: &[(&'static str, &'static str)]) -> Result<(), Error> {
    for &(key, expected) in keys {
        let found = file.str(key)?;
        if found != expected {
            return Err(ModelError::Unsupported { key, found: format!("{found:?}"), expected }.into());
        }
    }
    Ok(())
}

/// A text that serves people only: absent, or of another type, it is empty.
pub(super) fn text(file: &File<'_>, key: &str) -> String {
    if let Some(Value::Str(s)) = file.get(key) { s.to_owned() } else { String::new() }
}

/// A model's name and its licence.
pub(super) fn titles(file: &File<'_>) -> [String; 2] {
    ["general.name", "general.license"].map(|key| text(file, key))
}

/// `found`, or `default` where the file has no such key. A key of another type stays an error.
fn or<T>(found: Result<T, GgufError>, default: T) -> Result<T, GgufError> {
    match found {
        Err(GgufError::MissingKey { .. }) => Ok(default),
        found => found,
    }
}

pub(super) fn labels(file: &File<'_>, count: usize, counted: &str) -> Result<Vec<String>, Error> {
    let key = "nijimi.labels";
    let labels = or(file.strs(key), Vec::new())?;
    if labels.len() != count {
        return Err(wrong(key, format!("{} names", labels.len()), format!("{count}, as {counted} says")));
    }
    if let Some(twice) = labels.iter().enumerate().find_map(|(i, l)| labels[..i].contains(l).then_some(l)) {
        return Err(wrong(key, format!("a list with {twice:?} twice"), "a list of different names"));
    }
    Ok(labels.into_iter().map(str::to_owned).collect())
}

/// The id of a label.
pub(super) fn label(labels: &[String], name: &str) -> Result<u32, RequestError> {
    let id = labels.iter().position(|label| label == name);
    id.map(|id| id as u32).ok_or_else(|| RequestError::UnknownLabel { label: name.to_owned(), known: labels.to_vec() })
}

pub(super) fn range(file: &File<'_>) -> Result<[f32; 2], Error> {
    let key = "nijimi.image.range";
    match file.f32s(key)?[..] {
        [low, high] if low < high && low.is_finite() && high.is_finite() => Ok([low, high]),
        ref other => Err(wrong(key, format!("{other:?}"), "two rising numbers")),
    }
}

pub(super) fn schedule(file: &File<'_>) -> Result<Schedule, Error> {
    let (key, kind) = ("nijimi.schedule.kind", file.str("nijimi.schedule.kind")?);
    let levels = file.u32("nijimi.schedule.steps")? as usize;
    if levels > MAX_LEVELS {
        return Err(wrong("nijimi.schedule.steps", levels, format!("at most {MAX_LEVELS}")));
    }
    let betas = || Ok::<_, Error>((file.f64("nijimi.schedule.beta_start")?, file.f64("nijimi.schedule.beta_end")?));
    let schedule = match kind {
        "linear" => betas().map(|(start, end)| Schedule::linear(start, end, levels))?,
        "scaled_linear" => betas().map(|(start, end)| Schedule::scaled_linear(start, end, levels))?,
        "cosine" => Schedule::cosine(levels),
        _ => {
            let expected = "linear, scaled_linear or cosine";
            return Err(ModelError::Unsupported { key, found: format!("{kind:?}"), expected }.into());
        }
    };
    Ok(schedule?)
}

pub(super) fn first_timestep(file: &File<'_>) -> Result<u32, Error> {
    let first = file.u32("nijimi.first_timestep")?;
    // All of them are then exact in f32.
    if first as usize > MAX_LEVELS {
        return Err(wrong("nijimi.first_timestep", first, format!("at most {MAX_LEVELS}")));
    }
    Ok(first)
}

fn prediction(file: &File<'_>) -> Result<Prediction, Error> {
    let (key, name) = ("nijimi.prediction_type", file.str("nijimi.prediction_type")?);
    let unsupported = || {
        let expected = "epsilon, v_prediction or sample";
        ModelError::Unsupported { key, found: format!("{name:?}"), expected }
    };
    Ok(Prediction::from_name(name).filter(|p| *p != Prediction::Flow).ok_or_else(unsupported)?)
}

fn spacing(file: &File<'_>) -> Result<Option<Spacing>, Error> {
    let key = "nijimi.sampler.spacing";
    let Some(name) = or(file.str(key).map(Some), None)? else { return Ok(None) };
    let unsupported = || {
        let expected = "leading, trailing or linspace";
        ModelError::Unsupported { key, found: format!("{name:?}"), expected }
    };
    Ok(Some(Spacing::from_name(name).ok_or_else(unsupported)?))
}

/// What the file says, and else what is usual.
fn defaults(file: &File<'_>, levels: usize, usual: Defaults) -> Result<Defaults, Error> {
    let key = "nijimi.sampler.method";
    let solver = match or(file.str(key).map(Some), None)? {
        None => usual.solver,
        // The network does not answer with a flow.
        Some(name) => Solver::from_name(name)
            .filter(|solver| !solver.is_flow())
            .ok_or_else(|| ModelError::Unsupported { key, found: format!("{name:?}"), expected: Solver::NAMES })?,
    };
    let steps = or(file.u32("nijimi.sampler.steps").map(|steps| steps as usize), usual.steps)?;
    if steps == 0 || steps > levels {
        return Err(wrong("nijimi.sampler.steps", steps, format!("1 to {levels}")));
    }
    let guidance_scale = or(file.f32("nijimi.sampler.guidance_scale"), usual.guidance_scale)?;
    if !guidance_scale.is_finite() {
        return Err(wrong("nijimi.sampler.guidance_scale", guidance_scale, "a finite number"));
    }
    Ok(Defaults { solver, steps, guidance_scale })
}
