//! What a self-test reports, row by row.

use alloc::string::String;

/// One line of the report.
#[derive(Clone, PartialEq, Debug)]
pub enum Row {
    /// A kernel, alone.
    Kernel(KernelRow),
    /// A model's pictures.
    Model(ModelRow),
}

/// A kernel against its CPU twin.
#[derive(Clone, PartialEq, Debug)]
pub struct KernelRow {
    /// The operation, its weights' type and its shape.
    pub name: String,
    /// How it ran: `f32` or `f16` storage; `coop` is f32 storage with cooperative matrices.
    pub variant: &'static str,
    /// Greatest difference that passes, as a share of the output's largest value.
    pub tolerance: f32,
    /// What was measured, or why nothing was.
    pub measured: Result<Measured, String>,
}

/// A kernel's figures.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measured {
    /// Greatest difference found, as a share of the output's largest value.
    pub error: f32,
    /// Of one execution, many being under way.
    pub seconds: f64,
    /// Activations and weights read and written, each once.
    pub bytes: u64,
    /// Multiplications and additions of matrix products and attention; 0 for the rest.
    pub flop: u64,
}

/// Pictures against those of the CPU.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelRow {
    /// What was drawn.
    pub name: String,
    /// Peak signal to noise ratio that passes, dB.
    pub least: f64,
    /// Peak signal to noise ratio found, dB, and seconds of a step; or why there is none.
    pub measured: Result<(f64, f64), String>,
}

impl Row {
    /// Whether the device did as the CPU does.
    pub fn passed(&self) -> bool {
        match self {
            Self::Kernel(row) => row.measured.as_ref().is_ok_and(|m| m.error <= row.tolerance),
            Self::Model(row) => row.measured.as_ref().is_ok_and(|(psnr, _)| *psnr >= row.least),
        }
    }
}
