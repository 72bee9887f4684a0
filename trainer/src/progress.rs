//! The progress line: loss, rate and time left on a terminal; only notes elsewhere.
use crate::say::{self, tell};
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// A line that is drawn over and over on a terminal.
pub struct Progress {
    terminal: bool,
    silent: bool,
    begun: Instant,
    first: u64,
    total: u64,
    per_epoch: u64,
    epochs: u64,
    loss: Option<f64>,
}

fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

impl Progress {
    /// A run that stands at step `first` of `total`.
    pub fn new(first: u64, total: u64, per_epoch: u64, epochs: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, silent: false, begun: Instant::now(), first, total, per_epoch, epochs, loss: None }
    }

    /// The same, but it says nothing if `silent`: of several processes one speaks.
    #[must_use]
    pub fn silent(self, silent: bool) -> Self {
        Self { silent, terminal: self.terminal && !silent, ..self }
    }

    /// Draws the line after `step` steps. The loss shown is a running average over about 50 steps.
    pub fn step(&mut self, step: u64, loss: f64) {
        let shown = self.loss.map_or(loss, |l| 0.98 * l + 0.02 * loss);
        self.loss = Some(shown);
        if !self.terminal {
            return;
        }
        let rate = self.begun.elapsed().as_secs_f64() / (step - self.first).max(1) as f64;
        let done = ((step * 24) / self.total.max(1)) as usize;
        let bar: String = (0..24).map(|i| if i < done { '=' } else { ' ' }).collect();
        let epoch = (step - 1) / self.per_epoch.max(1) + 1;
        let left = clock(rate * (self.total - step) as f64);
        let epochs = self.epochs;
        say::err(format_args!(
            "\r\x1b[K[{bar}] epoch {epoch}/{epochs} step {step}/{} loss {shown:.5} {rate:.2} s/step {left} left",
            self.total
        ));
        _ = std::io::stderr().flush();
    }

    /// A line of its own, on a terminal or not.
    pub fn note(&self, text: &str) {
        if self.silent {
            return;
        }
        tell!("{}{text}", if self.terminal { "\r\x1b[K" } else { "" });
    }
}
