//! Waiting for a device in a browser, where nothing may block: callbacks wake the futures that are awaited.

use super::{Gpu, GpuError};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use std::sync::Mutex;

struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// What a callback of the device's will bring.
pub(in crate::gpu) struct Later<T>(Arc<Mutex<State<T>>>);

/// A callback, and what it will bring.
pub(in crate::gpu) fn later<T: Send + 'static>() -> (impl FnOnce(T) + Send + 'static, Later<T>) {
    let state = Arc::new(Mutex::new(State { value: None, waker: None }));
    let own = state.clone();
    let bring = move |value| {
        let mut state = own.lock().unwrap_or_else(|e| e.into_inner());
        state.value = Some(value);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    };
    (bring, Later(state))
}

impl<T> Later<T> {
    pub async fn arrived(self, gpu: &Gpu) -> Result<T, GpuError> {
        gpu.alive()?;
        let value = core::future::poll_fn(|context| {
            let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
            state.waker = Some(context.waker().clone());
            state.value.take().map_or(Poll::Pending, Poll::Ready)
        });
        let value = value.await;
        gpu.alive()?;
        Ok(value)
    }
}

/// Work that was submitted.
pub(in crate::gpu) struct Submitted(Later<()>);

impl Submitted {
    /// The work submitted last.
    pub fn new(gpu: &Gpu, _: wgpu::SubmissionIndex) -> Self {
        let (done, later) = later();
        gpu.queue().on_submitted_work_done(move || done(()));
        Self(later)
    }

    pub async fn done(self, gpu: &Gpu) -> Result<(), GpuError> {
        self.0.arrived(gpu).await
    }
}

impl Gpu {
    /// Does something with the device. What the browser has against it comes later, to [`uncaptured`], and is found by
    /// whatever is done next: an error scope could only be awaited.
    pub(in crate::gpu) fn scoped<T>(&self, _: &str, _: u64, f: impl FnOnce() -> T) -> Result<T, GpuError> {
        self.alive()?;
        Ok(f())
    }
}

pub(in crate::gpu) fn uncaptured(error: &wgpu::Error) -> GpuError {
    GpuError::said("drawing", 0, error)
}

/// Calls `f` for each item; the browser compiles on threads of its own.
pub(in crate::gpu) fn each<I, T>(items: &[I], f: impl Fn(&I) -> T) -> Vec<T> {
    items.iter().map(f).collect()
}
