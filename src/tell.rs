//! What is told and not drawn: files, plans, devices, densities, the self-test.

pub mod density;
pub mod devices;
pub mod inspect;
pub mod plan;
pub mod self_test;
pub mod table;
