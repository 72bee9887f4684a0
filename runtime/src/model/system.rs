//! Whatever a weight file holds.

use super::{Classifier, Device, Hvae, ModelError, Numbers, Pipeline, Vae, info};
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
    /// Loads a file by what its `nijimi.system` says; numbers have no network, and use no device.
    ///
    /// # Errors
    /// A system that this version does not know; and as the system's own `load`.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        Ok(match name(file)? {
            "ddpm" => Self::Ddpm(Pipeline::load(file, device)?),
            "vae" => Self::Vae(Vae::load(file, device)?),
            "hvae" => Self::Hvae(Hvae::load(file, device)?),
            "classifier" => Self::Classifier(Classifier::load(file, device)?),
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
