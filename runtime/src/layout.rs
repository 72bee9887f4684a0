//! Orders of the same numbers.

use alloc::vec;
use alloc::vec::Vec;

/// `(n, channels, points)`, as PyTorch has them, to `(n, points, channels)`, as the kernels do: pictures, whose points are
/// pixels, and convolutions, whose points are taps. Exchanging the two numbers is the way back.
#[must_use]
pub fn channels_last(values: &[f32], channels: usize, points: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    channels_last_into(values, channels, points, &mut out);
    out
}

/// [`channels_last`] into memory of the caller's, as long as `values`.
pub fn channels_last_into(values: &[f32], channels: usize, points: usize, out: &mut [f32]) {
    let one = (channels * points).max(1);
    for (out, values) in out.chunks_exact_mut(one).zip(values.chunks_exact(one)) {
        for (i, value) in out.iter_mut().enumerate() {
            *value = values[i % channels * points + i / channels];
        }
    }
}
