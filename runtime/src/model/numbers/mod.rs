//! Systems of a few numbers (steps 1 to 6): normal, multivariate normal, mixture, descent, regression.
//!
//! ```
//! use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};
//! use nijimi_runtime::gguf::File;
//! use nijimi_runtime::model::{About, Law, Numbers};
//! # fn main() -> Result<(), nijimi_runtime::Error> {
//! let short = MultivariateNormal::new(vec![2.0, 54.5], vec![0.07, 0.44, 0.44, 33.7])?;
//! let long = MultivariateNormal::new(vec![4.3, 80.0], vec![0.17, 0.94, 0.94, 36.0])?;
//! let geyser = Law::Mixture(Mixture::new(vec![0.35, 0.65], vec![short, long])?);
//! let bytes = Numbers::new(geyser, About::columns(&["eruption", "waiting"]))?.to_file(&[])?;
//!
//! let numbers = Numbers::load(&File::new_checked(&bytes)?)?;
//! let mut row = [0.0; 2];
//! numbers.sample(7, 0, &mut row);
//! assert!(numbers.log_density(&row).is_some_and(f64::is_finite));
//! # Ok(())
//! # }
//! ```

mod file;
mod regressor;
mod trace;

#[cfg(test)]
mod tests;

pub use regressor::Regressor;
pub use trace::Trace;

use super::info::wrong;
use crate::Error;
use crate::dist::{Mixture, MultivariateNormal, Normal};
use crate::rng::Stream;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What rows of numbers follow.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Law {
    /// System `normal`: one number.
    Normal(Normal),
    /// System `mvn`.
    Mvn(MultivariateNormal),
    /// System `mixture`.
    Mixture(Mixture),
    /// System `descent`: rows that are already there.
    Descent(Trace),
    /// Systems `regression` and `mlp`: outputs given inputs.
    Regression(Regressor),
}

/// What a file says of itself to people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// `nijimi.columns`: what the numbers of a row are called.
    pub columns: Vec<String>,
}

impl About {
    /// Columns alone.
    #[must_use]
    pub fn columns(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&c| c.to_owned()).collect(), ..Self::default() }
    }
}

/// A system of a few numbers, from a file or for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    about: About,
    law: Law,
}

impl Numbers {
    /// Of a law and the names of its columns.
    ///
    /// # Errors
    /// As many names as the law has columns there are not.
    pub fn new(law: Law, about: About) -> Result<Self, Error> {
        let (found, expected) = (about.columns.len(), law.dim());
        if found != expected {
            return Err(wrong(
                "nijimi.columns",
                format!("{found} names"),
                format!("{expected}, one a number of a row"),
            ));
        }
        Ok(Self { about, law })
    }

    /// The law itself.
    #[must_use]
    pub fn law(&self) -> &Law {
        &self.law
    }

    /// `general.name`, or empty.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// `general.license`, or empty.
    #[must_use]
    pub fn license(&self) -> &str {
        &self.about.license
    }

    /// `nijimi.system`.
    #[must_use]
    pub fn system(&self) -> &'static str {
        self.law.system()
    }

    /// What the numbers of a row are called, `dim()` names.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.about.columns
    }

    /// Numbers of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.law.dim()
    }

    /// How many rows there are, where that is not for the caller to say.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        if let Law::Descent(trace) = &self.law { Some(trace.rows() as u64) } else { None }
    }

    /// Row `index` of the sample of `seed`, into `out`; false if there is no such row, which only a trace says. A row does
    /// not depend on how many are drawn, nor in which order.
    ///
    /// # Panics
    /// Where `out` is not of `dim()` numbers.
    pub fn sample(&self, seed: u64, index: u64, out: &mut [f64]) -> bool {
        assert_eq!(out.len(), self.dim(), "a row has as many numbers as there are columns");
        let mut stream = Stream::new(seed, "row", index);
        match &self.law {
            Law::Normal(normal) => out[0] = normal.sample(&mut stream),
            Law::Mvn(normal) => normal.sample(&mut stream, out),
            Law::Mixture(mixture) => _ = mixture.sample(&mut stream, out),
            Law::Regression(regressor) => regressor.sample(&mut stream, out),
            Law::Descent(trace) => match usize::try_from(index).ok().and_then(|index| trace.row(index)) {
                Some(row) => out.copy_from_slice(row),
                None => return false,
            },
        }
        true
    }

    /// Logarithm of the density at a row; for a regression, of the outputs given the inputs. None for a trace, which has
    /// no density.
    ///
    /// # Panics
    /// Where `x` is not of `dim()` numbers.
    #[must_use]
    pub fn log_density(&self, x: &[f64]) -> Option<f64> {
        assert_eq!(x.len(), self.dim(), "a row has as many numbers as there are columns");
        match &self.law {
            Law::Normal(normal) => Some(normal.log_pdf(x[0])),
            Law::Mvn(normal) => Some(normal.log_pdf(x)),
            Law::Mixture(mixture) => Some(mixture.log_pdf(x)),
            Law::Regression(regressor) => Some(regressor.log_density(x)),
            Law::Descent(_) => None,
        }
    }
}

impl Law {
    fn dim(&self) -> usize {
        match self {
            Self::Normal(_) => 1,
            Self::Mvn(normal) => normal.dim(),
            Self::Mixture(mixture) => mixture.dim(),
            Self::Descent(trace) => trace.columns(),
            Self::Regression(regressor) => regressor.inputs() + regressor.outputs(),
        }
    }

    fn system(&self) -> &'static str {
        match self {
            Self::Normal(_) => "normal",
            Self::Mvn(_) => "mvn",
            Self::Mixture(_) => "mixture",
            Self::Descent(_) => "descent",
            // The straight line is the network without a hidden layer.
            Self::Regression(regressor) if regressor.widths().len() == 2 => "regression",
            Self::Regression(_) => "mlp",
        }
    }
}
