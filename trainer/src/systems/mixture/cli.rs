//! The command `nijimi-train mixture`.
use super::density::{hard_counts, mean_log_likelihood};
use super::{Options, Parameters, Shape, Start, fit_watched};
use crate::data::table::Table;
use crate::error::Result;
use crate::fit_command::fit_command;
use crate::launch;
use crate::report::Report;
use crate::say::say;
use crate::systems::classic::{self, step5::BOOK_EPSILON};
use crate::target;
use nijimi_cli::number;
use nijimi_runtime::model::Law;
use std::path::Path;
use std::time::Instant;

fit_command! {
    plain /// Fit a Gaussian mixture to columns of numbers by expectation-maximization (book steps 4 and 5).
    MixtureArgs "mixture" {
        table;
        out;
        report;
        columns;
        name("the file");
        /// components (default 2)
        #[argh(option, from_str_fn(number::width), short = 'k', long = "components", default = "2")]
        k: usize,
        /// where to begin: kmeans++, book (weights 1/2, means (0, 50) and (0, 100), unit covariances), or a file with a
        /// line for each component: weight, mean, covariance row by row (default kmeans++)
        #[argh(option, default = "String::from(\"kmeans++\")")]
        init: String,
        /// end when the mean log-likelihood rises by less (default 1e-6)
        #[argh(option, from_str_fn(number::not_negative), default = "1e-6")]
        tolerance: f64,
        /// end after so many updates (default 1000)
        #[argh(option, from_str_fn(number::or_none), default = "1000")]
        max_iterations: usize,
        /// what covariances may be: full, diagonal, spherical, or tied, the same for all (default full)
        #[argh(option, default = "Shape::Full")]
        covariance: Shape,
        /// least variance of a component in any direction, as a share of the data's in each column; 0 for none (default
        /// 1e-6)
        #[argh(option, from_str_fn(number::not_negative), default = "1e-6")]
        covariance_floor: f64,
        /// starts of kmeans++, of which the most likely result is kept (default 1)
        #[argh(option, from_str_fn(number::count), default = "1")]
        restarts: usize,
        /// keys the starts, and what is drawn for the report (default 0)
        #[argh(option, default = "0")]
        seed: u64,
        /// threads (default: all cores)
        #[argh(option, from_str_fn(number::threads), short = 't')]
        threads: Option<usize>,
    }
}

fn start(a: &MixtureArgs, dim: usize) -> Result<Start> {
    Ok(match a.init.as_str() {
        "kmeans++" => Start::KMeansPlusPlus,
        "book" => Start::Given(Parameters::book_start()),
        file => {
            let table = Table::read(Path::new(file), None)?;
            let mut rows = vec![vec![0.0; table.dim()]; table.rows()];
            rows.iter_mut().enumerate().for_each(|(i, row)| table.row(i, row));
            Start::Given(Parameters::from_rows(&rows, dim)?)
        }
    })
}

fn options(a: &MixtureArgs, dim: usize) -> Result<Options> {
    Ok(Options {
        k: a.k,
        shape: a.covariance,
        start: start(a, dim)?,
        tolerance: a.tolerance,
        max_iterations: a.max_iterations,
        floor: a.covariance_floor,
        restarts: a.restarts,
        seed: a.seed,
    })
}

/// Runs the command.
///
/// # Errors
/// If the data or starting values do not allow it, or a file cannot be written.
pub fn run(a: &MixtureArgs) -> Result<()> {
    launch::obeyed(&[("--restarts", "--init with values of its own", a.restarts > 1 && a.init != "kmeans++")])?;
    launch::threads(a.threads)?;
    let folder = target::prove_run(&a.out, a.report.as_ref(), &[("--data", &a.data)])?;
    let begin = Instant::now();
    let table = classic::load(&a.data, a.columns.as_deref(), a.names.as_deref())?;
    let options = options(a, table.dim())?;
    let read = begin.elapsed().as_secs_f64();
    say!("{} rows of {}; read in {read:.3} s", table.rows(), table.names().join(", "));
    let as_book = a.init == "book";
    say!(
        "updates  mean log-likelihood  seconds{}",
        if as_book { "  mean of ln(p + 1e-8), as in the book" } else { "" }
    );
    let mut since = Instant::now();
    let mut fault = None;
    let fit = fit_watched(&table, &options, &mut |restart, updates, step| {
        let seconds = since.elapsed().as_secs_f64();
        if updates == 0 && options.restarts > 1 {
            say!("start {}", restart + 1);
        }
        let book = as_book.then(|| step.parameters.mixture().map(|m| mean_log_likelihood(&table, &m, BOOK_EPSILON)));
        let book = match book.transpose() {
            Ok(value) => value.map_or_else(String::new, |v| format!("  {v:.15}")),
            Err(e) => {
                fault.get_or_insert(e);
                String::new()
            }
        };
        let note = if step.reseeded { "  a component without rows was placed anew" } else { "" };
        say!("{updates:7}  {:19.15}  {seconds:7.3}{book}{note}", step.mean_log_likelihood);
        since = Instant::now();
    })?;
    if let Some(e) = fault {
        return Err(e);
    }
    let p = fit.parameters();
    let n = table.rows() as f64;
    let how = if fit.converged { "converged" } else { "stopped by --max-iterations before it converged" };
    say!("{how} after {} updates", fit.iterations());
    for (k, rows) in hard_counts(&table, &p.mixture()?).into_iter().enumerate() {
        say!("component {}: weight {}, mean {:?}, most likely for {rows} rows", k + 1, p.weights[k], p.mean(k));
    }
    say!("log-likelihood {}, {} per row", fit.mean_log_likelihood() * n, fit.mean_log_likelihood());
    match crate::systems::mvn::fit(&table, false) {
        Ok(single) => {
            say!("of a single normal: {} per row", crate::systems::mvn::log_likelihood(&table, &single) / n)
        }
        Err(e) => say!("no single normal beside it: {e}"),
    }
    let name =
        classic::write(&a.out, a.name.as_deref(), Law::Mixture(p.mixture()?), &table, fit.mean_log_likelihood())?;
    let mut report = Report::new(name);
    let is_book = classic::BookData::of(&table) == Some(classic::BookData::OldFaithful);
    let shown = if is_book { Parameters::book_rounded() } else { p.clone() };
    classic::step4::step4(&mut report, &table, &shown, a.seed)?;
    classic::step5::step5(&mut report, &table, &options, &fit, a.seed)?;
    report.write(&folder)
}
