//! The way of a gradient descent (step 6.1), kept as it was.

use crate::Error;
use crate::model::info::wrong;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Rows of numbers, in order: the step, then where it led.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    function: String,
    learning_rate: f64,
    columns: usize,
    rows: Vec<f64>,
}

impl Trace {
    /// Of whole rows of `columns` numbers, on a function of that name.
    ///
    /// # Errors
    /// No rows, or ones that are not whole; numbers that are not finite.
    pub fn new(function: String, learning_rate: f64, columns: usize, rows: Vec<f64>) -> Result<Self, Error> {
        let key = "nijimi.descent.trace";
        if columns == 0 || rows.is_empty() || !rows.len().is_multiple_of(columns) {
            return Err(wrong(
                key,
                format!("{} numbers", rows.len()),
                format!("whole rows of {columns}, at least one"),
            ));
        }
        if let Some(i) = rows.iter().position(|v| !v.is_finite()) {
            let (row, column) = (i / columns, i % columns);
            return Err(wrong(key, format!("{} in row {row}, column {column} (from 0)", rows[i]), "finite numbers"));
        }
        if !(learning_rate > 0.0 && learning_rate.is_finite()) {
            return Err(wrong("nijimi.descent.learning_rate", learning_rate, "finite and above 0"));
        }
        Ok(Self { function, learning_rate, columns, rows })
    }

    /// Which function was descended: `rosenbrock`.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.function
    }

    /// By what the gradient was multiplied.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// Numbers of a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len() / self.columns
    }

    /// Row `index`, if there is one.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f64]> {
        self.rows.chunks_exact(self.columns).nth(index)
    }

    /// All rows, one after another.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.rows
    }
}
