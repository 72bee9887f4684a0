//! Probability distributions in f64: densities, quantiles, sampling. `no_std`, and the same bits on every platform.
//!
//! Vectors are slices of `dim()` numbers, matrices are row-major. What a constructor accepts cannot fail later: each checks
//! its numbers once and says in a [`DistError`] what is wrong with them. Draws come from an [`rng::Stream`](crate::rng).

pub mod discrete;
mod error;
mod irwin_hall;
mod mixture;
mod multivariate;
mod normal;
pub mod quadrature;

pub use error::DistError;
pub use irwin_hall::IrwinHall;
pub use mixture::Mixture;
pub use multivariate::MultivariateNormal;
pub use normal::Normal;

/// ln(2 pi).
const LN_2_PI: f64 = 1.837_877_066_409_345_3;

fn finite(what: &'static str, values: &[f64]) -> Result<(), DistError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(DistError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
