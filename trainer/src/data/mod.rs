//! Reading training data.
pub mod idx;
