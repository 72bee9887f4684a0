//! Gaussian mixtures (book steps 4 and 5): EM for any number of components and columns.
pub mod cli;
pub mod density;
pub mod em;
mod lanes;
mod parameters;
mod pass;
mod start;

pub use em::{Fit, Options, Start, Step, fit, fit_watched};
pub use parameters::{Parameters, Shape};
pub use start::check;
