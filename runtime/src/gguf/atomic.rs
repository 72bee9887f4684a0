//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried: `open`, `map`, `write`, ...
    pub action: &'static str,
    /// The file or directory that it was tried on.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Adds to an [`io::Error`] what was tried on which path.
pub(super) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError { action, path: path.into(), source }
}

/// Writes `bytes` to `path` such that a reader, or a crash at any moment, finds either the old file or the whole new
/// one: a file beside it is written, synced and renamed over it, then the directory is synced (on Unix). Readers that
/// have the old file mapped keep the old one. A symbolic link at `path` is replaced, not followed.
///
/// # Errors
/// Names the path; the file beside, `.NAME.PID-N.gguf.tmp`, is removed and `path` is as it was, except where syncing
/// the directory failed: then the new file is in place, but may not survive a crash.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.commit()
}

/// A file that is written piece by piece, and appears whole or not at all, as with [`write_atomic`]. Dropped before
/// [`Self::commit`], it leaves nothing.
pub struct AtomicFile {
    path: PathBuf,
    // Dropped in this order: a file is closed before it is removed.
    file: File,
    temporary: Temporary,
}

impl AtomicFile {
    /// Begins the file.
    ///
    /// # Errors
    /// A path that does not end in a name, or a directory in which no file can be made.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let Some(name) = path.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a file name");
            return Err(file_error("write", path)(source));
        };
        let (temporary, file) = create_beside(path, name)?;
        Ok(Self { path: path.into(), file, temporary })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// A disk that is full, or gone.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(file_error("write", &self.temporary.path))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// As of [`write_atomic`].
    pub fn commit(self) -> Result<(), FileError> {
        let Self { path, file, mut temporary } = self;
        file.sync_all().map_err(file_error("write", &temporary.path))?;
        // Windows does not rename a file that is open.
        drop(file);
        fs::rename(&temporary.path, &path).map_err(file_error("replace", &path))?;
        temporary.renamed = true;
        sync_directory(&path)
    }
}

/// A file that is removed unless it was renamed.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The failure that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates a file in the directory of `path`: renaming is atomic only within a file system.
fn create_beside(path: &Path, name: &std::ffi::OsStr) -> Result<(Temporary, File), FileError> {
    let mut n = 0;
    loop {
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(std::format!(".{}-{n}.gguf.tmp", std::process::id()));
        let beside = path.with_file_name(beside);
        match OpenOptions::new().write(true).create_new(true).open(&beside) {
            Ok(file) => return Ok((Temporary { path: beside, renamed: false }, file)),
            // Another thread is at it, or an earlier process of the same id has crashed.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < 100 => n += 1,
            Err(e) => return Err(file_error("create", &beside)(e)),
        }
    }
}

/// Makes a rename durable.
#[cfg(unix)]
fn sync_directory(path: &Path) -> Result<(), FileError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|d| d.sync_all()).map_err(file_error("sync", directory))
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> Result<(), FileError> {
    Ok(())
}
