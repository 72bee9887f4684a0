//! The loss log: JSON lines, one a step and one an epoch. A resumed run drops what lies after its checkpoint.
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// An open log.
pub struct Log {
    path: PathBuf,
    out: BufWriter<Box<dyn Write>>,
}

impl Log {
    /// Opens the log of a run that has made `step` steps: later lines are dropped, so that a resumed log has no step twice.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let old = if path.exists() { std::fs::read_to_string(path).map_err(Error::io(path))? } else { String::new() };
        let kept = old.lines().filter(|line| {
            let at = serde_json::from_str::<Value>(line).ok().and_then(|v| v.get("step").and_then(Value::as_u64));
            at.is_some_and(|at| at <= step)
        });
        let kept: String = kept.flat_map(|l| [l, "\n"]).collect();
        crate::checkpoint::write_atomic(path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io(path))?;
        Ok(Self { path: path.into(), out: BufWriter::new(Box::new(file)) })
    }

    /// A log that is not kept.
    pub fn nowhere() -> Self {
        Self { path: PathBuf::new(), out: BufWriter::new(Box::new(std::io::sink())) }
    }

    fn line(&mut self, v: &Value) -> Result<()> {
        writeln!(self.out, "{v}").map_err(Error::io(&self.path))
    }

    /// A step, counted from 1.
    pub fn step(&mut self, step: u64, epoch: u64, loss: f64, lr: f64, norm: f64, seconds: f64) -> Result<()> {
        self.line(
            &json!({"step": step, "epoch": epoch, "loss": loss, "lr": lr, "gradient_norm": norm, "seconds": seconds}),
        )?;
        // A step takes far longer than a write, and a log that lags is no help to who watches it.
        self.flush()
    }

    /// A completed epoch, counted from 1, the mean of its batches' losses, and the loss on what is held out, if anything is.
    pub fn epoch(&mut self, step: u64, epoch: u64, mean_loss: f64, held_out: Option<f64>, seconds: f64) -> Result<()> {
        let mut line = json!({"step": step, "epoch": epoch, "mean_loss": mean_loss, "seconds": seconds});
        if let Some(loss) = held_out {
            line["held_out_loss"] = json!(loss);
        }
        self.line(&line)?;
        self.flush()
    }

    /// Puts what is buffered into the file.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(Error::io(&self.path))
    }
}
