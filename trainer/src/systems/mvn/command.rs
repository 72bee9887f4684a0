//! `nijimi-train mvn`.
use super::{anatomy, fit, log_likelihood};
use crate::error::Result;
use crate::fit_command::fit_command;
use crate::report::Report;
use crate::say::say;
use crate::systems::classic;
use crate::target;
use nijimi_runtime::model::Law;
use std::time::Instant;

fit_command! {
    plain /// Fit a multivariate normal distribution to columns of numbers (book step 3).
    MvnArgs "mvn" {
        table;
        out;
        report;
        columns;
        name("the file");
        /// divide the covariance by n - 1 instead of n
        #[argh(switch)]
        unbiased: bool,
        /// add the book's surfaces that need no data to the report
        #[argh(switch)]
        basics: bool,
    }
}

/// Runs the command.
///
/// # Errors
/// If the data do not allow it, or a file cannot be written.
pub fn run(a: &MvnArgs) -> Result<()> {
    let folder = target::prove_run(&a.out, a.report.as_ref(), &[("--data", &a.data)])?;
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
    report.write(&folder)
}
