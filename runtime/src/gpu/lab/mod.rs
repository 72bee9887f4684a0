//! The laboratory: what a device does, held against the CPU and timed. The tests, `nijimi self-test`, the choice of tiles
//! and the proof of cooperative matrices are made of it. Not in a browser, where nothing may wait.

mod cases;
mod check;
mod measure;
mod proof;
mod row;
mod self_test;
#[cfg(test)]
pub(crate) mod tests;
mod trial;

use super::{Class, ExecOptions, Executor, Gpu, GpuError, Storage, Weights};
pub use check::{Case, Mismatch, Outcome};
pub use row::{KernelRow, Measured, ModelRow, Row};
pub use self_test::{SelfTestOptions, self_test};
