//! Where a run writes: known to be writable before hours are spent, not one of its own inputs, and its own alone.
use crate::data::captioned::is_picture;
use crate::error::{Error, Result};
use crate::launch;
use crate::report::RECORD;
use nijimi_runtime::gguf::AtomicFile;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// What a run keeps in its report's folder under names of its own.
const KEPT: [&str; 4] = ["checkpoint.safetensors", "latest.gguf", "log.jsonl", "latents.safetensors"];

/// That a file can be written at `path`, which is none of the `inputs`, nor of the data in a folder that is one;
/// nothing is left there.
///
/// # Errors
/// A folder, a file that is read, a folder that is not there or takes no files, a name that is too long.
pub fn prove(path: &Path, inputs: &[&Path]) -> Result<()> {
    let refused = |what: &str| Err(Error::data(path, what));
    if let Ok(found) = path.metadata() {
        if found.is_dir() {
            return refused("a folder: give the name of a file to write");
        }
        if !found.is_file() {
            return refused("neither a file nor free: choose another name for what is written");
        }
        if let Some(input) = inputs.iter().find(|input| same(path, input) || is_among(path, input)) {
            return refused(&format!(
                "{} is read from there: choose another name for what is written",
                input.display()
            ));
        }
    }
    Ok(AtomicFile::prove(path).map_err(nijimi_runtime::Error::from)?)
}

/// That a command can write its weight file and its report, whose folder is given back.
///
/// # Errors
/// As of [`prove`].
pub fn prove_report(out: &Path, report: Option<&PathBuf>, inputs: &[&Path]) -> Result<PathBuf> {
    let folder = launch::report_folder(report, out);
    prove(out, inputs)?;
    prove_folder(&folder, inputs)?;
    Ok(folder)
}

/// That files can be written into a folder, which is made if it is not there.
///
/// # Errors
/// As of [`prove`].
pub fn prove_folder(folder: &Path, inputs: &[&Path]) -> Result<()> {
    let new = !folder.exists();
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let proved = prove(&folder.join(RECORD), inputs);
    if new {
        // What is refused after this leaves nothing behind.
        _ = std::fs::remove_dir(folder);
    }
    proved
}

/// That a run can write its weight file and its report, and that these are two.
///
/// # Errors
/// As of [`prove`]; also a weight file that is one of the report's own.
pub fn prove_run(out: &Path, report: &Path, inputs: &[&Path]) -> Result<()> {
    if KEPT.iter().any(|name| out.file_name().is_some_and(|n| n == *name)) && same(out.parent().unwrap_or(out), report)
    {
        return Err(Error::data(out, "the report keeps a file of its own there: choose another name for --out"));
    }
    prove(out, inputs)?;
    prove_folder(report, inputs)
}

/// Whether a file is one that is read from a folder of data: a picture, a caption, an IDX file.
fn is_among(path: &Path, folder: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let data = name.contains("-ubyte") || is_picture(&name) || [".txt", ".tsv"].iter().any(|end| name.ends_with(end));
    let parent = path.parent().unwrap_or(path);
    folder.is_dir() && data && (same(parent, folder) || same(parent, &folder.join("png")))
}

/// Whether two paths lead to one file or folder.
fn same(a: &Path, b: &Path) -> bool {
    let here = |path: &Path| if path.as_os_str().is_empty() { Path::new(".").into() } else { path.to_path_buf() };
    let (a, b) = (here(a), here(b));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let node = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
        node(&a).is_some() && node(&a) == node(&b)
    }
    #[cfg(not(unix))]
    {
        let whole = |path: &Path| path.canonicalize().ok();
        whole(&a).is_some() && whole(&a) == whole(&b)
    }
}

/// A report's folder that no other run writes to while this is kept. Nothing lies in the folder for it.
pub struct Claim(#[allow(dead_code, reason = "the lock is held as long as the file is open")] Option<File>);

impl Claim {
    /// Takes the folder, which is there.
    ///
    /// # Errors
    /// If another run has it.
    pub fn take(folder: &Path) -> Result<Self> {
        // Where a folder cannot be opened, or the file system has no locks, runs are not told from each other.
        let Ok(file) = open(folder) else { return Ok(Self(None)) };
        match file.try_lock() {
            Ok(()) => Ok(Self(Some(file))),
            Err(TryLockError::Error(_)) => Ok(Self(None)),
            Err(TryLockError::WouldBlock) => {
                let what =
                    "another run is at work in this folder: wait for its end, or give this one a --report of its own";
                Err(Error::data(folder, what))
            }
        }
    }
}

#[cfg(not(windows))]
fn open(folder: &Path) -> std::io::Result<File> {
    File::open(folder)
}

/// A file that the system removes when it is closed: Windows locks no folders.
#[cfg(windows)]
fn open(folder: &Path) -> std::io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    const DELETE_ON_CLOSE: u32 = 0x0400_0000;
    let mut options = File::options();
    options.write(true).create(true).truncate(false).custom_flags(DELETE_ON_CLOSE).open(folder.join("running.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To be seen red with `same` always false, with folders taken, and with a claim that is dropped at once.
    #[test]
    fn what_cannot_be_written_is_told_and_a_folder_is_taken_once() {
        let folder = std::env::temp_dir().join(format!("nijimi-target-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("report")).expect("a folder");
        let input = folder.join("in.gguf");
        std::fs::write(&input, "in").expect("a file");
        std::fs::hard_link(&input, folder.join("link.gguf")).expect("a link");
        let told = |out: &str| prove(&folder.join(out), &[&input]).map_err(|e| e.to_string());
        assert!(told("report").is_err_and(|e| e.contains("a folder")));
        assert!(told("link.gguf").is_err_and(|e| e.contains("in.gguf is read from there")));
        assert!(told("nowhere/m.gguf").is_err() && told("m.gguf").is_ok());
        let run = |out: &str| prove_run(&folder.join(out), &folder.join("report"), &[]);
        assert!(prove_folder(&folder.join("new"), &[]).is_ok() && !folder.join("new").exists());
        assert!(run("m.gguf").is_ok() && run("report/m.gguf").is_ok() && run("report/latest.gguf").is_err());
        let left: Vec<_> = std::fs::read_dir(folder.join("report")).expect("a folder").collect();
        assert!(left.is_empty(), "{left:?}");
        std::fs::write(folder.join("a.png"), "a picture").expect("a file");
        assert!(prove(&folder.join("a.png"), &[&folder]).is_err() && prove(&folder.join("a.png"), &[]).is_ok());
        let first = Claim::take(&folder).expect("free");
        assert!(Claim::take(&folder).is_err_and(|e| e.to_string().contains("another run")));
        drop(first);
        assert!(Claim::take(&folder).is_ok());
        std::fs::remove_dir_all(&folder).expect("removal");
    }
}
