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
/// Whether those who read the caches of pipelines and of measured tiles take these bytes for one: for tests.
#[doc(hidden)]
pub fn is_cache(bytes: &[u8]) -> bool {
    let tiles = super::tune::read(&alloc::string::String::from_utf8_lossy(bytes));
    super::cache::checked(bytes).is_some() || !tiles.is_empty()
}

pub use check::{Case, Mismatch, Outcome};
pub use row::{KernelRow, Measured, ModelRow, Row};
pub use self_test::{SelfTestOptions, self_test};
pub use trial::{LEAST, psnr};
