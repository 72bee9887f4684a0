//! Reading training data.
pub mod captioned;
pub mod captions;
pub mod idx;
pub mod loader;
pub mod table;
pub mod table_error;
