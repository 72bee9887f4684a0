//! The native part of the Python package `nijimi`: bytes and numbers; `nijimi/__init__.py` makes arrays of them, and has the
//! documentation.
#![forbid(unsafe_code)]

mod fault;
mod model;
mod run;

use pyo3::prelude::*;

/// `nijimi._native`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::model::{Model, devices, open};
    #[pymodule_export]
    use super::run::Run;
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
