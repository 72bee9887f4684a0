//! Where a run writes: known to be writable before hours are spent, not one of its own inputs, and its own alone.
use crate::data::captioned::is_picture;
use crate::error::{Error, Result};
use crate::launch;
use crate::report::RECORD;
use nijimi_cli::target::{self, Named};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The checkpoint's name in the folder of the report.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// That of the newest weights, in f32.
pub const LATEST: &str = "latest.gguf";
/// That of the log.
pub const LOG: &str = "log.jsonl";
/// That of the encoded pictures.
pub const LATENTS: &str = "latents.safetensors";

/// What a run keeps in its report's folder under names of its own.
const KEPT: [&str; 5] = [RECORD, CHECKPOINT, LATEST, LOG, LATENTS];

/// That files can be written, none of which is an input, nor among the data in a folder that is one. Nothing is left there.
///
/// # Errors
/// Two uses of one file, a folder, a folder that is not there or takes no files, a name that is too long.
pub fn prove(outputs: &[Named<'_>], inputs: &[Named<'_>]) -> Result<()> {
    Ok(target::check(outputs, inputs, is_data)?)
}

/// That a command can write its weight file and its report, whose folder is given back.
///
/// # Errors
/// As of [`prove`].
pub fn prove_run(out: &Path, report: Option<&PathBuf>, inputs: &[Named<'_>]) -> Result<PathBuf> {
    let folder = launch::report_folder(report, out);
    if out.parent() != Some(&folder) {
        // Before a folder is made beside it.
        prove(&[("--out", out)], inputs)?;
    }
    prove_folder(&folder, &[("--out", out)], inputs)?;
    Ok(folder)
}

/// That a report can be written into a folder, which is made if it is not there, and other files beside it.
///
/// # Errors
/// As of [`prove`].
pub fn prove_folder(folder: &Path, others: &[Named<'_>], inputs: &[Named<'_>]) -> Result<()> {
    let new = !folder.exists();
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let kept = KEPT.map(|name| folder.join(name));
    let outputs: Vec<Named<'_>> =
        kept.iter().map(|path| ("the report's", &**path)).chain(others.iter().copied()).collect();
    let proved = prove(&outputs, inputs);
    if new {
        // What is refused after this leaves nothing behind.
        _ = std::fs::remove_dir(folder);
    }
    proved
}

/// Whether a file in a folder of data is read: a picture, a caption, an IDX file.
fn is_data(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.contains("-ubyte") || is_picture(&name) || [".txt", ".tsv"].iter().any(|end| name.ends_with(end))
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

    /// Seen red with all files of a folder taken for data, with the report's own files not looked at, and with a claim that is
    /// dropped at once.
    #[test]
    fn what_cannot_be_written_is_told_and_a_folder_is_taken_once() {
        let folder = std::env::temp_dir().join(format!("nijimi-target-{}", std::process::id()));
        let at = |name: &str| folder.join(name);
        std::fs::create_dir_all(at("report")).expect("a folder");
        for name in ["a.png", "m.gguf"] {
            std::fs::write(at(name), "something").expect("a file");
        }
        let run = |out: &str| prove_run(&at(out), Some(&at("report")), &[("--data", &folder)]);
        assert!(run("m.gguf").is_ok_and(|report| report == at("report")) && run("report/m.gguf").is_ok());
        assert!(run("a.png").is_err_and(|e| e.to_string().contains("also read: --data")));
        assert!(run("report/latest.gguf").is_err_and(|e| e.to_string().contains("also written: the report's")));
        assert!(run("nowhere/m.gguf").is_err() && run("report").is_err());
        assert!(prove_folder(&at("new"), &[], &[]).is_ok() && !at("new").exists());
        let left: Vec<_> = std::fs::read_dir(at("report")).expect("a folder").collect();
        assert!(left.is_empty(), "{left:?}");
        let first = Claim::take(&folder).expect("free");
        assert!(Claim::take(&folder).is_err_and(|e| e.to_string().contains("another run")));
        drop(first);
        assert!(Claim::take(&folder).is_ok());
        std::fs::remove_dir_all(&folder).expect("removal");
    }
}
