//! One file a system.
pub mod ddpm;
