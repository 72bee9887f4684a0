//! Files that appear whole or not at all.

use super::unnamed;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// As many as Linux follows.
const MAX_LINKS: usize = 40;

/// Temporary names that are looked at for what was left: rarely are more written to one directory at a time.
const SWEPT: usize = 8;

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

/// Opens a file to read it. What is no regular file (a folder, a named pipe, a socket, a device) is refused, and never waited
/// for.
///
/// # Errors
/// Names the path.
pub fn open_regular(path: impl AsRef<Path>) -> Result<File, FileError> {
    let path = path.as_ref();
    let about = fs::metadata(path).map_err(file_error("open", path))?;
    if !about.is_file() {
        return Err(refused("open", path, "not a regular file"));
    }
    File::open(path).map_err(file_error("open", path))
}

/// Writes `bytes` to `path` such that a reader, or a crash at any moment, finds either the old file or the whole new
/// one: a file without a name is written, synced and put in its place, then the directory is synced (on Unix). Readers that
/// have the old file mapped keep the old one. A symbolic link is followed, the mode of the old file is kept; a named pipe or a
/// device is written to.
///
/// # Errors
/// Names the path. Nothing is left then, and `path` is as it was, except where syncing the directory failed: then the new
/// file is in place, but may not survive a crash.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.commit()
}

/// A file that is written piece by piece, and appears whole or not at all, as with [`write_atomic`]. Dropped before
/// [`Self::commit`], it leaves nothing; and the same if the program is killed, where the file system knows files without a
/// name. Elsewhere, what a killed program left is removed by the next one that writes to that directory.
pub struct AtomicFile {
    /// As it was asked for.
    asked: PathBuf,
    /// Behind symbolic links.
    path: PathBuf,
    /// Dropped in this order: a file is closed before it is removed.
    file: File,
    kind: Kind,
}

enum Kind {
    Unnamed,
    Named(Named),
    /// A pipe or a device: what is written is there.
    Direct,
}

impl AtomicFile {
    /// Begins the file.
    ///
    /// # Errors
    /// A path that does not end in a name, a folder, a file that may not be written, or a directory in which no file can be
    /// made.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let asked = path.as_ref().to_path_buf();
        let (path, old) = place(&asked)?;
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            let file = File::options().write(true).open(&path).map_err(file_error("write", &asked))?;
            return Ok(Self { asked, path, file, kind: Kind::Direct });
        }
        let (file, kind) = begin(directory(&path)).map_err(file_error("write", &asked))?;
        if let Some(old) = old {
            // Asked, not truncated: a file that is protected stays.
            File::options().write(true).open(&path).map_err(file_error("write", &asked))?;
            // A file system that has no such thing as owners or modes cannot keep them.
            #[cfg(unix)]
            {
                use std::os::unix::fs::{MetadataExt, fchown};
                let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
            }
            let _ = file.set_permissions(old.permissions());
        }
        Ok(Self { asked, path, file, kind })
    }

    /// A file for what is needed while the program runs, in this directory: it is never put in a place.
    ///
    /// # Errors
    /// A directory in which no file can be made.
    pub fn scratch(directory: &Path) -> Result<Self, FileError> {
        let (file, mut kind) = begin(directory).map_err(file_error("create a file in", directory))?;
        if let (true, Kind::Named(named)) = (cfg!(unix), &kind)
            && fs::remove_file(&named.path).is_ok()
        {
            kind = Kind::Unnamed;
        }
        Ok(Self { asked: directory.into(), path: directory.into(), file, kind })
    }

    /// That a file could be written there now: one is begun, and nothing is left of it. A pipe is not opened.
    ///
    /// # Errors
    /// As of [`Self::create`].
    pub fn prove(path: impl AsRef<Path>) -> Result<(), FileError> {
        match place(path.as_ref())? {
            (_, Some(old)) if !old.is_file() => Ok(()),
            _ => Self::create(path).map(drop),
        }
    }

    /// The file as it is now.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// A disk that is full, or gone.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(file_error("write", &self.asked))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// As of [`write_atomic`].
    pub fn commit(self) -> Result<(), FileError> {
        let Self { asked, path, file, kind } = self;
        if matches!(kind, Kind::Direct) {
            return Ok(());
        }
        file.sync_all().map_err(file_error("write", &asked))?;
        let mut named = match kind {
            Kind::Named(named) => named,
            _ => match unnamed::link(&file, &path) {
                Ok(()) => return sync_directory(&path),
                // A link cannot take the place of a file: a name can.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    slot(directory(&path), |path| unnamed::link(&file, path)).map_err(file_error("write", &asked))?.1
                }
                Err(e) => return Err(file_error("write", &asked)(e)),
            },
        };
        // Windows does not rename a file that is open; elsewhere it is locked until it has its name.
        let held = if cfg!(windows) { None } else { Some(file) };
        fs::rename(&named.path, &path).map_err(file_error("replace", &asked))?;
        named.renamed = true;
        drop(held);
        sync_directory(&path)
    }
}

/// Where a file is to be, symbolic links followed, and what is there.
fn place(asked: &Path) -> Result<(PathBuf, Option<Metadata>), FileError> {
    let name = asked.file_name().map_or(&b""[..], |name| name.as_encoded_bytes());
    if name.is_empty() || !asked.as_os_str().as_encoded_bytes().ends_with(name) {
        return Err(refused("write", asked, "the path does not end in a file name"));
    }
    let mut path = asked.to_path_buf();
    match fs::metadata(asked) {
        Ok(about) if about.is_dir() => Err(refused("write", asked, "it is a folder")),
        Ok(about) if !about.is_file() => Ok((path, Some(about))),
        Ok(about) => Ok((fs::canonicalize(asked).map_err(file_error("write", asked))?, Some(about))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // Links to what is not there yet.
            for _ in 0..MAX_LINKS {
                let Ok(to) = fs::read_link(&path) else { return Ok((path, None)) };
                path = directory(&path).join(to);
            }
            Err(refused("write", asked, "too many symbolic links"))
        }
        Err(e) => Err(file_error("write", asked)(e)),
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refused(action: &'static str, path: &Path, why: &'static str) -> FileError {
    file_error(action, path)(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// A file in the directory: renaming is atomic only within a file system.
fn begin(directory: &Path) -> io::Result<(File, Kind)> {
    sweep(directory);
    if let Ok(file) = unnamed::create(directory) {
        lock(&file);
        return Ok((file, Kind::Unnamed));
    }
    let (file, named) = slot(directory, |path| {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        // Whoever swept it before it was locked has taken it for a dead one.
        if lock(&file) && is_at(&file, path) { Ok(file) } else { Err(io::ErrorKind::AlreadyExists.into()) }
    })?;
    Ok((file, Kind::Named(named)))
}

/// A file under a name of its own, which is removed unless it was renamed.
struct Named {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Named {
    fn drop(&mut self) {
        if !self.renamed {
            // The failure that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Temporary names: few, short, and the same for all, so that what is left under them is found again.
fn slot_name(directory: &Path, n: usize) -> PathBuf {
    directory.join(std::format!(".nijimi-{n}.tmp"))
}

/// Makes a file under the first temporary name that is free.
fn slot<T>(directory: &Path, mut make: impl FnMut(&Path) -> io::Result<T>) -> io::Result<(T, Named)> {
    let mut n = 0;
    loop {
        let path = slot_name(directory, n);
        match make(&path) {
            Ok(made) => return Ok((made, Named { path, renamed: false })),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < 1000 => n += 1,
            Err(e) => return Err(e),
        }
    }
}

/// Removes what killed programs left in the directory: files under temporary names that nobody has locked.
fn sweep(directory: &Path) {
    for path in (0..SWEPT).map(|n| slot_name(directory, n)) {
        if let Ok(file) = File::options().read(true).write(true).open(&path)
            && file.try_lock().is_ok()
            // Locked, it cannot be removed by another, nor can its name be another file's.
            && is_at(&file, &path)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Marks a file as one that is being written; whether nobody else has. Where files cannot be locked, none is swept.
fn lock(file: &File) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(a), Ok(b)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Makes a rename durable.
#[cfg(unix)]
fn sync_directory(path: &Path) -> Result<(), FileError> {
    let directory = directory(path);
    File::open(directory).and_then(|d| d.sync_all()).map_err(file_error("sync", directory))
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> Result<(), FileError> {
    Ok(())
}
