//! Waiting for a device where one may: whoever waits drives the device. `web.rs` is the same for browsers.

use super::{Gpu, GpuError};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::mpsc;
use wgpu::ErrorFilter;

/// How long to wait for another thread before the device is asked again.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a callback of the device's will bring.
pub(in crate::gpu) struct Later<T>(mpsc::Receiver<T>);

/// A callback, and what it will bring.
pub(in crate::gpu) fn later<T: Send + 'static>() -> (impl FnOnce(T) + Send + 'static, Later<T>) {
    let (sender, arrived) = mpsc::channel();
    // A receiver that is gone has had its error.
    (move |value| drop(sender.send(value)), Later(arrived))
}

impl<T> Later<T> {
    /// Waits in place, so the future is ready when it is first polled.
    pub async fn arrived(self, gpu: &Gpu) -> Result<T, GpuError> {
        // Whoever polls runs the callbacks of all, so ours may still be under way on another thread.
        loop {
            gpu.wait(None)?;
            match self.0.recv_timeout(PATIENCE) {
                Ok(value) => return Ok(value),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(e) => return Err(GpuError::Lost { reason: format!("{e}") }),
            }
        }
    }
}

/// Work that was submitted.
pub(in crate::gpu) struct Submitted(wgpu::SubmissionIndex);

impl Submitted {
    pub fn new(_: &Gpu, index: wgpu::SubmissionIndex) -> Self {
        Self(index)
    }

    /// Waits in place until it is done.
    pub async fn done(self, gpu: &Gpu) -> Result<(), GpuError> {
        gpu.wait(Some(self.0))
    }
}

impl Gpu {
    /// Waits until the device has done all that was submitted up to `submission`, or all.
    pub(in crate::gpu) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        let poll = wgpu::PollType::Wait { submission_index: submission, timeout: None };
        let result = self.0.device.poll(poll);
        self.alive()?;
        result.map(drop).map_err(|e| GpuError::Lost { reason: format!("{e}") })
    }

    /// Does something with the device, and says what the device had against it.
    pub(in crate::gpu) fn scoped<T>(&self, what: &str, bytes: u64, f: impl FnOnce() -> T) -> Result<T, GpuError> {
        self.alive()?;
        let device = &self.0.device;
        let filters = [ErrorFilter::Internal, ErrorFilter::Validation, ErrorFilter::OutOfMemory];
        let mut scopes: Vec<_> = filters.into_iter().map(|filter| device.push_error_scope(filter)).collect();
        let value = f();
        let mut error = None;
        // Innermost first. Errors of a scope are there at once.
        while let Some(scope) = scopes.pop() {
            error = pollster::block_on(scope.pop()).or(error);
        }
        self.alive()?;
        error.map_or(Ok(value), |e| Err(GpuError::said(what, bytes, &e)))
    }
}

/// What no scope catches comes from a lost device.
pub(in crate::gpu) fn uncaptured(error: &wgpu::Error) -> GpuError {
    GpuError::Lost { reason: super::first_line(&format!("{error}")) }
}

/// Calls `f` for each item, on all cores: compilers take one each. Fewer results than items if a thread ended early.
pub(in crate::gpu) fn each<I: Sync, T: Send>(items: &[I], f: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if cores < 2 {
        return items.iter().map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let take = || items.get(next.fetch_add(1, Ordering::Relaxed));
        core::iter::from_fn(|| take().map(&f)).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}
