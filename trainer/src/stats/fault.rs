//! Why a model cannot be fitted to numbers.

/// What is wrong with the numbers, and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// A column has one value only.
    #[error("column {column} ({name}) is {value} in all {rows} rows: no density fits it; leave it out with --columns")]
    Constant {
        /// Column, from 1.
        column: usize,
        /// Its name.
        name: String,
        /// Its value.
        value: f64,
        /// Number of rows.
        rows: usize,
    },
    /// Fewer rows than numbers to find.
    #[error(
        "{rows} rows, but the model has {parameters} parameters: give more rows, fewer columns or fewer components"
    )]
    TooFewRows {
        /// Number of rows.
        rows: usize,
        /// Free parameters of the model.
        parameters: usize,
    },
    /// A column is a linear function of the columns before it.
    #[error(
        "column {column} ({name}) is a linear function of the columns before it, so the covariance is singular: \
             leave it out with --columns"
    )]
    Singular {
        /// Column, from 1.
        column: usize,
        /// Its name.
        name: String,
    },
    /// More columns than the model has.
    #[error("{found} columns ({names}), but a normal distribution has one: pick it with --columns, or fit an mvn")]
    Columns {
        /// Columns of the table.
        found: usize,
        /// Their names.
        names: String,
    },
    /// More components than rows.
    #[error("{components} components for {rows} rows: -k must be between 1 and the number of rows")]
    TooManyComponents {
        /// Components asked for.
        components: usize,
        /// Number of rows.
        rows: usize,
    },
    /// Starting values that do not fit.
    #[error("starting values: {0}")]
    Start(String),
    /// A component shrank onto so few rows that its covariance is singular: the likelihood has no maximum.
    #[error(
        "iteration {iteration}: component {component} has collapsed onto {rows:.3} rows, and the likelihood grows \
             without bound; set --covariance-floor above 0, or use fewer components"
    )]
    Collapsed {
        /// Iteration, from 1.
        iteration: usize,
        /// Component, from 1.
        component: usize,
        /// The sum of its responsibilities.
        rows: f64,
    },
    /// Components lost all their rows again and again.
    #[error(
        "iteration {iteration}: component {component} has no rows left, even after {tries} new starts: use fewer components"
    )]
    Emptied {
        /// Iteration, from 1.
        iteration: usize,
        /// Component, from 1.
        component: usize,
        /// New starts that were tried.
        tries: usize,
    },
    /// Numbers so far apart that sums overflow.
    #[error("{what} is not finite: the values are too large or too far apart; rescale them")]
    NotFinite {
        /// What overflowed.
        what: &'static str,
    },
}
