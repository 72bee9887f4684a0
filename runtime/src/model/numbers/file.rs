//! Systems of numbers as weight files: read, and written. The keys are those of `docs/format.md`.

use super::regressor::check_widths;
use super::{About, Law, Numbers, Regressor, Trace};
use crate::Error;
use crate::dist::{DistError, Mixture, MultivariateNormal, Normal};
use crate::gguf::{File, MetaValue, Writer};
use crate::model::info::{kind, titles, wrong};
use crate::model::{ModelError, load};
use crate::quant::DType;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::vec::Vec;

/// The most numbers of a row: a factorization takes their cube.
const MOST_COLUMNS: usize = 1024;
/// The only activation.
const ACTIVATION: &str = "sigmoid";

impl Numbers {
    /// Loads a file whose `nijimi.system` is `normal`, `mvn`, `mixture`, `descent`, `regression` or `mlp`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type, contradictory, or that makes no distribution, with its key; tensors that
    /// are missing, too many, or of another shape.
    pub fn load(file: &File<'_>) -> Result<Self, Error> {
        kind(file, &[])?;
        let columns: Vec<_> = file.strs("nijimi.columns")?.into_iter().map(str::to_owned).collect();
        if !(1..=MOST_COLUMNS).contains(&columns.len()) {
            let expected = format!("1 to {MOST_COLUMNS}");
            return Err(wrong("nijimi.columns", format!("{} names", columns.len()), expected));
        }
        let [name, license] = titles(file);
        let about = About { name, license, columns };
        let dim = about.columns.len();
        let law = match file.str("nijimi.system")? {
            "normal" => Law::Normal(normal(file)?),
            "mvn" => Law::Mvn(mvn(file, dim)?),
            "mixture" => Law::Mixture(mixture(file, dim)?),
            "descent" => Law::Descent(descent(file, dim)?),
            system @ ("regression" | "mlp") => Law::Regression(regressor(file, system)?),
            other => {
                let expected = "normal, mvn, mixture, descent, regression or mlp";
                let found = format!("{other:?}");
                return Err(ModelError::Unsupported { key: "nijimi.system", found, expected }.into());
            }
        };
        if !matches!(law, Law::Regression(_)) {
            // None: a file with tensors is not what it says.
            load::weights(file, &[], |_, _, _| Ok(()))?;
        }
        Self::new(law, about)
    }

    /// The bytes of the weight file. `record` is the training's, each entry under `nijimi.train.` and its name.
    ///
    /// # Errors
    /// A key of the record that is not one, or is there twice; numbers in it that are not finite.
    pub fn to_file(&self, record: &[(&str, MetaValue)]) -> Result<Vec<u8>, Error> {
        let mut w = Writer::new();
        w.meta("general.architecture", "nijimi")?;
        w.meta("general.name", self.about.name.as_str())?;
        if !self.about.license.is_empty() {
            w.meta("general.license", self.about.license.as_str())?;
        }
        w.meta("nijimi.format_version", 1u32)?;
        w.meta("nijimi.system", self.system())?;
        w.meta("nijimi.columns", self.about.columns.clone())?;
        match &self.law {
            Law::Normal(normal) => {
                w.meta("nijimi.normal.mean", normal.mean())?;
                w.meta("nijimi.normal.sigma", normal.sigma())?;
            }
            Law::Mvn(normal) => {
                w.meta("nijimi.mvn.mean", normal.mean().to_vec())?;
                w.meta("nijimi.mvn.covariance", normal.covariance().to_vec())?;
            }
            Law::Mixture(mixture) => {
                let all = |f: fn(&MultivariateNormal) -> &[f64]| mixture.components().iter().flat_map(f).copied();
                w.meta("nijimi.mixture.weights", mixture.weights().to_vec())?;
                w.meta("nijimi.mixture.means", all(MultivariateNormal::mean).collect::<Vec<f64>>())?;
                w.meta("nijimi.mixture.covariances", all(MultivariateNormal::covariance).collect::<Vec<f64>>())?;
            }
            Law::Descent(trace) => {
                w.meta("nijimi.descent.function", trace.function())?;
                w.meta("nijimi.descent.learning_rate", trace.learning_rate())?;
                w.meta("nijimi.descent.trace", trace.values().to_vec())?;
            }
            Law::Regression(regressor) => {
                let widths = regressor.widths().iter().map(|w| *w as u32).collect::<Vec<u32>>();
                w.meta("nijimi.mlp.widths", widths)?;
                w.meta("nijimi.mlp.activation", ACTIVATION)?;
                w.meta("nijimi.regression.sigma", regressor.sigma())?;
                w.meta("nijimi.regression.inputs", regressor.ranges().concat())?;
                for (i, (weight, bias)) in regressor.layers().iter().enumerate() {
                    let shape = &regressor.widths()[i..];
                    w.tensor(&format!("layers.{i}.weight"), &[shape[1], shape[0]], DType::F32, weight)?;
                    w.tensor(&format!("layers.{i}.bias"), &[shape[1]], DType::F32, bias)?;
                }
            }
        }
        for (key, value) in record {
            w.meta(&format!("nijimi.train.{key}"), value.clone())?;
        }
        Ok(w.finish())
    }
}

/// `result`, or the key whose numbers make no distribution.
fn of<T>(key: &'static str, result: Result<T, DistError>) -> Result<T, Error> {
    result.map_err(|source| ModelError::Dist { key, source }.into())
}

/// The array of `key`, of exactly `expected` numbers.
fn list(file: &File<'_>, key: &'static str, expected: usize) -> Result<Vec<f64>, Error> {
    let values = file.f64s(key)?;
    if values.len() != expected {
        return Err(wrong(key, format!("{} numbers", values.len()), format!("{expected} numbers")));
    }
    Ok(values)
}

fn normal(file: &File<'_>) -> Result<Normal, Error> {
    let (mean, sigma) = (file.f64("nijimi.normal.mean")?, file.f64("nijimi.normal.sigma")?);
    let key = if mean.is_finite() { "nijimi.normal.sigma" } else { "nijimi.normal.mean" };
    of(key, Normal::new(mean, sigma))
}

fn mvn(file: &File<'_>, dim: usize) -> Result<MultivariateNormal, Error> {
    let (mean, key) = (list(file, "nijimi.mvn.mean", dim)?, "nijimi.mvn.covariance");
    of(key, MultivariateNormal::new(mean, list(file, key, dim * dim)?))
}

fn mixture(file: &File<'_>, dim: usize) -> Result<Mixture, Error> {
    let (key, weights) = ("nijimi.mixture.covariances", file.f64s("nijimi.mixture.weights")?);
    let means = list(file, "nijimi.mixture.means", weights.len().saturating_mul(dim))?;
    let covariances = list(file, key, means.len().saturating_mul(dim))?;
    let mut components = Vec::with_capacity(weights.len());
    for (component, (mean, covariance)) in means.chunks_exact(dim).zip(covariances.chunks_exact(dim * dim)).enumerate()
    {
        let made = MultivariateNormal::new(mean.to_vec(), covariance.to_vec());
        components.push(made.map_err(|source| ModelError::Component { key, component, source })?);
    }
    of("nijimi.mixture.weights", Mixture::new(weights, components))
}

fn descent(file: &File<'_>, dim: usize) -> Result<Trace, Error> {
    let function = file.str("nijimi.descent.function")?.to_owned();
    Trace::new(function, file.f64("nijimi.descent.learning_rate")?, dim, file.f64s("nijimi.descent.trace")?)
}

fn regressor(file: &File<'_>, system: &str) -> Result<Regressor, Error> {
    let (key, activation) = ("nijimi.mlp.activation", file.str("nijimi.mlp.activation")?);
    if activation != ACTIVATION {
        let found = format!("{activation:?}");
        return Err(ModelError::Unsupported { key, found, expected: ACTIVATION }.into());
    }
    let widths: Vec<usize> = file.u32s("nijimi.mlp.widths")?.into_iter().map(|w| w as usize).collect();
    check_widths(&widths)?;
    if (system == "regression") != (widths.len() == 2) {
        let expected = "2 numbers for the system regression, more for mlp";
        return Err(wrong("nijimi.mlp.widths", format!("{widths:?} of the system {system}"), expected));
    }
    let mut layers = Vec::with_capacity(widths.len() - 1);
    for (i, shape) in widths.windows(2).enumerate() {
        let weight = tensor(file, &format!("layers.{i}.weight"), [shape[0] as u64, shape[1] as u64, 1, 1])?;
        layers.push((weight, tensor(file, &format!("layers.{i}.bias"), [shape[1] as u64, 1, 1, 1])?));
    }
    let known =
        |name: &str| (0..layers.len()).any(|i| ["weight", "bias"].iter().any(|w| name == format!("layers.{i}.{w}")));
    if let Some(extra) = file.tensors().find(|tensor| !known(tensor.name)) {
        return Err(ModelError::ExtraTensor { name: extra.name.to_owned(), found: extra.ne }.into());
    }
    let ranges = list(file, "nijimi.regression.inputs", 2 * widths[0])?;
    let ranges = ranges.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
    Regressor::new(widths, layers, file.f64("nijimi.regression.sigma")?, ranges)
}

fn tensor(file: &File<'_>, name: &str, expected: [u64; 4]) -> Result<Vec<f32>, Error> {
    let found = file.tensor(name).map_err(|_| ModelError::MissingTensor { name: name.to_owned(), expected })?;
    if found.ne != expected {
        return Err(ModelError::TensorShape { name: name.to_owned(), found: found.ne, expected }.into());
    }
    Ok(found.to_f32())
}
