//! Means and sums of uniform numbers: the central limit theorem at work (book step 1.3, 1.4).
use nijimi_runtime::raw::rng::Stream;

/// `count` sums of `n` uniforms on [0, 1), reproducible from `seed`; their law is Irwin-Hall(n).
#[must_use]
pub fn uniform_sums(n: usize, count: usize, seed: u64) -> Vec<f64> {
    let mut draw = Stream::new(seed, "uniform sums", n as u64);
    (0..count).map(|_| (0..n).map(|_| draw.uniform_f64()).sum()).collect()
}

/// `count` means of `n` uniforms on [0, 1): mean 1/2, variance 1 / (12 n).
///
/// # Panics
/// If `n` is 0.
#[must_use]
pub fn uniform_means(n: usize, count: usize, seed: u64) -> Vec<f64> {
    assert!(n > 0, "a mean of at least one number");
    uniform_sums(n, count, seed).into_iter().map(|s| s / n as f64).collect()
}
