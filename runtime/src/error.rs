//! The one error type of the crate; each room has its own kind, with what was wrong, where, and what to do.

/// Everything that can go wrong between a file and a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
<<<<<<< HEAD
    /// A weight file was refused, or lacks something.
    #[error(transparent)]
    Gguf(#[from] crate::gguf::GgufError),
    /// Something cannot be written to a weight file.
    #[error(transparent)]
    Write(#[from] crate::gguf::WriteError),
    /// Numbers cannot be encoded or decoded.
    #[error(transparent)]
    Quant(#[from] crate::quant::QuantError),
    /// A file cannot be read or written.
    #[cfg(feature = "std")]
    #[error(transparent)]
    File(#[from] crate::gguf::FileError),
=======
    /// A noise schedule, or the choice of its timesteps.
    #[error(transparent)]
    Schedule(#[from] crate::schedule::ScheduleError),
    /// A sampler or one of its steps.
    #[error(transparent)]
    Sampler(#[from] crate::sampler::SamplerError),
    /// Guidance of two answers that do not fit.
    #[error(transparent)]
    Guidance(#[from] crate::guidance::GuidanceError),
    /// Values that are no picture.
    #[error(transparent)]
    ToU8(#[from] crate::cpu::ToU8Error),
>>>>>>> wt-noise
}
