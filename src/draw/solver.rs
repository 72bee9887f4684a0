//! The way from noise to picture, as the command line names it: for every model that takes steps.

use crate::cli::SamplingOptions;
use crate::fault::Fault;
use nijimi_runtime::sampler::{Sigmas, Solver, SolverSettings};
use std::fmt;

/// The fault of a way that cannot be taken: of the options that were given, if it is of any.
pub fn unfit(asked: &SamplingOptions, strength: Option<f64>, e: impl fmt::Display) -> Fault {
    let all = [
        ("--sampling-method", asked.method.is_some()),
        ("--scheduler", asked.scheduler.is_some()),
        ("--steps", asked.steps.is_some()),
        ("--strength", strength.is_some()),
        ("--eta", asked.eta.is_some()),
    ];
    let given: Vec<&str> = all.into_iter().filter(|option| option.1).map(|option| option.0).collect();
    Fault::Usage(if given.is_empty() { e.to_string() } else { format!("{}: {e}", given.join(", ")) })
}

/// The solver of that name.
pub fn solver(name: Option<&str>) -> Result<Option<Solver>, Fault> {
    named("--sampling-method", name, Solver::from_name, Solver::NAMES)
}

/// The spacing of the noise levels that is asked for.
pub fn sigmas(asked: &SamplingOptions) -> Result<Option<Sigmas>, Fault> {
    named("--scheduler", asked.scheduler.as_deref(), Sigmas::from_name, Sigmas::NAMES)
}

/// Gives the solver the share of fresh noise that is asked for.
pub fn set_eta(settings: &mut SolverSettings, asked: &SamplingOptions) -> Result<(), Fault> {
    if let Some(eta) = asked.eta {
        let none = || Fault::Usage("--eta is for --sampling-method ddim and tcd: leave it out".into());
        settings.solver = settings.solver.with_eta(eta).ok_or_else(none)?;
    }
    Ok(())
}

/// What an option names, of those that there are.
fn named<T>(
    option: &str,
    name: Option<&str>,
    known: impl Fn(&str) -> Option<T>,
    names: &str,
) -> Result<Option<T>, Fault> {
    let unknown = |name: &str| Fault::Usage(format!("{option} {name:?} is not known: there are {names}"));
    name.map(|name| known(name).ok_or_else(|| unknown(name))).transpose()
}
