//! The one error type of the crate; each room has its own kind, with what was wrong, where, and what to do.

/// Everything that can go wrong between a file and a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// A kernel refuses a weight, a shape or an instruction set.
    #[error(transparent)]
    Kernel(#[from] crate::cpu::KernelError),
    /// A noise schedule cannot be.
    #[error(transparent)]
    Schedule(#[from] crate::schedule::ScheduleError),
    /// A network's configuration is wrong.
    #[error(transparent)]
    Network(#[from] crate::nn::NetworkError),
    /// A plan cannot be made: memory.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// An execution cannot be set up, or made a NaN or an infinity.
    #[error(transparent)]
    Exec(#[from] crate::cpu::exec::ExecError),
    /// A device cannot be had, or did not do what it was asked.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Gpu(#[from] crate::gpu::GpuError),
    /// The file's model is not one that this version runs, or its tensors are not the network's.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A request that the model or the session cannot serve.
    #[error(transparent)]
    Request(#[from] crate::model::RequestError),
    /// A sampler or one of its steps.
    #[error(transparent)]
    Sampler(#[from] crate::sampler::SamplerError),
    /// Numbers that make no distribution.
    #[error(transparent)]
    Dist(#[from] crate::dist::DistError),
    /// Guidance of two answers that do not fit.
    #[error(transparent)]
    Guidance(#[from] crate::guidance::GuidanceError),
    /// A vocabulary that makes no tokenizer.
    #[error(transparent)]
    Text(#[from] crate::text::TextError),
    /// A patch of the caller's cannot be applied, as a LoRA whose file cannot be read.
    #[error(transparent)]
    Patch(alloc::boxed::Box<dyn core::error::Error + Send + Sync>),
    /// Values that are no picture.
    #[error(transparent)]
    ToU8(#[from] crate::cpu::ToU8Error),
}
