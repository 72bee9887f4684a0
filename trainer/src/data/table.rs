//! Tables of numbers in text: columns divided by commas, tabs, semicolons or spaces, with or without names in the first
//! line.
use crate::data::table_error::TableError;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::path::Path;

/// Finite numbers in named columns of equal length, at least one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
}

/// Bytes that one thread reads at a time.
const CHUNK: usize = 1 << 20;

impl Table {
    /// Reads a file; see [`Table::parse`].
    ///
    /// # Errors
    /// If the file cannot be read or is not such a table.
    pub fn read(path: &Path, columns: Option<&str>) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Self::parse(&bytes, columns).map_err(|source| Error::Table { path: path.into(), source })
    }

    /// Reads text. The first row decides what divides columns: a tab, else a comma, else a semicolon, else spaces. It
    /// holds names if nothing in it is a number; without, columns are called `x1, x2, ..` (`x` if there is one). Blank
    /// lines and lines that begin with `#` are skipped; fields may stand in double quotes, within their line. `columns`
    /// picks and orders columns by name or number from 1, divided by commas; the others may hold anything.
    ///
    /// # Errors
    /// The first fault of the file, with its line and column.
    pub fn parse(bytes: &[u8], columns: Option<&str>) -> std::result::Result<Self, TableError> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let delimiter = Delimiter::of(first_row(bytes).ok_or(TableError::Empty)?);
        let mut first: Option<(u64, Vec<String>)> = None;
        delimiter.rows(bytes, 1, &mut |line, fields| {
            // Names are printed: what would steer a terminal is no part of them.
            let name = |f| String::from_utf8_lossy(f).replace(char::is_control, "\u{fffd}");
            first = Some((line, fields.map(name).collect()));
            Ok(false)
        })?;
        let (line, fields) = first.ok_or(TableError::Empty)?;
        let header = is_header(line, &fields)?;
        let width = fields.len();
        let known = if header {
            fields
        } else if width == 1 {
            vec!["x".into()]
        } else {
            (1..=width).map(|i| format!("x{i}")).collect()
        };
        let picked = pick(&known, columns)?;
        let layout = Layout { known: &known, picked: &picked, skip: header.then_some(line) };
        let parts: Vec<_> =
            split(bytes).into_par_iter().map(|(line, part)| layout.numbers(delimiter, line, part)).collect();
        let mut columns = vec![Vec::new(); picked.len()];
        for part in parts {
            for (all, mut part) in columns.iter_mut().zip(part?) {
                if all.is_empty() { *all = part } else { all.append(&mut part) }
            }
        }
        if columns[0].is_empty() {
            return Err(TableError::Empty);
        }
        Ok(Self { names: picked.iter().map(|c| known[*c].clone()).collect(), columns })
    }

    /// A table from columns.
    ///
    /// # Panics
    /// If there are no columns or no rows, the lengths or the number of names differ, or a value is not finite.
    #[must_use]
    pub fn new(names: Vec<String>, columns: Vec<Vec<f64>>) -> Self {
        assert!(!columns.is_empty() && !columns[0].is_empty(), "a table has columns and rows");
        assert_eq!(names.len(), columns.len(), "a name for each column");
        assert!(columns.iter().all(|c| c.len() == columns[0].len()), "columns of one length");
        assert!(columns.iter().flatten().all(|v| v.is_finite()), "finite values");
        Self { names, columns }
    }

    /// The same numbers under other names, divided by commas.
    ///
    /// # Errors
    /// If there are not as many as columns.
    pub fn renamed(mut self, names: &str) -> std::result::Result<Self, TableError> {
        let names: Vec<String> = names.split(',').map(|n| n.trim().to_owned()).collect();
        if names.len() != self.names.len() {
            return Err(TableError::Names { given: names.len(), columns: self.names.len() });
        }
        self.names = names;
        Ok(self)
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns[0].len()
    }
    /// Number of columns.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.columns.len()
    }
    /// The columns' names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
    /// The columns, each of [`Table::rows`] numbers.
    #[must_use]
    pub fn columns(&self) -> &[Vec<f64>] {
        &self.columns
    }
    /// Copies a row.
    ///
    /// # Panics
    /// If there is no such row, or `out` is shorter than a row.
    pub fn row(&self, row: usize, out: &mut [f64]) {
        self.columns.iter().enumerate().for_each(|(i, c)| out[i] = c[row]);
    }
}

/// What divides columns.
#[derive(Clone, Copy)]
enum Delimiter {
    Byte(u8),
    Space,
}

type Fields<'a> = &'a mut dyn Iterator<Item = &'a [u8]>;
/// Takes a line's number and fields; `Ok(false)` ends the reading.
type Sink<'s> = &'s mut dyn for<'a> FnMut(u64, Fields<'a>) -> std::result::Result<bool, TableError>;

impl Delimiter {
    fn of(row: &[u8]) -> Self {
        [b'\t', b',', b';'].into_iter().find(|d| row.contains(d)).map_or(Self::Space, Self::Byte)
    }

    /// Calls `sink` with each row of `bytes`, whose first line has the number `line`.
    fn rows(self, bytes: &[u8], line: u64, sink: Sink<'_>) -> std::result::Result<(), TableError> {
        for (line, text) in (line..).zip(bytes.split(|b| *b == b'\n')) {
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let begin = text.trim_ascii();
            if begin.is_empty() || begin[0] == b'#' {
                continue;
            }
            let more = match self {
                Self::Space => sink(line, &mut begin.split(u8::is_ascii_whitespace).filter(|f| !f.is_empty())),
                Self::Byte(d) if !text.contains(&b'"') => {
                    sink(line, &mut text.split(|b| *b == d).map(<[u8]>::trim_ascii))
                }
                Self::Byte(d) => {
                    let mut reader = csv::ReaderBuilder::new().delimiter(d).has_headers(false).from_reader(text);
                    let mut record = csv::ByteRecord::new();
                    // Reading one row from memory does not fail.
                    _ = reader.read_byte_record(&mut record);
                    sink(line, &mut record.iter().map(<[u8]>::trim_ascii))
                }
            };
            if !more? {
                break;
            }
        }
        Ok(())
    }
}

/// Which columns are numbers to keep.
struct Layout<'a> {
    known: &'a [String],
    picked: &'a [usize],
    skip: Option<u64>,
}

impl Layout<'_> {
    fn numbers(&self, delimiter: Delimiter, line: u64, part: &[u8]) -> std::result::Result<Vec<Vec<f64>>, TableError> {
        let mut columns = vec![Vec::new(); self.picked.len()];
        let width = self.known.len();
        let mut place = vec![None; width];
        self.picked.iter().enumerate().for_each(|(to, from)| place[*from] = Some(to));
        delimiter.rows(part, line, &mut |line, fields| {
            if self.skip == Some(line) {
                return Ok(true);
            }
            let mut found = 0;
            let mut fault = None;
            for field in fields {
                if let Some(Some(to)) = place.get(found) {
                    match self.number(line, found, field) {
                        Ok(value) => columns[*to].push(value),
                        // A row that is also too short or too long is told as such.
                        Err(e) => fault = fault.or(Some(e)),
                    }
                }
                found += 1;
            }
            if found != width {
                return Err(TableError::Ragged { line, found, expected: width });
            }
            fault.map_or(Ok(true), Err)
        })?;
        Ok(columns)
    }

    fn number(&self, line: u64, column: usize, field: &[u8]) -> std::result::Result<f64, TableError> {
        let value = std::str::from_utf8(field).ok().and_then(|t| t.parse::<f64>().ok());
        if let Some(value) = value.filter(|v| v.is_finite()) {
            return Ok(value);
        }
        let (name, text) =
            (self.known[column].clone(), String::from_utf8_lossy(field).replace(char::is_control, "\u{fffd}"));
        let column = column + 1;
        Err(match value {
            Some(_) => TableError::NotFinite { line, column, name, text },
            None if is_missing(&text) => TableError::Missing { line, column, name },
            None => TableError::NotANumber { line, column, name, text },
        })
    }
}

fn is_missing(text: &str) -> bool {
    ["", "na", "n/a", "null", "none", "?", "-"].contains(&text.to_ascii_lowercase().as_str())
}

/// The first line that is neither blank nor a comment.
fn first_row(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).find(|l| !l.is_empty() && l[0] != b'#')
}

/// Whether the first row holds names: nothing in it is a number.
fn is_header(line: u64, fields: &[String]) -> std::result::Result<bool, TableError> {
    let number = |f: &String| f.parse::<f64>().is_ok();
    let other = fields.iter().position(|f| !number(f) && !is_missing(f));
    match other {
        None => Ok(false),
        Some(_) if !fields.iter().any(number) => Ok(true),
        Some(at) => Err(TableError::Header { line, column: at + 1, text: fields[at].clone() }),
    }
}

/// The columns asked for, by their places in the file.
fn pick(known: &[String], wanted: Option<&str>) -> std::result::Result<Vec<usize>, TableError> {
    let Some(wanted) = wanted else { return Ok((0..known.len()).collect()) };
    let mut picked = Vec::new();
    for wanted in wanted.split(',').map(str::trim) {
        let by_number = || wanted.parse().ok().filter(|n| (1..=known.len()).contains(n)).map(|n: usize| n - 1);
        let at = known.iter().position(|k| k == wanted).or_else(by_number);
        let none = || TableError::NoColumn { wanted: wanted.into(), known: known.join(", ") };
        let at = at.ok_or_else(none)?;
        if picked.contains(&at) {
            return Err(TableError::Twice(wanted.into()));
        }
        picked.push(at);
    }
    Ok(picked)
}

/// Whole lines of about [`CHUNK`] bytes, each with the number of its first line.
fn split(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut parts, mut line) = (Vec::new(), 1);
    while !bytes.is_empty() {
        let tail = &bytes[CHUNK.min(bytes.len())..];
        let end = bytes.len() - tail.len() + tail.iter().position(|b| *b == b'\n').map_or(tail.len(), |at| at + 1);
        let (part, rest) = bytes.split_at(end);
        parts.push((line, part));
        line += part.iter().filter(|b| **b == b'\n').count() as u64;
        bytes = rest;
    }
    parts
}
