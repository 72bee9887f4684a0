//! What can be wrong with a table, with its line and column.

/// Why a table was not read. Lines count from 1 as an editor shows them, columns from 1.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// No row of numbers.
    #[error("no rows: expected numbers in columns divided by commas, tabs, semicolons or spaces, one row a line")]
    Empty,
    /// A value is not a number.
    #[error("line {line}, column {column} ({name}): {text:?} is not a number{}", near(text))]
    NotANumber {
        /// Line in the file.
        line: u64,
        /// Column in the file.
        column: usize,
        /// The column's name.
        name: String,
        /// What stands there.
        text: String,
    },
    /// A value is NaN or infinite.
    #[error("line {line}, column {column} ({name}): {text} is not finite: remove the row or mend the value")]
    NotFinite {
        /// Line in the file.
        line: u64,
        /// Column in the file.
        column: usize,
        /// The column's name.
        name: String,
        /// What stands there.
        text: String,
    },
    /// A value is missing.
    #[error("line {line}, column {column} ({name}): the value is missing: remove the row or fill it in")]
    Missing {
        /// Line in the file.
        line: u64,
        /// Column in the file.
        column: usize,
        /// The column's name.
        name: String,
    },
    /// A row has another number of columns than the first.
    #[error("line {line}: {found} columns, but {expected} in the first row")]
    Ragged {
        /// Line in the file.
        line: u64,
        /// Columns of this row.
        found: usize,
        /// Columns of the first row.
        expected: usize,
    },
    /// The first line is neither names nor numbers.
    #[error(
        "line {line}, column {column}: {text:?} in the first line is not a number, but others there are: \
             mend the value, or give names to all columns"
    )]
    Header {
        /// Line in the file.
        line: u64,
        /// Column in the file.
        column: usize,
        /// What stands there.
        text: String,
    },
    /// A column asked for is not there.
    #[error("there is no column {wanted:?}: the columns are {known} (names, or numbers from 1)")]
    NoColumn {
        /// What was asked for.
        wanted: String,
        /// The names that there are.
        known: String,
    },
    /// A column is asked for twice.
    #[error("column {0:?} is asked for twice")]
    Twice(String),
    /// Other names than columns.
    #[error("{given} names for {columns} columns")]
    Names {
        /// Names given.
        given: usize,
        /// Columns read.
        columns: usize,
    },
}

impl TableError {
    /// The line of the file that is wrong, where it is one.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::NotANumber { line, .. }
            | Self::NotFinite { line, .. }
            | Self::Missing { line, .. }
            | Self::Ragged { line, .. }
            | Self::Header { line, .. } => Some(*line),
            _ => None,
        }
    }
}

/// A remedy where the cause is plain.
fn near(text: &str) -> &'static str {
    let comma = text.split_once(',').is_some_and(|(a, b)| a.parse::<f64>().is_ok() && b.parse::<u64>().is_ok());
    if comma { ": write the decimal point as a point" } else { "" }
}
