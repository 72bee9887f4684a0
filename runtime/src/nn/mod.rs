//! Builders: from a configuration to a [`crate::graph::Graph`], with the names that the trainer writes.

pub mod book_unet;

pub use book_unet::{BookUnet, NetworkError};
