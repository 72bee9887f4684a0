//! A weight file for the time of a run: gone when the program is, however it ends.

use crate::fault::Fault;
use nijimi_runtime::gguf::{self, AtomicFile, MappedFile};
use nijimi_runtime::model::Stored;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The environment variable that names the folder for temporary files.
pub const VARIABLE: &str = if cfg!(windows) { "TEMP" } else { "TMPDIR" };

/// The file, to be written.
pub struct Temporary {
    folder: PathBuf,
    scratch: AtomicFile,
}

impl Temporary {
    /// Creates it in the system's folder for such files.
    pub fn create() -> Result<Self, Fault> {
        let folder = std::env::temp_dir();
        let wrong = |e| Fault::Input(format!("{e}: set the environment variable {VARIABLE} to another folder"));
        Ok(Self { scratch: AtomicFile::scratch(&folder).map_err(wrong)?, folder })
    }

    /// To write to.
    pub fn file(&self) -> &File {
        self.scratch.file()
    }

    /// Where it is: it need not have a name.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Maps what was written.
    pub fn map(self) -> Result<Arc<dyn Stored>, Fault> {
        let map = MappedFile::of(self.file(), self.path()).map_err(|e| Fault::Input(e.to_string()))?;
        Ok(Arc::new(Mapped { map, _scratch: self.scratch }))
    }
}

/// Unmapped before it is removed: fields are dropped in their order.
struct Mapped {
    map: MappedFile,
    _scratch: AtomicFile,
}

impl Stored for Mapped {
    fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    fn file(&self) -> Result<gguf::File<'_>, gguf::GgufError> {
        self.map.file()
    }
}
