//! The waiting forms of what is awaited.
//!
//! Everything that may have to wait for a device is an `async fn`, once. On the CPU such a future is ready when it is first
//! polled; so it is on a device where a thread may wait, since whoever polls drives the device. In a browser nobody may
//! wait: there the awaited forms, whose names end in `_async`, are the way, and the others are errors.

use crate::Error;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// What the future brings.
pub(super) fn wait<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        #[cfg(feature = "gpu")]
        Poll::Pending => Err(crate::gpu::GpuError::MayNotWait.into()),
        #[cfg(not(feature = "gpu"))]
        Poll::Pending => unreachable!("the CPU is never waited for"),
    }
}
