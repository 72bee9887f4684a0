//! A file without a name: gone when nobody has it open any more, even if the program is killed. Where the system does
//! not know such files, it is removed when it is dropped.

use crate::fault::Fault;
use nijimi_runtime::gguf::{self, MappedFile};
use nijimi_runtime::model::Stored;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The environment variable that says where temporary files are.
pub const VARIABLE: &str = if cfg!(windows) { "TEMP" } else { "TMPDIR" };

/// The file, to be written.
pub struct Temporary {
    file: File,
    name: Name,
}

/// Removes the file, where it still has its name.
struct Name {
    path: PathBuf,
}

impl Drop for Name {
    fn drop(&mut self) {
        if !cfg!(unix) {
            // Nothing can be done about a file that stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Temporary {
    /// Creates it in the system's folder for such files.
    pub fn create() -> Result<Self, Fault> {
        // No other program guesses the name.
        let path =
            std::env::temp_dir().join(format!("nijimi-{:016x}.gguf.tmp", RandomState::new().build_hasher().finish()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        // Before anything can go wrong.
        let file = file.and_then(|file| if cfg!(unix) { fs::remove_file(&path).map(|()| file) } else { Ok(file) });
        let file = file.map_err(|e| {
            let path = path.display();
            Fault::Input(format!(
                "cannot create {path}: {e}: name another folder in the environment variable {VARIABLE}"
            ))
        })?;
        Ok(Self { file, name: Name { path } })
    }

    /// To write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What it is, or was, called.
    pub fn path(&self) -> &Path {
        &self.name.path
    }

    /// Maps what was written.
    pub fn map(self) -> Result<Arc<dyn Stored>, Fault> {
        let map = MappedFile::of(&self.file, self.path()).map_err(|e| Fault::Input(e.to_string()))?;
        Ok(Arc::new(Mapped { map, _name: self.name }))
    }
}

/// Unmapped before it is removed: fields are dropped in their order.
struct Mapped {
    map: MappedFile,
    _name: Name,
}

impl Stored for Mapped {
    fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    fn file(&self) -> Result<gguf::File<'_>, gguf::GgufError> {
        self.map.file()
    }
}
