//! A published model's scheduler, by the names of diffusers: as a file has it, and what another solver takes over from it.

use super::info::wrong;
use crate::Error;
use crate::gguf::{File, MetaValue, Value, Writer};
use crate::sampler::{
    Field, FinalSigma, SamplerError, Sigmas, Solver, SolverSettings, class_of, from_diffusers, is_edm, is_flow,
};
use crate::schedule::Schedule;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A scheduler as diffusers' `scheduler_config.json` has it.
#[derive(Clone, PartialEq, Debug)]
pub struct SchedulerInfo {
    /// Its class: `DDPMScheduler`, ...
    pub class: String,
    /// Its settings, by diffusers' names; what is not here is the class's default.
    pub settings: Vec<(String, Field)>,
}

/// The same, of whoever has it.
#[derive(Clone, Copy)]
pub(super) struct Scheduler<'a> {
    pub class: &'a str,
    pub settings: &'a [(String, Field)],
    /// Whether its pipeline gives flow's sigmas itself ([`Sigmas::Flow`]'s `even`).
    pub even: bool,
    /// How far its levels are moved to the noisy side, where that depends on the picture's size.
    pub shift: Option<f64>,
}

const CLASS: &str = "nijimi.scheduler.class";
const FIRST: &str = "nijimi.scheduler.";

/// diffusers' settings that are whole numbers.
const WHOLE: [&str; 4] = ["num_train_timesteps", "steps_offset", "solver_order", "original_inference_steps"];

/// Settings with keys of their own.
const NAMED: [(&str, &str); 5] = [
    ("beta_schedule", "nijimi.schedule.kind"),
    ("num_train_timesteps", "nijimi.schedule.steps"),
    ("beta_start", "nijimi.schedule.beta_start"),
    ("beta_end", "nijimi.schedule.beta_end"),
    ("prediction_type", "nijimi.prediction_type"),
];

impl SchedulerInfo {
    pub(super) fn read(file: &File<'_>) -> Result<Self, Error> {
        let text = |key: &str| file.str(key).map(|text| Field::Text(text.to_owned()));
        let mut settings = Vec::from([
            ("beta_schedule".to_owned(), text("nijimi.schedule.kind")?),
            ("num_train_timesteps".to_owned(), Field::Number(f64::from(file.u32("nijimi.schedule.steps")?))),
            ("beta_start".to_owned(), Field::Number(file.f64("nijimi.schedule.beta_start")?)),
            ("beta_end".to_owned(), Field::Number(file.f64("nijimi.schedule.beta_end")?)),
            ("prediction_type".to_owned(), text("nijimi.prediction_type")?),
        ]);
        for (key, value) in file.metadata() {
            let Some(name) = key.strip_prefix(FIRST).filter(|name| *name != "class") else { continue };
            let field = match value {
                Value::U32(v) => Field::Number(f64::from(v)),
                Value::F32(v) => Field::Number(f64::from(v)),
                Value::F64(v) => Field::Number(v),
                Value::Bool(v) => Field::Flag(v),
                Value::Str(v) => Field::Text(v.to_owned()),
                Value::Array(_) => Field::Numbers(file.f64s(key)?),
                _ => continue,
            };
            settings.retain(|(known, _)| known != name);
            settings.push((name.to_owned(), field));
        }
        Ok(Self { class: file.str(CLASS)?.to_owned(), settings })
    }

    pub(super) fn see(&self) -> Scheduler<'_> {
        Scheduler { class: &self.class, settings: &self.settings, even: false, shift: None }
    }
}

impl<'a> Scheduler<'a> {
    /// Writes what [`SchedulerInfo::read`] reads.
    pub fn write(&self, w: &mut Writer) -> Result<(), Error> {
        for (name, key) in NAMED {
            let field = self.settings.iter().find(|(own, _)| own == name).map(|(_, field)| field);
            let missing = || wrong(key, "missing", format!("said by the setting {name}"));
            w.meta(key, field.and_then(|field| value(name, field)).ok_or_else(missing)?)?;
        }
        w.meta(CLASS, self.class)?;
        for (name, field) in self.settings.iter().filter(|(own, _)| !NAMED.iter().any(|(name, _)| own == name)) {
            if let Some(value) = value(name, field) {
                w.meta(&format!("{FIRST}{name}"), value)?;
            }
        }
        Ok(())
    }

    /// The shift that a pipeline works out of the number of tokens (`use_dynamic_shifting`), evenly between two numbers of them.
    pub fn dynamic_shift(&self, tokens: usize) -> Option<f64> {
        let field = |name: &str| self.settings.iter().find(|(own, _)| own == name).map(|(_, field)| field);
        if !is_flow(self.class) || !matches!(field("use_dynamic_shifting"), Some(Field::Flag(true))) {
            return None;
        }
        let number = |name: &str, default: f64| match field(name) {
            Some(Field::Number(number)) => *number,
            _ => default,
        };
        let (few, many) = (number("base_image_seq_len", 256.0), number("max_image_seq_len", 4096.0));
        let (least, most) = (number("base_shift", 0.5), number("max_shift", 1.15));
        let mu = least + (tokens as f64 - few) * (most - least) / (many - few);
        let linear = matches!(field("time_shift_type"), Some(Field::Text(kind)) if kind == "linear");
        Some(if linear { mu } else { libm::exp(mu) })
    }

    /// Schedule and settings of `steps` steps of its own, or of another solver, which takes over what diffusers' `from_config`
    /// does: what is said stays, and the solver brings the rest.
    pub fn by(&self, solver: Option<Solver>, steps: usize) -> Result<(Schedule, SolverSettings), Error> {
        match solver.map(|solver| (solver, class_of(&solver))) {
            None => self.of(None, &[], steps),
            // The levels are what the model was trained by, whoever goes through them.
            Some((solver, _)) if is_edm(self.class) => {
                let (schedule, own) = self.of(None, &[], steps)?;
                // DEIS cannot end at the clean picture.
                let deis = matches!(solver, Solver::Deis { .. });
                let final_sigma = if deis { FinalSigma::SigmaMin } else { own.final_sigma };
                Ok((schedule, SolverSettings { solver, final_sigma, ..own }))
            }
            Some((solver, class)) if is_flow(self.class) => self.of_flow(&solver, class, steps),
            Some((_, Some((class, changed)))) => self.of(Some(class), &changed, steps),
            Some((solver, None)) => {
                let (schedule, SolverSettings { prediction, .. }) = self.of(None, &[], steps)?;
                Ok((schedule, SolverSettings { prediction, ..SolverSettings::new(solver, steps) }))
            }
        }
    }

    /// Another solver for a network that answers with a flow: one of flow's own, or one to which diffusers gives flow's sigmas
    /// (`use_flow_sigmas`).
    fn of_flow(
        &self,
        solver: &Solver,
        class: Option<(&'static str, Vec<(&'static str, Field)>)>,
        steps: usize,
    ) -> Result<(Schedule, SolverSettings), Error> {
        let (schedule, own) = self.of(None, &[], steps)?;
        let own_solver = match solver {
            Solver::Euler => Some(Solver::FlowEuler { random: false }),
            Solver::Heun => Some(Solver::FlowHeun),
            solver => solver.is_flow().then_some(*solver),
        };
        if let Some(solver) = own_solver {
            return Ok((schedule, SolverSettings { solver, ..own }));
        }
        let (Some((class, mut changed)), Sigmas::Flow { shift, .. }) =
            (class.filter(|_| solver.solves_flow()), own.sigmas)
        else {
            let problem = "the network answers with a flow, for which there are euler, heun, dpm++2s, dpm++2m, dpm++2m_sde, \
                           dpm++3m, dpm++3m_sde, unipc and deis";
            let (setting, value) = ("sampling_method".into(), solver.name().unwrap_or("another").into());
            return Err(SamplerError::Setting { setting, value, problem }.into());
        };
        changed.extend([
            ("use_flow_sigmas", Field::Flag(true)),
            ("flow_shift", Field::Number(shift)),
            ("prediction_type", Field::Text("flow_prediction".into())),
        ]);
        self.of(Some(class), &changed, steps)
    }

    /// Schedule and settings of its class, or of another, with its settings, of which `changed` take the place.
    pub fn of(
        &self,
        class: Option<&str>,
        changed: &[(&'a str, Field)],
        steps: usize,
    ) -> Result<(Schedule, SolverSettings), Error> {
        // In place of what it would be worked out of.
        let shift =
            self.shift.map(|shift| [("use_dynamic_shifting", Field::Flag(false)), ("shift", Field::Number(shift))]);
        let changed: Vec<_> = changed.iter().cloned().chain(shift.into_iter().flatten()).collect();
        let own = self.settings.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        let fields = own.map(|(name, field)| (name.as_str(), field.clone())).chain(changed.iter().cloned());
        let (schedule, mut settings) = from_diffusers(class.unwrap_or(self.class), &fields.collect::<Vec<_>>(), steps)?;
        if let (true, true, Sigmas::Flow { shift, .. }) = (self.even, settings.solver.is_flow(), settings.sigmas) {
            settings.sigmas = Sigmas::Flow { shift, even: true };
        }
        Ok((schedule, settings))
    }
}

/// A setting as it is written; none where it says nothing.
fn value(name: &str, field: &Field) -> Option<MetaValue> {
    Some(match field {
        Field::Null => return None,
        Field::Flag(flag) => (*flag).into(),
        Field::Number(number) if WHOLE.contains(&name) => (*number as u32).into(),
        Field::Number(number) => (*number).into(),
        Field::Text(text) => text.as_str().into(),
        Field::Numbers(numbers) => numbers.clone().into(),
    })
}
