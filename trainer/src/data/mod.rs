//! Reading training data.
pub mod idx;
pub mod loader;
