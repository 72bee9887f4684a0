//! Gaussian mixtures (book steps 4 and 5): EM for any number of components and columns.
pub mod cli;
pub mod density;
pub mod em;
mod lanes;
mod options;
mod parameters;
mod pass;
mod start;

pub use em::{Fit, Step, fit, fit_watched};
pub use options::{Options, Start};
pub use parameters::{Parameters, Shape};
pub use start::check;
