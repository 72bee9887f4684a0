//! Errors, as the exceptions of `nijimi/errors.py`.

use nijimi_import::ImportError;
use nijimi_runtime::{Error, error};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// What went wrong, until Python is told.
pub struct Fault {
    class: &'static str,
    text: String,
}

impl Fault {
    /// Of what was asked for.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { class: "UsageError", text: text.into() }
    }

    fn of(fault: error::Fault, text: String) -> Self {
        let class = match fault {
            error::Fault::Request => "UsageError",
            error::Fault::Input => "FileError",
            error::Fault::Device => "DeviceError",
            error::Fault::Internal => "Error",
        };
        Self { class, text }
    }

    /// With the file that it is of before its message, if it is of one.
    pub fn about_file(self, path: &str) -> Self {
        match self.class {
            "FileError" if !self.text.starts_with(path) => Self { text: format!("{path}: {}", self.text), ..self },
            _ => self,
        }
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Self::of(e.fault(), e.to_string())
    }
}

impl From<ImportError> for Fault {
    fn from(e: ImportError) -> Self {
        Self::of(e.fault(), e.to_string())
    }
}

impl From<Fault> for PyErr {
    fn from(Fault { class, text }: Fault) -> Self {
        let class = Python::attach(|py| -> PyResult<Py<PyType>> {
            Ok(py.import("nijimi.errors")?.getattr(class)?.cast_into::<PyType>()?.unbind())
        });
        match class {
            Ok(class) => Python::attach(|py| Self::from_type(class.into_bound(py), text)),
            Err(e) => e,
        }
    }
}
