//! What is said on stderr: lines, and for people alone one that says how far it is.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Writes lines; nobody to tell if stderr is closed.
pub fn tell(lines: &[String]) {
    for line in lines {
        let _ = writeln!(stderr(), "{line}");
    }
}

/// How far the work is. Nothing is written where stderr is not a terminal.
pub struct Progress {
    terminal: bool,
    shown: Option<Instant>,
    started: Instant,
    steps: usize,
    total: usize,
}

impl Progress {
    /// Of `total` steps, from now.
    pub fn new(total: usize) -> Self {
        Self { terminal: stderr().is_terminal(), shown: None, started: Instant::now(), steps: 0, total }
    }

    /// One step further.
    pub fn step(&mut self) {
        self.steps += 1;
        // A terminal is slow, and nobody reads faster.
        if self.terminal && self.shown.is_none_or(|at| at.elapsed() > Duration::from_millis(50)) {
            let seconds = self.started.elapsed().as_secs_f64();
            let _ = write!(stderr(), "\r{}\x1b[K", line(self.steps, self.total, seconds));
            self.shown = Some(Instant::now());
        }
    }

    /// Makes way for another line.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    /// Mean time of a step.
    pub fn step_time(&self) -> Duration {
        self.started.elapsed().checked_div(self.steps as u32).unwrap_or_default()
    }
}

/// The line goes away when the work is done, or has failed.
impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(steps: usize, total: usize, seconds: f64) -> String {
    let rate = steps as f64 / seconds.max(1e-9);
    format!("step {steps} of {total}, {rate:.1} steps/s, {:.0} s left", (total - steps) as f64 / rate)
}

#[cfg(test)]
mod tests {
    #[test]
    fn steps_rate_and_time_left() {
        assert_eq!(super::line(10, 50, 4.0), "step 10 of 50, 2.5 steps/s, 16 s left");
    }
}
