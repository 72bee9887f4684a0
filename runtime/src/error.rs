//! The one error type of the crate; each room has its own kind, with what was wrong, where, and what to do.

/// Everything that can go wrong between a file and a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A kernel cannot read a weight.
    #[error(transparent)]
    Kernel(#[from] crate::cpu::KernelError),
    /// A network's description is wrong.
    #[error(transparent)]
    Network(#[from] crate::nn::NetworkError),
    /// A plan cannot be made.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// An execution went wrong.
    #[error(transparent)]
    Exec(#[from] crate::cpu::exec::ExecError),
}
