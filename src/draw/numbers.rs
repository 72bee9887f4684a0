//! Rows of numbers from the models that have few: CSV to a file, or printed.

use crate::cli::{OutputOptions, Subject, none_of};
use crate::fault::Fault;
use crate::file::source::Source;
use crate::tell::table;
use nijimi_cli::print::tell;
use nijimi_runtime::model::Numbers;
use std::path::Path;

/// Draws as many rows as are asked for with the seed: row `i` stays the same however many are drawn. Of a trace, which is not
/// drawn, all rows are written.
pub fn run(source: &Source, subject: &Subject, output: &OutputOptions, seed: u64) -> Result<(), Fault> {
    none_of(&[("--scale", output.scale.is_some())], "models that draw pictures")?;
    let output = output.file.as_deref().map(Path::new);
    if let Some(path) = output.filter(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("png"))) {
        let problem = "this model draws numbers, not pictures: name a .csv file, or leave out -o to have them printed";
        return Err(Fault::Usage(format!("-o {}: {problem}", path.display())));
    }
    let numbers = Numbers::load(&source.file()?).map_err(|e| source.wrong(e))?;
    if !subject.prompt.trim().is_empty() {
        return Err(Fault::Input(format!("{} has no labels: leave out the prompt", source.name)));
    }
    let rows = numbers.rows().unwrap_or(subject.batch as u64);
    let mut text = table::heading(numbers.columns().iter().map(String::as_str));
    let mut row = vec![0.0; numbers.dim()];
    for index in 0..rows {
        if !numbers.sample(seed, index, &mut row) {
            break;
        }
        table::row(&mut text, row.iter().copied());
    }
    // A trace is the same with every seed.
    if numbers.rows().is_none() {
        tell(&[format!("seed {seed}")]);
    }
    table::write(&text, output)?;
    if let Some(path) = output {
        tell(&[format!("wrote {}", path.display())]);
    }
    Ok(())
}
