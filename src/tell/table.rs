//! Rows of numbers: read as people keep them, written as CSV.

use crate::fault::Fault;
use nijimi_cli::print::{plain, print};
use nijimi_runtime::gguf::{open_regular, write_atomic};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, stdin};
use std::path::Path;

/// Reads rows of `columns` numbers, separated by commas, semicolons or white space; from standard input if no file is
/// named. A first line without a number names the columns. Empty lines, and those that begin with `#`, are passed over.
pub fn read(path: Option<&Path>, columns: usize) -> Result<Vec<f64>, Fault> {
    let name = path.map_or_else(|| "standard input".to_string(), |path| path.display().to_string());
    let text = match path {
        Some(path) => open(path).and_then(io::read_to_string),
        None => io::read_to_string(stdin()),
    };
    let text = text.map_err(|e| Fault::Input(format!("{name}: {e}")))?;
    // Spreadsheets begin a text with a mark of its byte order.
    parse(text.strip_prefix('\u{feff}').unwrap_or(&text), columns)
        .map_err(|problem| Fault::Input(format!("{name}, {problem}")))
}

/// Opens a file; a pipe only if it is open already, as of a shell's `<(...)`: another might never have a writer.
fn open(path: &Path) -> io::Result<File> {
    let is_open = ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|open| path.starts_with(open));
    if is_open { File::open(path) } else { open_regular(path).map_err(|e| e.source) }
}

fn parse(text: &str, columns: usize) -> Result<Vec<f64>, String> {
    let mut values = Vec::new();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    for (row, (i, line)) in lines.enumerate() {
        let cells: Vec<&str> = if line.contains([',', ';']) {
            line.split([',', ';']).map(str::trim).collect()
        } else {
            line.split_whitespace().collect()
        };
        if row == 0 && cells.iter().all(|cell| cell.parse::<f64>().is_err()) {
            continue;
        }
        if cells.len() != columns {
            return Err(format!("line {}: {} numbers, but the model has {columns} columns", i + 1, cells.len()));
        }
        for (column, cell) in cells.iter().enumerate() {
            match cell.parse::<f64>() {
                Ok(value) if value.is_finite() => values.push(value),
                _ => return Err(format!("line {}, column {}: {cell:?} is not a finite number", i + 1, column + 1)),
            }
        }
    }
    if values.is_empty() {
        return Err("no rows: give at least one line of numbers".into());
    }
    Ok(values)
}

/// The line of names.
pub fn heading<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    let quoted = |name: &str| {
        let name = &plain(name);
        if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.into() }
    };
    columns.map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

/// Adds a row, each number as short as it can be read back exactly.
pub fn row(text: &mut String, values: impl Iterator<Item = f64>) {
    for (i, value) in values.enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}{value}", if i == 0 { "" } else { "," });
    }
    text.push('\n');
}

/// Writes the text to a file, whole or not at all, or prints it if none is named.
pub fn write(text: &str, to: Option<&Path>) -> Result<(), Fault> {
    match to {
        Some(path) => write_atomic(path, text.as_bytes())
            .map_err(|e| Fault::Input(format!("{e}: write to another place with -o"))),
        None => Ok(print(text)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_as_people_keep_them() {
        let want = Ok(vec![1.0, 2.5, -3e-2, 4.0]);
        for text in ["1,2.5\n-3e-2,4\n", "a b\n1 2.5\n\n-3e-2\t4", "# made by hand\nx;y\n1; 2.5\n-0.03 ;4\n"] {
            assert_eq!(parse(text, 2), want, "{text:?}");
        }
    }

    #[test]
    fn refusals_name_the_place() {
        assert_eq!(parse("1,2\n3\n", 2).unwrap_err(), "line 2: 1 numbers, but the model has 2 columns");
        assert_eq!(parse("a,b\n1,x\n", 2).unwrap_err(), "line 2, column 2: \"x\" is not a finite number");
        assert_eq!(parse("1,nan\n", 2).unwrap_err(), "line 1, column 2: \"nan\" is not a finite number");
        assert!(parse("a,b\n", 2).unwrap_err().starts_with("no rows"));
    }

    #[test]
    fn numbers_are_read_back_exactly() {
        let values = [0.1 + 0.2, -1e300, 5e-324, 7.0];
        let mut text = heading(["a", "b,c", "d\"e", "f"].into_iter());
        assert_eq!(text, "a,\"b,c\",\"d\"\"e\",f\n");
        row(&mut text, values.into_iter());
        let line = text.lines().nth(1).unwrap();
        assert_eq!(parse(line, 4).unwrap(), values);
    }
}
