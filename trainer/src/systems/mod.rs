//! One file a system.
pub mod book;
pub mod ddpm;
pub mod judge;
