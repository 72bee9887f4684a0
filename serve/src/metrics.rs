//! Counters, as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is counted from the start on.
#[derive(Default)]
pub struct Metrics {
    /// By path and status. Paths are the server's own: others are counted as one.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    pub pictures: AtomicU64,
    pub steps: AtomicU64,
    pub runs: AtomicU64,
    pub cancelled: AtomicU64,
    microseconds: AtomicU64,
    /// Bytes of weights and sessions in memory.
    pub resident: AtomicU64,
}

impl Metrics {
    pub fn request(&self, path: &'static str, status: u16) {
        *lock(&self.requests).entry((path, status)).or_default() += 1;
    }

    pub fn refuse(&self, code: &'static str) {
        *lock(&self.refused).entry(code).or_default() += 1;
    }

    pub fn drew(&self, pictures: usize, time: Duration) {
        self.pictures.fetch_add(pictures as u64, Relaxed);
        self.runs.fetch_add(1, Relaxed);
        self.microseconds.fetch_add(time.as_micros() as u64, Relaxed);
    }

    /// Seconds that a run takes, from those that were; 1 before the first.
    pub fn seconds_a_run(&self) -> f64 {
        match self.runs.load(Relaxed) {
            0 => 1.0,
            runs => self.microseconds.load(Relaxed) as f64 / 1e6 / runs as f64,
        }
    }

    /// Everything, with what is now: how many wait, and how many are being drawn.
    pub fn text(&self, waiting: usize, running: usize) -> String {
        let mut text = String::new();
        let mut put = |name: &str, kind: &str, help: &str, rows: &[(String, String)]| {
            // Writing to a string cannot fail.
            let _ = write!(text, "# HELP nijimi_{name} {help}\n# TYPE nijimi_{name} {kind}\n");
            for (labels, value) in rows {
                let _ = writeln!(text, "nijimi_{name}{labels} {value}");
            }
        };
        let one = |value: String| vec![(String::new(), value)];
        let count = |counter: &AtomicU64| one(counter.load(Relaxed).to_string());
        let requests = lock(&self.requests);
        let rows: Vec<_> = requests
            .iter()
            .map(|((path, status), n)| (format!("{{path=\"{path}\",status=\"{status}\"}}"), n.to_string()))
            .collect();
        put("requests_total", "counter", "Requests that were answered.", &rows);
        let refused = lock(&self.refused);
        let rows: Vec<_> = refused.iter().map(|(code, n)| (format!("{{reason=\"{code}\"}}"), n.to_string())).collect();
        put("refused_total", "counter", "Requests that were refused.", &rows);
        put("queue_length", "gauge", "Requests that wait.", &one(waiting.to_string()));
        put("running", "gauge", "Requests that are being drawn.", &one(running.to_string()));
        put("pictures_total", "counter", "Pictures drawn.", &count(&self.pictures));
        put("steps_total", "counter", "Steps of all runs.", &count(&self.steps));
        put("runs_total", "counter", "Runs, of one or more requests each.", &count(&self.runs));
        put(
            "cancelled_total",
            "counter",
            "Requests whose client went away, or that were interrupted.",
            &count(&self.cancelled),
        );
        let seconds = self.microseconds.load(Relaxed) as f64 / 1e6;
        put("drawing_seconds_total", "counter", "Time spent drawing.", &one(seconds.to_string()));
        put("model_bytes", "gauge", "Bytes of weights and sessions in memory.", &count(&self.resident));
        text
    }
}

/// A counter stays right whatever thread failed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
