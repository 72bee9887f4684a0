//! Where a model comes from: a file, or the weights that are part of the program.

use crate::default_model;
use crate::fault::Fault;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, MappedFile};
use std::path::Path;

/// The bytes of a weight file, and what it is called.
pub struct Source {
    /// Its path, or a word for the built-in weights.
    pub name: String,
    mapped: Option<MappedFile>,
}

impl Source {
    /// Opens the file that is named, or takes the built-in weights.
    pub fn open(path: Option<&Path>) -> Result<Self, Fault> {
        let Some(path) = path else { return Ok(Self { name: default_model::NAME.into(), mapped: None }) };
        let mapped = MappedFile::open(path).map_err(|e| Fault::Input(e.to_string()))?;
        Ok(Self { name: path.display().to_string(), mapped: Some(mapped) })
    }

    /// The file, checked.
    pub fn file(&self) -> Result<File<'_>, Fault> {
        // Of a mapped file, what was copied leaves this process's memory.
        let file = self.mapped.as_ref().map_or_else(|| File::new_checked(default_model::BYTES), MappedFile::file);
        file.map_err(|e| self.wrong(e))
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        self.mapped.as_ref().map_or(default_model::BYTES, MappedFile::bytes)
    }

    /// The fault of a file that is not what it must be.
    pub fn wrong(&self, e: impl Into<Error>) -> Fault {
        let e = e.into();
        match self.mapped {
            Some(_) => Fault::Input(format!("{}: {e}", self.name)),
            None => Fault::Internal(format!("the built-in weights are damaged: {e}; use others with -m")),
        }
    }
}
