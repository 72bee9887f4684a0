//! The device that tests run on.

use nijimi_runtime::gpu::{Choice, Gpu, GpuOptions};

/// The software adapter, or, with `NIJIMI_TEST_ADAPTER=any`, the best. `None`, said aloud, where there is none; with
/// `NIJIMI_REQUIRE_GPU=1` that is a failure.
pub fn device() -> Option<Gpu> {
    let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    let choice = if set("NIJIMI_TEST_ADAPTER", "any") { Choice::Any } else { Choice::Software };
    match Gpu::open(&GpuOptions { choice, ..Default::default() }) {
        Ok(gpu) => Some(gpu),
        Err(e) if set("NIJIMI_REQUIRE_GPU", "1") => panic!("{e}"),
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    }
}
