//! Systems are fitted as a user would fit them: by this program, in a process of its own.
use super::ladder::Ladder;
use super::record::Record;
use crate::error::{Error, Result};
use crate::launch;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// All that children say.
const LOG: &str = "log.txt";
/// So much of a child's last words is shown.
const LAST_WORDS: u64 = 2000;

/// Has a child write its checkpoint and end.
fn terminate(child: &mut Child) {
    let asked = cfg!(unix)
        && Command::new("kill").args(["-TERM", &child.id().to_string()]).status().is_ok_and(|status| status.success());
    if !asked {
        _ = child.kill();
    }
}

/// Runs this program with `args`, in the folder of its rung, and waits; when this process is told to end, so is that one. What it prints goes to `log.txt` there.
///
/// # Errors
/// A process that cannot be started; one that fails, with its last line; an interruption.
pub(super) fn run(ladder: &Ladder, folder: &Path, record: &mut Record, args: &[OsString]) -> Result<()> {
    let program = std::env::current_exe().map_err(Error::io("nijimi-train"))?;
    let mut args = args.to_vec();
    // A run that was interrupted goes on where it stood; folders without its checkpoint are new.
    if folder.join(crate::target::CHECKPOINT).exists() {
        args.push("--resume".into());
    }
    let shown: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let line = format!("nijimi-train {}", shown.join(" "));
    record.commands.push(line.clone());
    let path = folder.join(LOG);
    let mut log = OpenOptions::new().create(true).append(true).read(true).open(&path).map_err(Error::io(&path))?;
    let both = || log.try_clone().map(Stdio::from).map_err(Error::io(&path));
    let mut command = Command::new(program);
    command.args(&args).stdin(Stdio::null()).stdout(both()?).stderr(both()?);
    if let Some(threads) = ladder.threads {
        command.env("RAYON_NUM_THREADS", threads.to_string());
    }
    let stop = launch::interruptible()?;
    let mut child = command.spawn().map_err(Error::io("nijimi-train"))?;
    let mut told = false;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(Error::io("nijimi-train"))? {
            break status;
        }
        // A terminal's Ctrl-C reaches the child by itself; what is sent to this process alone does not.
        if stop.load(Ordering::Relaxed) && !told {
            terminate(&mut child);
            told = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    if status.success() {
        return Ok(());
    }
    let length = log.seek(SeekFrom::End(0)).map_err(Error::io(&path))?;
    let mut end = Vec::new();
    let read = log.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS))).and_then(|_| log.read_to_end(&mut end));
    read.map_err(Error::io(&path))?;
    let end = String::from_utf8_lossy(&end);
    let last = end.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
    Err(Error::Failed(format!("`{line}` ended with {status}: {last} (all of it in {})", path.display())))
}
