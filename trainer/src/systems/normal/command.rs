//! `nijimi-train normal`.
use super::{fit, gradient, log_likelihood};
use crate::error::Result;
use crate::fit_command::fit_command;
use crate::report::Report;
use crate::say::say;
use crate::systems::classic;
use crate::target;
use nijimi_cli::number;
use nijimi_runtime::model::Law;
use std::time::Instant;

fit_command! {
    plain /// Fit a normal distribution to a column of numbers (book step 2).
    NormalArgs "normal" {
        table;
        out;
        report;
        /// the column, by name or number from 1 (needed if there are several)
        #[argh(option)]
        columns: Option<String>,
        /// another name for the column
        #[argh(option)]
        names: Option<String>,
        name("the file");
        /// print the probability of a value of at most this; may be given again
        #[argh(option, from_str_fn(number::finite))]
        at_most: Vec<f64>,
        /// print the probability of a value above this; may be given again
        #[argh(option, from_str_fn(number::finite))]
        above: Vec<f64>,
        /// add step 1 of the book to the report: the distribution itself, means and sums of uniforms
        #[argh(switch)]
        basics: bool,
        /// keys what is drawn for the report (default 0)
        #[argh(option, default = "0")]
        seed: u64,
    }
}

/// Runs the command.
///
/// # Errors
/// If the data do not allow it, or a file cannot be written.
pub fn run(a: &NormalArgs) -> Result<()> {
    let folder = target::prove_run(&a.out, a.report.as_ref(), &[("--data", &a.data)])?;
    let begin = Instant::now();
    let table = classic::load(&a.data, a.columns.as_deref(), a.names.as_deref())?;
    let read = begin.elapsed().as_secs_f64();
    let normal = fit(&table)?;
    let fitted = begin.elapsed().as_secs_f64() - read;
    let values = &table.columns()[0];
    let (n, name) = (table.rows() as f64, &table.names()[0]);
    let total = log_likelihood(values, normal.mean(), normal.sigma());
    let slope = gradient(values, normal.mean(), normal.sigma());
    say!("{n} values of {name}; read in {read:.3} s, fitted in {fitted:.3} s");
    say!("mu {}, sigma {} (divided by n)", normal.mean(), normal.sigma());
    say!("log-likelihood {total}, {} per value; gradient {:.1e}, {:.1e}", total / n, slope[0], slope[1]);
    a.at_most.iter().for_each(|x| say!("P({name} <= {x}) = {}", normal.cdf(*x)));
    a.above.iter().for_each(|x| say!("P({name} > {x}) = {}", normal.survival(*x)));
    let name = classic::write(&a.out, a.name.as_deref(), Law::Normal(normal), &table, total / n)?;
    let mut report = Report::new(name);
    if a.basics {
        classic::step1::step1(&mut report, a.seed)?;
    }
    classic::step2::step2(&mut report, &table, &normal, &a.at_most, &a.above, a.seed)?;
    report.write(&folder)
}
