//! A weight file for as long as it is used: gone when the process is, however it ends.

use super::error::ImportError;
use super::gguf as foreign;
use nijimi_runtime::gguf::{self, AtomicFile, MappedFile, open_regular};
use nijimi_runtime::model::Stored;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file without a name, or with one that goes with it, in the system's folder for such files.
pub struct Temporary {
    folder: PathBuf,
    scratch: AtomicFile,
}

impl Temporary {
    /// The environment variable that names another folder.
    pub const VARIABLE: &str = if cfg!(windows) { "TEMP" } else { "TMPDIR" };

    /// Creates it.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn create() -> Result<Self, ImportError> {
        let folder = std::env::temp_dir();
        Ok(Self { scratch: AtomicFile::scratch(&folder)?, folder })
    }

    /// To write to.
    pub fn file(&self) -> &File {
        self.scratch.file()
    }

    /// The folder: the file need not have a name.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Maps what was written.
    ///
    /// # Errors
    /// A system that does not.
    pub fn map(self) -> Result<Arc<dyn Stored>, ImportError> {
        let map = MappedFile::of(self.file(), self.path())?;
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

/// Whether it is, or is called as if it were, a checkpoint, and no weight file: also what is refused then with a reason.
pub fn is_checkpoint(path: &Path) -> bool {
    if path.is_dir() {
        return true;
    }
    let mut start = Vec::new();
    let read = open_regular(path).is_ok_and(|file| file.take(foreign::START).read_to_end(&mut start).is_ok());
    if !read || start.starts_with(b"GGUF") {
        return read && foreign::is_foreign(&start);
    }
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    matches!(extension.as_str(), "safetensors" | "ckpt" | "bin" | "pt" | "pth" | "pkl")
        // The header of a .safetensors file, the zip archive of a pickle.
        || start.get(8) == Some(&b'{')
        || start.starts_with(b"PK\x03\x04")
}
