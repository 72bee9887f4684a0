//! Fitting a normal distribution (book step 2).
use crate::data::table::Table;
use crate::error::Result;
use crate::report::Report;
use crate::stats::{FitError, Moments, sum};
use crate::systems::classic;
use crate::systems::mixture::check;
use argh::FromArgs;
use nijimi_runtime::dist::Normal;
use nijimi_runtime::model::Law;
use std::path::PathBuf;
use std::time::Instant;

/// The most likely normal for a table of one column: its mean, and the root of the mean squared deviation (divided by
/// n).
///
/// # Errors
/// If there are more columns, fewer than two rows, or the column is constant.
pub fn fit(table: &Table) -> Result<Normal> {
    if table.dim() != 1 {
        return Err(FitError::Columns { found: table.dim(), names: table.names().join(", ") }.into());
    }
    check(table, 2, true)?;
    let moments = Moments::of(&table.columns()[0]);
    Ok(Normal::new(moments.mean, moments.sigma()).map_err(nijimi_runtime::Error::from)?)
}

/// Log-likelihood of a normal: the sum of `ln p(x)`.
#[must_use]
pub fn log_likelihood(values: &[f64], mean: f64, sigma: f64) -> f64 {
    let squares = sum(values.iter().map(|x| ((x - mean) / sigma).powi(2)));
    -0.5 * squares - values.len() as f64 * (0.5 * (2.0 * std::f64::consts::PI).ln() + sigma.ln())
}

/// The gradient of [`log_likelihood`] by mean and sigma: `sum(x - mean) / sigma^2` and `-n / sigma + sum(x - mean)^2 /
/// sigma^3`. It vanishes at the fit.
#[must_use]
pub fn gradient(values: &[f64], mean: f64, sigma: f64) -> [f64; 2] {
    let first = sum(values.iter().map(|x| x - mean));
    let second = sum(values.iter().map(|x| (x - mean).powi(2)));
    [first / sigma.powi(2), second / sigma.powi(3) - values.len() as f64 / sigma]
}

/// Fit a normal distribution to a column of numbers (book step 2).
#[derive(FromArgs)]
#[argh(subcommand, name = "normal")]
pub struct NormalArgs {
    /// the table: numbers in lines, divided by commas, tabs, semicolons or spaces
    #[argh(option)]
    data: PathBuf,
    /// the weight file to write
    #[argh(option)]
    out: PathBuf,
    /// folder of the report (default: the weight file's name without its extension, with -report)
    #[argh(option)]
    report: Option<PathBuf>,
    /// the column, by name or number from 1 (needed if there are several)
    #[argh(option)]
    columns: Option<String>,
    /// another name for the column
    #[argh(option)]
    names: Option<String>,
    /// name of the model in the file (default: the file's)
    #[argh(option)]
    name: Option<String>,
    /// print the probability of a value of at most this; may be given again
    #[argh(option)]
    at_most: Vec<f64>,
    /// print the probability of a value above this; may be given again
    #[argh(option)]
    above: Vec<f64>,
    /// add step 1 of the book to the report: the distribution itself, means and sums of uniforms
    #[argh(switch)]
    basics: bool,
    /// keys what is drawn for the report (default 0)
    #[argh(option, default = "0")]
    seed: u64,
}

/// Runs the command.
///
/// # Errors
/// If the data do not allow it, or a file cannot be written.
pub fn run(a: &NormalArgs) -> Result<()> {
    let begin = Instant::now();
    let table = classic::load(&a.data, a.columns.as_deref(), a.names.as_deref())?;
    let read = begin.elapsed().as_secs_f64();
    let normal = fit(&table)?;
    let fitted = begin.elapsed().as_secs_f64() - read;
    let values = &table.columns()[0];
    let (n, name) = (table.rows() as f64, &table.names()[0]);
    let total = log_likelihood(values, normal.mean(), normal.sigma());
    let slope = gradient(values, normal.mean(), normal.sigma());
    println!("{n} values of {name}; read in {read:.3} s, fitted in {fitted:.3} s");
    println!("mu {}, sigma {} (divided by n)", normal.mean(), normal.sigma());
    println!("log-likelihood {total}, {} per value; gradient {:.1e}, {:.1e}", total / n, slope[0], slope[1]);
    a.at_most.iter().for_each(|x| println!("P({name} <= {x}) = {}", normal.cdf(*x)));
    a.above.iter().for_each(|x| println!("P({name} > {x}) = {}", normal.survival(*x)));
    let name = classic::write(&a.out, a.name.as_deref(), Law::Normal(normal), &table, total / n)?;
    let mut report = Report::new(name);
    if a.basics {
        classic::step1::step1(&mut report, a.seed)?;
    }
    classic::step2::step2(&mut report, &table, &normal, &a.at_most, &a.above, a.seed)?;
    report.write(&classic::report_folder(&a.out, a.report.as_deref()))
}
