//! Whatever a weight file holds.

use super::{Classifier, Hvae, ModelError, Numbers, Pipeline, Vae, info};
use crate::Error;
use crate::gguf::File;
use alloc::format;

/// A loaded model of any system.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum System {
    /// `normal`, `mvn`, `mixture`, `descent`, `regression`, `mlp`: rows of numbers.
    Numbers(Numbers),
    /// `ddpm`: pictures, step by step.
    Ddpm(Pipeline),
    /// `vae`: pictures of a latent vector.
    Vae(Vae),
    /// `hvae`: pictures of two levels of latent vectors.
    Hvae(Hvae),
    /// `classifier`: labels of noised pictures, and gradients that lead to them.
    Classifier(Classifier),
}

impl System {
    /// Loads a file by what its `nijimi.system` says.
    ///
    /// # Errors
    /// A system that this version does not know; and as the system's own `load`.
    pub fn load(file: &File<'_>) -> Result<Self, Error> {
        Ok(match name(file)? {
            "ddpm" => Self::Ddpm(Pipeline::load(file)?),
            "vae" => Self::Vae(Vae::load(file)?),
            "hvae" => Self::Hvae(Hvae::load(file)?),
            "classifier" => Self::Classifier(Classifier::load(file)?),
            _ => Self::Numbers(Numbers::load(file)?),
        })
    }

    /// As [`Self::load`], with networks in a device's memory; numbers have none.
    ///
    /// # Errors
    /// As [`Self::load`], and what the device has against it.
    #[cfg(feature = "gpu")]
    pub fn load_on(gpu: &crate::gpu::Gpu, file: &File<'_>) -> Result<Self, Error> {
        Ok(match name(file)? {
            "ddpm" => Self::Ddpm(Pipeline::load_on(gpu, file)?),
            "vae" => Self::Vae(Vae::load_on(gpu, file)?),
            "hvae" => Self::Hvae(Hvae::load_on(gpu, file)?),
            "classifier" => Self::Classifier(Classifier::load_on(gpu, file)?),
            _ => Self::Numbers(Numbers::load(file)?),
        })
    }
}

fn name<'a>(file: &File<'a>) -> Result<&'a str, Error> {
    info::kind(file, &[])?;
    let (key, name) = ("nijimi.system", file.str("nijimi.system")?);
    match name {
        "normal" | "mvn" | "mixture" | "descent" | "regression" | "mlp" | "vae" | "hvae" | "classifier" | "ddpm" => {
            Ok(name)
        }
        _ => {
            let expected = "normal, mvn, mixture, descent, regression, mlp, vae, hvae, classifier or ddpm";
            Err(ModelError::Unsupported { key, found: format!("{name:?}"), expected }.into())
        }
    }
}
