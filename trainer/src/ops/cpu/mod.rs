//! Fused CPU forms. Work is split into a fixed number of parts whatever the number of threads, so that sums, and with
//! them a whole training run, come out the same bit for bit on one thread or many.
pub mod activate;
pub mod add;
pub mod add_channels;
pub mod attention;
pub mod avg_pool;
pub mod batch_norm;
pub mod bf16;
pub mod concat;
pub mod conv2d;
pub mod conv2d_stride2;
pub mod conv_transpose2d;
pub mod embedding;
pub(crate) mod exp;
pub mod group_norm;
pub mod layer_norm;
pub mod linear;
pub mod max_pool;
pub mod mse;
pub mod muon;
pub mod parallel;
pub(crate) mod product;
pub mod silu;
pub(crate) mod storage;
pub(crate) mod sum;
pub mod tokens;
pub(crate) mod update;
pub mod upsample;
pub mod upsample_nearest;
pub(crate) mod window;

/// Runs a loop compiled for the widest vectors of this CPU. The same bits as without: lanes are independent, and nothing is
/// contracted.
#[inline(always)]
pub(crate) fn wide<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Parts that a batch is split into where partial sums are combined.
pub(crate) const PARTS: usize = 8;

/// The ranges of `n` items in at most [`PARTS`] parts of nearly equal length.
pub(crate) fn parts(n: usize) -> Vec<std::ops::Range<usize>> {
    let p = PARTS.min(n).max(1);
    (0..p).map(|i| i * n / p..(i + 1) * n / p).collect()
}

/// The ranges of [`parts`] with the slice of `values` that each owns, `each` values an item.
pub(crate) fn split_parts(mut values: &mut [f32], n: usize, each: usize) -> Vec<(std::ops::Range<usize>, &mut [f32])> {
    let split = |range: std::ops::Range<usize>| {
        let (mine, rest) = std::mem::take(&mut values).split_at_mut(range.len() * each);
        values = rest;
        (range, mine)
    };
    parts(n).into_iter().map(split).collect()
}
