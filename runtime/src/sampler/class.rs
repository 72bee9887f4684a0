//! diffusers' class of a solver, so that a published model's settings can be taken over by another one.

use super::Field;
use super::settings::{Dpm, Solver};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

/// The class of diffusers that does what the solver does, and the fields that make it so; none where diffusers has no such
/// class, or not for models of noise. What a model may say for itself (DDIM's last level) is left to it.
#[must_use]
pub fn class_of(solver: &Solver) -> Option<(&'static str, Vec<(&'static str, Field)>)> {
    let text = |name: &str| Field::Text(name.to_string());
    let number = |n: usize| Field::Number(n as f64);
    let dpm = |form: Dpm, order: usize, heun: bool| {
        let form = match form {
            Dpm::Noise => "dpmsolver",
            Dpm::Data => "dpmsolver++",
            Dpm::NoiseSde => "sde-dpmsolver",
            Dpm::DataSde => "sde-dpmsolver++",
        };
        let rule = if heun { "heun" } else { "midpoint" };
        vec![("algorithm_type", text(form)), ("solver_order", number(order)), ("solver_type", text(rule))]
    };
    Some(match *solver {
        Solver::Ddpm { .. } => ("DDPMScheduler", vec![]),
        Solver::Ddim { eta, .. } => ("DDIMScheduler", vec![("eta", Field::Number(eta))]),
        Solver::Pndm { skip_prk, .. } => ("PNDMScheduler", vec![("skip_prk_steps", Field::Flag(skip_prk))]),
        Solver::Euler => ("EulerDiscreteScheduler", vec![]),
        Solver::EulerAncestral => ("EulerAncestralDiscreteScheduler", vec![]),
        Solver::Heun => ("HeunDiscreteScheduler", vec![]),
        Solver::Lms => ("LMSDiscreteScheduler", vec![]),
        Solver::Dpm2 => ("KDPM2DiscreteScheduler", vec![]),
        Solver::Dpm2Ancestral => ("KDPM2AncestralDiscreteScheduler", vec![]),
        Solver::DpmMulti { form, order, heun } => ("DPMSolverMultistepScheduler", dpm(form, order, heun)),
        Solver::DpmSingle { form, order, heun } => ("DPMSolverSinglestepScheduler", dpm(form, order, heun)),
        Solver::UniPc { order, predict_x0, bh2 } => {
            let rule = text(if bh2 { "bh2" } else { "bh1" });
            let fields =
                [("solver_order", number(order)), ("predict_x0", Field::Flag(predict_x0)), ("solver_type", rule)];
            ("UniPCMultistepScheduler", fields.into())
        }
        Solver::Deis { order } => ("DEISMultistepScheduler", vec![("solver_order", number(order))]),
        Solver::Lcm { .. } => ("LCMScheduler", vec![]),
        Solver::Tcd { eta, .. } => ("TCDScheduler", vec![("eta", Field::Number(eta))]),
        Solver::Dpm2sAncestral | Solver::FlowEuler { .. } | Solver::FlowHeun => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::from_diffusers;

    /// Every name of the command line, there and back. Seen red with the orders exchanged.
    #[test]
    fn a_class_makes_its_solver() {
        let mut classes = 0;
        for name in Solver::NAMES.split(", ") {
            let solver = Solver::from_name(name).unwrap_or_else(|| panic!("{name}"));
            let Some((class, fields)) = class_of(&solver) else { continue };
            let (_, settings) = from_diffusers(class, &fields, 20).unwrap();
            assert_eq!(settings.solver, solver, "{name}");
            classes += 1;
        }
        assert_eq!(classes, 19);
    }
}
