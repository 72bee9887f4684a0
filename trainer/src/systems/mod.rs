//! One file a system.
pub mod ddpm;
pub mod judge;
pub mod mixture;
