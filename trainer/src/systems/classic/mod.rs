//! What the systems of few numbers (book steps 1 to 5) share: their data, and their reports.
mod book;
pub mod step1;
pub mod step2;
pub mod step3;
pub mod step4;
pub mod step5;

pub use book::BookData;

use crate::checkpoint::write_atomic;
use crate::data::table::Table;
use crate::error::{Error, Result};
use crate::stats::Histogram;
use nijimi_runtime::gguf::MetaValue;
use nijimi_runtime::model::{About, Law, Numbers};
use std::path::Path;

/// Reads the columns of a file that were asked for, under the names that were given.
///
/// # Errors
/// If the file is not such a table.
pub fn load(data: &Path, columns: Option<&str>, names: Option<&str>) -> Result<Table> {
    let table = Table::read(data, columns)?;
    let Some(names) = names else { return Ok(table) };
    table.renamed(names).map_err(|e| Error::Usage(format!("--names {names}: {e}")))
}

/// Writes a fitted law's weight file; returns the model's name: `name`, else the file's without its extension.
///
/// # Errors
/// If the file cannot be written.
pub fn write(out: &Path, name: Option<&str>, law: Law, table: &Table, mean_log_likelihood: f64) -> Result<String> {
    let of_file = || out.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.map_or_else(of_file, str::to_owned);
    let about = About { name: name.clone(), license: String::new(), columns: table.names().to_vec() };
    let record: [(&str, MetaValue); 3] = [
        ("command", crate::launch::command_line().into()),
        ("rows", (table.rows() as u64).into()),
        ("mean_log_likelihood", mean_log_likelihood.into()),
    ];
    write_atomic(out, &Numbers::new(law, about)?.to_file(&record)?)?;
    Ok(name)
}

/// The densities of a histogram by numpy's rule, for a chart.
fn bars(values: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let h = Histogram::auto(values);
    let densities = h.densities();
    (h.edges, densities)
}

/// Rows of two columns as points, at most `most` of them.
fn points(table: &Table, most: usize) -> Vec<(f64, f64)> {
    let (x, y) = (&table.columns()[0], &table.columns()[1]);
    x.iter().copied().zip(y.iter().copied()).take(most).collect()
}

/// A range a twentieth wider on both sides, from the least to the greatest value of columns.
fn around<'a>(columns: impl IntoIterator<Item = &'a [f64]>) -> (f64, f64) {
    let wide = |(a, b): (f64, f64), v: &f64| (a.min(*v), b.max(*v));
    let (a, b) = columns.into_iter().flatten().fold((f64::INFINITY, f64::NEG_INFINITY), wide);
    (a - 0.05 * (b - a), b + 0.05 * (b - a))
}
