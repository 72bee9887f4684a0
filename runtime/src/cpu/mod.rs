//! The CPU backend: one kernel a file, activations NHWC in f32.
//!
//! Kernels trust the plan: it proves every length once, so a kernel only asserts them at its head.

mod add;
mod concat;
mod embedding;
mod max_pool;
mod pool;
mod position_encoding;
mod rows;
mod to_u8;
mod upsample;

pub use add::add_channels;
pub use concat::concat;
pub use embedding::embedding_add;
pub use max_pool::max_pool2;
pub use pool::Pool;
pub use position_encoding::{position_encoding, position_encoding_at};
pub use to_u8::{ToU8Error, to_u8};
pub use upsample::{upsample_bilinear2, upsample_nearest2};

/// What kernels run on.
#[derive(Debug)]
pub struct Context {
    /// The threads.
    pub pool: Pool,
}

impl Context {
    /// With this many threads; 0 for all.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { pool: Pool::new(threads) }
    }
}

/// Images in NHWC: `n` pictures of `h` rows, `w` columns, `c` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Pictures.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}
