//! `nijimi-train mvn`.
use super::{anatomy, fit, log_likelihood};
use crate::error::Result;
use crate::launch;
use crate::report::Report;
use crate::say::say;
use crate::systems::classic;
use crate::target;
use argh::FromArgs;
use nijimi_runtime::model::Law;
use std::path::PathBuf;
use std::time::Instant;

/// Fit a multivariate normal distribution to columns of numbers (book step 3).
#[derive(FromArgs)]
#[argh(subcommand, name = "mvn")]
pub struct MvnArgs {
    /// the table: numbers in lines, divided by commas, tabs, semicolons or spaces
    #[argh(option)]
    data: PathBuf,
    /// the weight file to write
    #[argh(option)]
    out: PathBuf,
    /// folder of the report (default: the weight file's name without its extension, with -report)
    #[argh(option)]
    report: Option<PathBuf>,
    /// the columns, by name or number from 1, with commas (default: all)
    #[argh(option)]
    columns: Option<String>,
    /// other names for the columns, with commas
    #[argh(option)]
    names: Option<String>,
    /// name of the model in the file (default: the file's)
    #[argh(option)]
    name: Option<String>,
    /// divide the covariance by n - 1 instead of n
    #[argh(switch)]
    unbiased: bool,
    /// add the book's surfaces that need no data to the report
    #[argh(switch)]
    basics: bool,
}

/// Runs the command.
///
/// # Errors
/// If the data do not allow it, or a file cannot be written.
pub fn run(a: &MvnArgs) -> Result<()> {
    target::prove_report(&a.out, &launch::report_folder(a.report.as_ref(), &a.out), &[&a.data])?;
    let begin = Instant::now();
    let table = classic::load(&a.data, a.columns.as_deref(), a.names.as_deref())?;
    let read = begin.elapsed().as_secs_f64();
    let normal = fit(&table, a.unbiased)?;
    let fitted = begin.elapsed().as_secs_f64() - read;
    let total = log_likelihood(&table, &normal);
    let (dim, n) = (table.dim(), table.rows() as f64);
    say!("{n} rows of {}; read in {read:.3} s, fitted in {fitted:.3} s", table.names().join(", "));
    say!("mean {:?}", normal.mean());
    say!("covariance (divided by {})", if a.unbiased { "n - 1" } else { "n" });
    normal.covariance().chunks_exact(dim).for_each(|row| say!("  {row:?}"));
    let anatomy = anatomy(&normal);
    say!("determinant {}, eigenvalues {:?}", anatomy.determinant, anatomy.eigenvalues);
    say!("log-likelihood {total}, {} per row", total / n);
    let name = classic::write(&a.out, a.name.as_deref(), Law::Mvn(normal.clone()), &table, total / n)?;
    let mut report = Report::new(name);
    classic::step3::step3(&mut report, &table, &normal)?;
    if a.basics {
        classic::step3::surfaces(&mut report)?;
    }
    report.write(&launch::report_folder(a.report.as_ref(), &a.out))
}
