//! The way from noise to picture, as the command line names it: for every model that takes steps.

use crate::cli::Cli;
use crate::fault::Fault;
use nijimi_runtime::sampler::{Sigmas, Solver, SolverSettings};

/// The options that an unfit way may come from, for errors.
pub const OPTIONS: &str = "--sampling-method, --scheduler, --steps, --strength, --eta";

/// The solver of that name.
pub fn solver(name: Option<&str>) -> Result<Option<Solver>, Fault> {
    named("--sampling-method", name, Solver::from_name, Solver::NAMES)
}

/// The spread of the noise levels that is asked for.
pub fn sigmas(cli: &Cli) -> Result<Option<Sigmas>, Fault> {
    named("--scheduler", cli.scheduler.as_deref(), Sigmas::from_name, Sigmas::NAMES)
}

/// Gives the solver the share of fresh noise that is asked for.
pub fn set_eta(settings: &mut SolverSettings, cli: &Cli) -> Result<(), Fault> {
    if let Some(eta) = cli.eta {
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
    let unknown = |name: &str| Fault::Usage(format!("no {option} {name:?}: there are {names}"));
    name.map(|name| known(name).ok_or_else(|| unknown(name))).transpose()
}
