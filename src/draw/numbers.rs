//! Rows of numbers from the models that have few: CSV to a file, or printed.

use crate::cli::Cli;
use crate::draw::progress::tell;
use crate::fault::Fault;
use crate::file::source::Source;
use crate::tell::table;
use nijimi_runtime::model::Numbers;
use std::path::Path;

/// Draws `cli.batch` rows with the seed: row `i` stays the same however many are drawn. Of a trace, which is not drawn,
/// all rows are written.
pub fn run(source: &Source, cli: &Cli, seed: u64) -> Result<(), Fault> {
    cli.no_sampler("numbers are drawn in one step")?;
    cli.no_text()?;
    let output = cli.output.as_deref().map(Path::new);
    if let Some(path) = output.filter(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("png"))) {
        let problem = "this model draws numbers, not pictures: name a .csv file, or none to have them printed";
        return Err(Fault::Usage(format!("-o {}: {problem}", path.display())));
    }
    let numbers = Numbers::load(&source.file()?).map_err(|e| source.wrong(e))?;
    if !cli.prompt().trim().is_empty() {
        return Err(Fault::Input(format!("{} knows no labels: leave the prompt out", source.name)));
    }
    let rows = numbers.rows().unwrap_or(cli.batch as u64);
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
