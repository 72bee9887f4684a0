//! The one error type of the crate; each room has its own kind, with what was wrong, where, and what to do.

/// Everything that can go wrong between a file and a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A CPU kernel refused its weights, its shape or the machine.
    #[error(transparent)]
    Kernel(#[from] crate::cpu::KernelError),
}
