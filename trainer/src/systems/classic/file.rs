//! Weight files of the systems of few numbers (`docs/format.md`).
use crate::error::Result;
use crate::systems::mixture::Parameters;
use nijimi_runtime::dist::{MultivariateNormal, Normal};
use nijimi_runtime::gguf::Writer;

/// What a file says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// `general.name`.
    pub name: String,
    /// `nijimi.columns`: the names of a row's numbers.
    pub columns: Vec<String>,
    /// `nijimi.train.command`.
    pub command: String,
    /// `nijimi.train.rows`: rows of the data.
    pub rows: usize,
    /// `nijimi.train.mean_log_likelihood`: of the data under the fit.
    pub mean_log_likelihood: f64,
}

fn writer(system: &str, about: &About) -> Result<Writer> {
    let mut w = Writer::new();
    w.meta("general.architecture", "nijimi")?;
    w.meta("general.name", about.name.as_str())?;
    w.meta("nijimi.format_version", 1u32)?;
    w.meta("nijimi.system", system)?;
    w.meta("nijimi.columns", about.columns.clone())?;
    w.meta("nijimi.train.command", about.command.as_str())?;
    w.meta("nijimi.train.rows", about.rows as u64)?;
    w.meta("nijimi.train.mean_log_likelihood", about.mean_log_likelihood)?;
    Ok(w)
}

/// The bytes of a file of system `normal`.
///
/// # Errors
/// If a text cannot be written.
pub fn normal(normal: &Normal, about: &About) -> Result<Vec<u8>> {
    let mut w = writer("normal", about)?;
    w.meta("nijimi.normal.mean", normal.mean())?;
    w.meta("nijimi.normal.sigma", normal.sigma())?;
    Ok(w.finish())
}

/// The bytes of a file of system `mvn`.
///
/// # Errors
/// If a text cannot be written.
pub fn mvn(normal: &MultivariateNormal, about: &About) -> Result<Vec<u8>> {
    let mut w = writer("mvn", about)?;
    w.meta("nijimi.mvn.mean", normal.mean().to_vec())?;
    w.meta("nijimi.mvn.covariance", normal.covariance().to_vec())?;
    Ok(w.finish())
}

/// The bytes of a file of system `mixture`.
///
/// # Errors
/// If a text cannot be written.
pub fn mixture(parameters: &Parameters, about: &About) -> Result<Vec<u8>> {
    let mut w = writer("mixture", about)?;
    w.meta("nijimi.mixture.weights", parameters.weights.clone())?;
    w.meta("nijimi.mixture.means", parameters.means.clone())?;
    w.meta("nijimi.mixture.covariances", parameters.covariances.clone())?;
    Ok(w.finish())
}
