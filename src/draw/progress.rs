//! How far the work is: a line on stderr, for people alone.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// A line that is written again and again. Nothing is written where stderr is no terminal, or one that cannot go back.
pub struct StatusLine {
    terminal: bool,
    shown: Option<Instant>,
}

impl StatusLine {
    /// Nothing yet.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { terminal: stderr().is_terminal() && !dumb, shown: None }
    }

    /// Writes the line, unless that was done a moment ago: a terminal is slow, and nobody reads faster.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.terminal && self.shown.is_none_or(|at| at.elapsed() > Duration::from_millis(50)) {
            let _ = write!(stderr(), "\r{}\x1b[K", line());
            self.shown = Some(Instant::now());
        }
    }

    /// Makes way for another line.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// The line goes away when the work is done, or has failed.
impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How many steps are done.
pub struct Progress {
    line: StatusLine,
    started: Instant,
    steps: usize,
    total: usize,
}

impl Progress {
    /// Of `total` steps, from now.
    pub fn new(total: usize) -> Self {
        Self { line: StatusLine::new(), started: Instant::now(), steps: 0, total }
    }

    /// One step further.
    pub fn step(&mut self) {
        self.steps += 1;
        self.line.show(|| line(self.steps, self.total, self.started.elapsed().as_secs_f64()));
    }

    /// Makes way for another line.
    pub fn clear(&mut self) {
        self.line.clear();
    }

    /// Mean time of a step.
    pub fn step_time(&self) -> Duration {
        self.started.elapsed().checked_div(self.steps as u32).unwrap_or_default()
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
