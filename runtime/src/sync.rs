//! What is shared and counted: the standard library's where the target can compare and swap, else that of `portable-atomic`.

#[cfg(not(any(target_has_atomic = "ptr", feature = "portable-atomic")))]
compile_error!(
    "this target has no compare-and-swap: use the feature portable-atomic, and a crate with a critical section"
);

#[cfg(target_has_atomic = "ptr")]
pub use alloc::sync::Arc;
#[cfg(target_has_atomic = "ptr")]
pub(crate) use core::sync::atomic::AtomicUsize;

#[cfg(all(not(target_has_atomic = "ptr"), feature = "portable-atomic"))]
pub(crate) use portable_atomic::AtomicUsize;
#[cfg(all(not(target_has_atomic = "ptr"), feature = "portable-atomic"))]
pub use portable_atomic_util::Arc;
