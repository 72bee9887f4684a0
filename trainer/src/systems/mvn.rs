//! Fitting a multivariate normal distribution (book step 3).
use crate::data::table::Table;
use crate::error::Result;
use crate::report::Report;
use crate::stats::covariance;
use crate::systems::classic;
use crate::systems::mixture::{Shape, check};
use argh::FromArgs;
use nalgebra::{DMatrix, SymmetricEigen};
use nijimi_runtime::dist::MultivariateNormal;
use nijimi_runtime::model::Law;
use std::path::PathBuf;
use std::time::Instant;

/// The normal with a table's mean and covariance: the most likely one, whose sums are divided by n, or with the
/// unbiased covariance, divided by n - 1.
///
/// # Errors
/// If a column is constant or a linear function of others, or rows are fewer than parameters.
pub fn fit(table: &Table, unbiased: bool) -> Result<MultivariateNormal> {
    let (mean, mle) = check(table, Shape::Full.free(1, table.dim()), true)?;
    let covariance = if unbiased { covariance(table, 1).1 } else { mle };
    Ok(MultivariateNormal::new(mean, covariance).map_err(nijimi_runtime::Error::from)?)
}

/// Log-likelihood: the sum of `ln p(x)` over the rows.
#[must_use]
pub fn log_likelihood(table: &Table, normal: &MultivariateNormal) -> f64 {
    super::mixture::density::sum_over(table, |row| normal.log_pdf(row))
}

/// What a covariance matrix says of its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Anatomy {
    /// Determinant.
    pub determinant: f64,
    /// Inverse, row-major D x D.
    pub inverse: Vec<f64>,
    /// Eigenvalues, rising: the variances along the axes of the ellipsoids of equal density.
    pub eigenvalues: Vec<f64>,
    /// Correlations, row-major D x D.
    pub correlations: Vec<f64>,
}

/// Takes a positive definite covariance apart.
#[must_use]
pub fn anatomy(normal: &MultivariateNormal) -> Anatomy {
    let (dim, covariance) = (normal.dim(), normal.covariance());
    let matrix = DMatrix::from_row_slice(dim, dim, covariance);
    let mut eigenvalues: Vec<f64> = SymmetricEigen::new(matrix.clone()).eigenvalues.iter().copied().collect();
    eigenvalues.sort_unstable_by(f64::total_cmp);
    // The distribution was made by its Cholesky factor, so there is one here too.
    let inverse = matrix.cholesky().map(|c| c.inverse().iter().copied().collect()).unwrap_or_default();
    let scale = |i: usize| covariance[i * dim + i].sqrt();
    let correlations = (0..dim * dim).map(|at| covariance[at] / (scale(at / dim) * scale(at % dim))).collect();
    Anatomy { determinant: normal.log_det().exp(), inverse, eigenvalues, correlations }
}

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
    let begin = Instant::now();
    let table = classic::load(&a.data, a.columns.as_deref(), a.names.as_deref())?;
    let read = begin.elapsed().as_secs_f64();
    let normal = fit(&table, a.unbiased)?;
    let fitted = begin.elapsed().as_secs_f64() - read;
    let total = log_likelihood(&table, &normal);
    let (dim, n) = (table.dim(), table.rows() as f64);
    println!("{n} rows of {}; read in {read:.3} s, fitted in {fitted:.3} s", table.names().join(", "));
    println!("mean {:?}", normal.mean());
    println!("covariance (divided by {})", if a.unbiased { "n - 1" } else { "n" });
    normal.covariance().chunks_exact(dim).for_each(|row| println!("  {row:?}"));
    let anatomy = anatomy(&normal);
    println!("determinant {}, eigenvalues {:?}", anatomy.determinant, anatomy.eigenvalues);
    println!("log-likelihood {total}, {} per row", total / n);
    let name = classic::write(&a.out, a.name.as_deref(), Law::Mvn(normal.clone()), &table, total / n)?;
    let mut report = Report::new(name);
    classic::step3::step3(&mut report, &table, &normal)?;
    if a.basics {
        classic::step3::surfaces(&mut report)?;
    }
    report.write(&classic::report_folder(&a.out, a.report.as_deref()))
}
