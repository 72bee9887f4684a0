//! Shared by the tests of the weight file.
#![allow(dead_code, missing_docs, reason = "each test binary uses its part")]

mod numbers;
pub mod seeds;
pub mod touch;

pub use numbers::Numbers;
