//! One file a system.
pub mod classic;
pub mod ddpm;
pub mod judge;
pub mod mixture;
pub mod mvn;
pub mod normal;
