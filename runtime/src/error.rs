//! The one error type of the crate; each room has its own kind, with what was wrong, where, and what to do.

use crate::model::RequestError;

pub use crate::cpu::IsaMissing;
pub use crate::nn::NetworkError;
pub use crate::plan::{ExecError, KernelError, PlanError};

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
    /// A backend refuses a weight or its shape.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The CPU lacks an instruction set.
    #[error(transparent)]
    Isa(#[from] IsaMissing),
    /// A noise schedule cannot be.
    #[error(transparent)]
    Schedule(#[from] crate::schedule::ScheduleError),
    /// A network's configuration is wrong.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A plan cannot be made: memory.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An execution cannot be set up, or made a NaN or an infinity.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A device cannot be had, or did not do what it was asked.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Gpu(#[from] crate::gpu::GpuError),
    /// The file's model is not one that this version runs, or its tensors are not the network's.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A request that the model or the session cannot serve.
    #[error(transparent)]
    Request(#[from] RequestError),
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

/// Whose fault an error is, and so where to look for help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Of what was asked for: a number or a setting that cannot be, more memory than is allowed.
    Request,
    /// Of what was given: a file, its weights, a label, a picture.
    Input,
    /// Of a device: it is missing, lost, or too small. Another one, or the CPU, may do.
    Device,
    /// Of this library, or of the program that calls it: none of a user's doing.
    Internal,
}

impl Error {
    /// Whose fault it is: for exit codes, and for where a message is shown.
    pub fn fault(&self) -> Fault {
        match self {
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => Fault::Device,
            #[cfg(feature = "std")]
            Self::File(_) => Fault::Input,
            Self::Request(RequestError::Range { .. } | RequestError::NotOf { .. }) => Fault::Request,
            Self::Gguf(_) | Self::Quant(_) | Self::Kernel(_) | Self::Network(_) | Self::Model(_) => Fault::Input,
            Self::Request(_) | Self::Dist(_) | Self::Text(_) | Self::Patch(_) => Fault::Input,
            Self::Isa(_) | Self::Schedule(_) | Self::Sampler(_) | Self::Guidance(_) => Fault::Request,
            Self::Plan(e) | Self::Exec(ExecError::Plan(e)) => match e {
                PlanError::Memory { .. } => Fault::Request,
                // More than a device binds at once; a CPU has no such limit.
                PlanError::Activation { .. } => Fault::Device,
                _ => Fault::Internal,
            },
            Self::Exec(ExecError::Kernel(_) | ExecError::Quant(_)) => Fault::Input,
            // Of a model's weights, where no request made them so.
            Self::Exec(ExecError::NotFinite { .. } | ExecError::Constant { .. }) | Self::ToU8(_) => Fault::Input,
            Self::Exec(_) | Self::Write(_) => Fault::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::SamplerError;
    use alloc::string::String;

    /// Seen red with a number out of its range taken for a wrong input.
    #[test]
    fn whose_fault_it_is() {
        let range = RequestError::Range { what: "steps", found: String::new(), expected: String::new() };
        let activation = PlanError::Activation { value: String::new(), needed: 2, allowed: 1 };
        let clobbered = PlanError::Clobbered { step: String::new(), value: 0 };
        let all: [(Error, Fault); 9] = [
            (range.into(), Fault::Request),
            (SamplerError::Eta(2.0).into(), Fault::Request),
            (ExecError::Plan(PlanError::Memory { needed: 2, allowed: 1 }).into(), Fault::Request),
            (RequestError::NotOf { what: "mask", of: "" }.into(), Fault::Request),
            (RequestError::Lengths { labels: 1, seeds: 2 }.into(), Fault::Input),
            (NetworkError::Token { id: 9, vocabulary: 9 }.into(), Fault::Input),
            (activation.into(), Fault::Device),
            (clobbered.into(), Fault::Internal),
            (ExecError::Weights.into(), Fault::Internal),
        ];
        for (error, fault) in all {
            assert_eq!(error.fault(), fault, "{error}");
        }
    }
}
