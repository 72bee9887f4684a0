//! `nijimi density`: how likely a model holds rows of numbers.

use crate::cli::Density;
use crate::fault::Fault;
use crate::file::source::Source;
use crate::tell::table;
use nijimi_cli::print::tell;
use nijimi_cli::target;
use nijimi_runtime::model::{ModelKind, Numbers};
use std::path::Path;

/// Prints each row with its log density, and tells the sum.
pub fn run(options: &Density) -> Result<(), Fault> {
    let data = options.data.as_deref().map_or(("standard input", Path::new("/dev/stdin")), |path| ("the rows", path));
    let output = options.output.iter().map(|path| ("-o", path.as_path())).collect::<Vec<_>>();
    target::check(&output, &[("-m", &options.model), data], |_| true)?;
    let source = Source::open(Some(&options.model))?;
    let file = source.file()?;
    // Whatever else it holds is not loaded, however large it is.
    if ModelKind::of(&file).map_err(|e| source.wrong(e))? != ModelKind::Numbers {
        return Err(none(&source, "the density of its pictures cannot be evaluated"));
    }
    let numbers = Numbers::load(&file).map_err(|e| source.wrong(e))?;
    let columns = numbers.dim();
    let values = table::read(options.data.as_deref(), columns)?;
    let names = numbers.columns().iter().map(String::as_str).chain(["log_density"]);
    let (mut text, mut sum) = (table::heading(names), 0.0);
    for row in values.chunks_exact(columns) {
        let Some(density) = numbers.log_density(row) else {
            return Err(none(&source, "it is the trace of a descent"));
        };
        sum += density;
        table::row(&mut text, row.iter().copied().chain([density]));
    }
    table::write(&text, options.output.as_deref())?;
    let n = values.len() / columns;
    tell(&[format!("log-likelihood {sum} of {n} rows, mean {}", sum / n as f64)]);
    if let Some(path) = &options.output {
        tell(&[format!("wrote {}", path.display())]);
    }
    Ok(())
}

fn none(source: &Source, why: &str) -> Fault {
    let have = "models of the systems normal, mvn, mixture, regression and mlp have one";
    Fault::Input(format!("{} has no density: {why}; {have}", source.name))
}
