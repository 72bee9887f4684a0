//! SolverSettings from a published pipeline's `scheduler_config.json`, by the names of `diffusers`.

use super::settings::{Dpm, FinalSigma, Sigmas, Solver, SolverSettings};
use super::{Edm, Prediction, SamplerError, Variance};
use crate::schedule::{Schedule, Spacing};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A value of a scheduler's configuration; whoever reads the file makes these, so that the core needs no JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// null
    Null,
    /// true or false
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list of numbers (`trained_betas`, `disable_corrector`).
    Numbers(Vec<f64>),
}

/// Names that say nothing beside a switch that is off, or belong to another class.
const SILENT: [&str; 13] = [
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "time_shift_type",
    "max_beta",
    "skip_type",
    "clip_sample_range",
    "flow_shift",
    "solver_type",
    "algorithm_type",
];

/// Names that are read.
const KNOWN: [&str; 33] = [
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "set_alpha_to_one",
    "skip_prk_steps",
    "clip_sample",
    "rescale_betas_zero_snr",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
    "use_flow_sigmas",
    "final_sigmas_type",
    "solver_order",
    "lower_order_final",
    "euler_at_final",
    "predict_x0",
    "original_inference_steps",
    "timestep_scaling",
    "shift",
    "variance_type",
    "stochastic_sampling",
    "timestep_type",
    "interpolation_type",
    "lambda_min_clipped",
    "eta",
    "sigma_min",
    "sigma_max",
];

/// Names that are read of EDM's classes.
const EDM: [&str; 3] = ["sigma_data", "sigma_schedule", "rho"];

/// Whether a class goes by EDM's noise levels.
#[must_use]
pub fn is_edm(class: &str) -> bool {
    class.starts_with("EDM")
}

/// Whether a class is of rectified flow.
#[must_use]
pub fn is_flow(class: &str) -> bool {
    class.starts_with("FlowMatch")
}

/// Names that must be off: what they switch on is not here.
const OFF: [&str; 6] =
    ["thresholding", "use_dynamic_shifting", "invert_sigmas", "shift_terminal", "disable_corrector", "solver_p"];

struct Fields<'a>(&'a [(&'a str, Field)]);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|(key, value)| *key == name && *value != Field::Null).map(|(_, value)| value)
    }

    fn refuse(&self, name: &str, problem: &'static str) -> SamplerError {
        let value = match self.get(name) {
            None => "null".into(),
            Some(Field::Flag(flag)) => flag.to_string(),
            Some(Field::Number(number)) => number.to_string(),
            Some(Field::Text(text)) => text.clone(),
            Some(other) => alloc::format!("{other:?}"),
        };
        SamplerError::Setting { setting: name.into(), value, problem }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, SamplerError> {
        match self.get(name) {
            None => Ok(default),
            Some(Field::Flag(flag)) => Ok(*flag),
            Some(_) => Err(self.refuse(name, "it must be true or false")),
        }
    }

    fn number(&self, name: &str, default: f64) -> Result<f64, SamplerError> {
        match self.get(name) {
            None => Ok(default),
            Some(Field::Number(number)) => Ok(*number),
            Some(_) => Err(self.refuse(name, "it must be a number")),
        }
    }

    fn count(&self, name: &str, default: usize) -> Result<usize, SamplerError> {
        let number = self.number(name, default as f64)?;
        if (0.0..1e6).contains(&number) && libm::floor(number) == number {
            Ok(number as usize)
        } else {
            Err(self.refuse(name, "it must be a whole number, 0 or more"))
        }
    }

    fn text<'b>(&'b self, name: &str, default: &'b str) -> Result<&'b str, SamplerError> {
        match self.get(name) {
            None => Ok(default),
            Some(Field::Text(text)) => Ok(text),
            Some(_) => Err(self.refuse(name, "it must be a text")),
        }
    }

    /// Every name is known, and what is not here is off.
    fn check(&self, class: &str) -> Result<(), SamplerError> {
        for (name, value) in self.0 {
            let known = name.starts_with('_') || SILENT.contains(name) || KNOWN.contains(name);
            let known = known || is_edm(class) && EDM.contains(name);
            let off = match value {
                Field::Null | Field::Flag(false) => true,
                Field::Numbers(numbers) => numbers.is_empty(),
                _ => false,
            };
            if OFF.contains(name) && !off {
                return Err(self.refuse(name, "this is not supported here"));
            }
            if !known && !OFF.contains(name) {
                return Err(self.refuse(name, "this setting is not known"));
            }
        }
        for (name, only) in [("timestep_type", "discrete"), ("interpolation_type", "linear")] {
            if self.text(name, only)? != only {
                return Err(self.refuse(name, "this value is not supported here"));
            }
        }
        match self.get("lambda_min_clipped") {
            None => Ok(()),
            Some(Field::Number(number)) if *number == f64::NEG_INFINITY => Ok(()),
            // Written as text by those who write infinities so.
            Some(Field::Text(text)) if text.starts_with("-inf") || text.starts_with("-Inf") => Ok(()),
            Some(_) => Err(self.refuse("lambda_min_clipped", "only minus infinity is supported here")),
        }?;
        match (self.get("sigma_min"), self.get("sigma_max")) {
            (None, None) => Ok(()),
            _ if is_edm(class) => Ok(()),
            (None, _) => Err(self.refuse("sigma_max", "sigmas of one's own are not supported here")),
            _ => Err(self.refuse("sigma_min", "sigmas of one's own are not supported here")),
        }
    }

    fn schedule(&self, class: &str) -> Result<Schedule, SamplerError> {
        let levels = self.count("num_train_timesteps", 1000)?;
        let (start, end, kind) = match class {
            "LCMScheduler" | "TCDScheduler" => (0.00085, 0.012, "scaled_linear"),
            "HeunDiscreteScheduler" | "KDPM2DiscreteScheduler" | "KDPM2AncestralDiscreteScheduler" => {
                (0.00085, 0.012, "linear")
            }
            _ => (1e-4, 0.02, "linear"),
        };
        let (start, end) = (self.number("beta_start", start)?, self.number("beta_end", end)?);
        let schedule = match (self.get("trained_betas"), self.text("beta_schedule", kind)?) {
            (Some(Field::Numbers(betas)), _) => Schedule::from_betas(betas.clone())?,
            (Some(_), _) => return Err(self.refuse("trained_betas", "it must be a list of numbers")),
            (None, "linear") => Schedule::from_betas(line(start, end, levels).map(f64::from).collect())?,
            (None, "scaled_linear") => {
                let roots = line(libm::sqrt(start), libm::sqrt(end), levels);
                Schedule::from_betas(roots.map(|root| f64::from(root * root)).collect())?
            }
            (None, "squaredcos_cap_v2") => Schedule::cosine(levels)?,
            _ => return Err(self.refuse("beta_schedule", "use linear, scaled_linear or squaredcos_cap_v2")),
        };
        Ok(if self.flag("rescale_betas_zero_snr", false)? { schedule.zero_terminal_snr()? } else { schedule })
    }

    fn dpm(&self, form: &str) -> Result<(Dpm, usize, bool), SamplerError> {
        let form = match self.text("algorithm_type", form)? {
            "dpmsolver++" | "deis" => Dpm::Data,
            "sde-dpmsolver++" => Dpm::DataSde,
            "dpmsolver" => Dpm::Noise,
            "sde-dpmsolver" => Dpm::NoiseSde,
            _ => return Err(self.refuse("algorithm_type", "use dpmsolver, dpmsolver++ or one of their sde forms")),
        };
        Ok((form, self.count("solver_order", 2)?, self.text("solver_type", "midpoint")? == "heun"))
    }

    fn solver(&self, class: &str) -> Result<Solver, SamplerError> {
        let order = || self.count("solver_order", 2);
        Ok(match class {
            "DDPMScheduler" => {
                let variance = Variance::from_name(self.text("variance_type", "fixed_small")?);
                let variance =
                    variance.ok_or_else(|| self.refuse("variance_type", "use fixed_small or fixed_large"))?;
                Solver::Ddpm { variance }
            }
            "DDIMScheduler" => {
                let set_alpha_to_one = self.flag("set_alpha_to_one", true)?;
                Solver::Ddim { eta: self.number("eta", 0.0)?, set_alpha_to_one }
            }
            "PNDMScheduler" => Solver::Pndm {
                skip_prk: self.flag("skip_prk_steps", false)?,
                set_alpha_to_one: self.flag("set_alpha_to_one", false)?,
            },
            "EulerDiscreteScheduler" | "EDMEulerScheduler" => Solver::Euler,
            "EulerAncestralDiscreteScheduler" => Solver::EulerAncestral,
            "HeunDiscreteScheduler" => Solver::Heun,
            "LMSDiscreteScheduler" => Solver::Lms,
            "KDPM2DiscreteScheduler" => Solver::Dpm2,
            "KDPM2AncestralDiscreteScheduler" => Solver::Dpm2Ancestral,
            "DPMSolverMultistepScheduler" | "EDMDPMSolverMultistepScheduler" => {
                let (form, order, heun) = self.dpm("dpmsolver++")?;
                Solver::DpmMulti { form, order, heun }
            }
            "DPMSolverSinglestepScheduler" => {
                let (form, order, heun) = self.dpm("dpmsolver++")?;
                Solver::DpmSingle { form, order, heun }
            }
            "UniPCMultistepScheduler" => Solver::UniPc {
                order: order()?,
                predict_x0: self.flag("predict_x0", true)?,
                bh2: self.text("solver_type", "bh2")? != "bh1",
            },
            "DEISMultistepScheduler" => Solver::Deis { order: order()? },
            "LCMScheduler" => Solver::Lcm {
                original_steps: self.count("original_inference_steps", 50)?,
                timestep_scaling: self.number("timestep_scaling", 10.0)?,
            },
            "TCDScheduler" => Solver::Tcd {
                original_steps: self.count("original_inference_steps", 50)?,
                eta: self.number("eta", 0.3)?,
            },
            "FlowMatchEulerDiscreteScheduler" => Solver::FlowEuler { random: self.flag("stochastic_sampling", false)? },
            "FlowMatchHeunDiscreteScheduler" => Solver::FlowHeun,
            _ => {
                let (setting, value) = ("_class_name".into(), class.into());
                return Err(SamplerError::Setting { setting, value, problem: "this scheduler is not known" });
            }
        })
    }

    /// Both classes' defaults are these.
    fn edm(&self) -> Result<(Edm, Sigmas), SamplerError> {
        let edm = Edm {
            sigma_min: self.number("sigma_min", 0.002)?,
            sigma_max: self.number("sigma_max", 80.0)?,
            sigma_data: self.number("sigma_data", 0.5)?,
            rho: self.number("rho", 7.0)?,
        };
        let sigmas = match self.text("sigma_schedule", "karras")? {
            "karras" => Sigmas::Karras,
            "exponential" => Sigmas::Exponential,
            _ => return Err(self.refuse("sigma_schedule", "use karras or exponential")),
        };
        Ok((edm, sigmas))
    }

    fn sigmas(&self, flow: bool) -> Result<Sigmas, SamplerError> {
        let mut chosen = Vec::new();
        for (name, sigmas) in [
            ("use_karras_sigmas", Sigmas::Karras),
            ("use_exponential_sigmas", Sigmas::Exponential),
            ("use_beta_sigmas", Sigmas::Beta),
            ("use_lu_lambdas", Sigmas::Lu),
            ("use_flow_sigmas", Sigmas::Flow { shift: self.number("flow_shift", 1.0)?, even: false }),
        ] {
            if self.flag(name, false)? {
                chosen.push((name, sigmas));
            }
        }
        match chosen[..] {
            [] if flow => Ok(Sigmas::Flow { shift: self.number("shift", 1.0)?, even: false }),
            [(name, _), ..] if flow => Err(self.refuse(name, "this spread of the sigmas is not there for flow")),
            [] => Ok(Sigmas::Discrete),
            [(_, sigmas)] => Ok(sigmas),
            [_, (name, _), ..] => Err(self.refuse(name, "only one spread of the sigmas can be had")),
        }
    }
}

/// `torch.linspace` to the bit: f32, from both ends, every value rounded once. Which of two levels a sigma lies at may
/// hang on the last bit.
fn line(start: f64, end: f64, n: usize) -> impl Iterator<Item = f32> {
    let (start, end) = (start as f32, end as f32);
    let step = f64::from((end - start) / n.saturating_sub(1) as f32);
    let from_end = move |i: usize| f64::from(end) - step * (n - 1 - i) as f64;
    (0..n).map(move |i| if i < n / 2 { f64::from(start) + step * i as f64 } else { from_end(i) } as f32)
}

/// The noise schedule and the settings of `steps` steps of a scheduler of `diffusers`: its class, and the fields of its
/// `scheduler_config.json`. What is not there has the class's default; `eta` is DDIM's and TCD's share of noise.
///
/// # Errors
/// A class, a field or a value that is not known or not supported, named.
pub fn from_diffusers(
    class: &str,
    fields: &[(&str, Field)],
    steps: usize,
) -> Result<(Schedule, SolverSettings), SamplerError> {
    let f = Fields(fields);
    f.check(class)?;
    let mut s = SolverSettings::new(f.solver(class)?, steps);
    let schedule = f.schedule(class)?;
    let spacing = match s.spacing {
        Spacing::Leading => "leading",
        _ => "linspace",
    };
    // The class has no such setting.
    let spaced =
        if class == "DPMSolverSinglestepScheduler" { "linspace" } else { f.text("timestep_spacing", spacing)? };
    s.spacing =
        Spacing::from_name(spaced).ok_or_else(|| f.refuse("timestep_spacing", "use leading, trailing or linspace"))?;
    s.steps_offset = f.count("steps_offset", 0)?;
    let flow = s.solver.is_flow();
    s.sigmas = f.sigmas(flow)?;
    if is_edm(class) {
        let (edm, sigmas) = f.edm()?;
        (s.edm, s.sigmas) = (Some(edm), sigmas);
    }
    s.prediction = Prediction::from_name(f.text("prediction_type", if flow { "flow_prediction" } else { "epsilon" })?)
        .ok_or_else(|| f.refuse("prediction_type", "use epsilon, v_prediction, sample or flow_prediction"))?;
    s.final_sigma = match f.text("final_sigmas_type", "zero")? {
        _ if matches!(s.solver, Solver::Deis { .. }) => FinalSigma::SigmaMin,
        "zero" => FinalSigma::Zero,
        "sigma_min" => FinalSigma::SigmaMin,
        _ => return Err(f.refuse("final_sigmas_type", "use zero or sigma_min")),
    };
    let ddpm_or_ddim = s.solver.is_simple();
    if ddpm_or_ddim || matches!(s.solver, Solver::Heun | Solver::Lcm { .. }) {
        let range = f.number("clip_sample_range", 1.0)? as f32;
        s.clip = f.flag("clip_sample", ddpm_or_ddim)?.then_some([-range, range]);
    }
    s.lower_order_final = f.flag("lower_order_final", !matches!(s.solver, Solver::DpmSingle { .. }))?;
    s.euler_at_final = f.flag("euler_at_final", false)?;
    s.floor_timesteps =
        matches!(s.solver, Solver::DpmMulti { .. }) && f.text("beta_schedule", "")? == "squaredcos_cap_v2";
    Ok((schedule, s))
}
