//! Rows of an output, shared out over the pool in tasks large enough to be worth one.

use super::Context;

/// Values that a task writes at least, where there are as many: some microseconds of copying.
const TASK: usize = 8192;

/// Calls `f(row, values)` for every row of `row_len` values of `y`, in parallel.
pub(super) fn for_rows(ctx: &Context, y: &mut [f32], row_len: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if y.is_empty() || row_len == 0 {
        return;
    }
    let rows = TASK.div_ceil(row_len);
    ctx.pool.for_chunks(y, rows * row_len, &|task, chunk| {
        chunk.chunks_exact_mut(row_len).enumerate().for_each(|(i, row)| f(task * rows + i, row));
    });
}

/// `y += v` for every group of `v.len()` values, where there is a `v`.
#[inline]
pub(super) fn add_to_each(y: &mut [f32], v: Option<&[f32]>) {
    let Some(v) = v.filter(|v| !v.is_empty()) else { return };
    for pixel in y.chunks_exact_mut(v.len()) {
        pixel.iter_mut().zip(v).for_each(|(y, v)| *y += v);
    }
}

/// Reproducible values in [-1, 1) for tests.
#[cfg(test)]
pub(super) fn random(len: usize, step: u64) -> alloc::vec::Vec<f32> {
    let mut stream = crate::rng::Stream::new(1, "kernel test", step);
    (0..len).map(|_| stream.uniform() * 2.0 - 1.0).collect()
}
