//! The CPU backend: one kernel a file, SIMD chosen at run time, the same bits on every instruction set.
//!
//! Activations are NHWC `f32`. A convolution and a linear layer are the same matrix product ([`matmul`]): every output
//! element is summed sequentially over (tap, input channel); [`attention`] is two such products for each block of keys,
//! a query in each lane; means and variances of [`group_norm`] and [`layer_norm`] are sums over parts that the shape alone
//! determines. So a result does not depend on the instruction set, the number of threads, or the batch it is computed in.
//!
//! A kernel allocates nothing: where it needs memory of its own, a function `…_scratch` says how much, and the
//! [`exec::Executor`] has it.

mod activate;
mod add;
mod attention;
mod avg_pool;
mod concat;
mod conv2d;
mod conv2d_in_place;
#[cfg(test)]
pub(crate) mod definition;
mod embedding;
mod epilogue;
pub mod exec;
pub mod footprint;
mod gated_add;
mod group_norm;
pub mod isa;
mod layer_norm;
mod linear;
mod log_softmax;
mod log_softmax_backward;
pub mod matmul;
mod max_pool;
mod max_pool_backward;
pub mod pool;
mod position_encoding;
#[cfg(feature = "std")]
pub mod rates;
mod relu_backward;
mod rms_norm;
mod rotary;
mod rows;
mod select_token;
mod shapes;
mod simd;
mod slice;
mod streamed;
#[cfg(target_arch = "x86_64")]
pub mod tiles;
mod to_u8;
mod token_embedding;
mod upsample;

use crate::graph::Activation;
pub use activate::activate;
pub use add::{add, add_channels, multiply};
pub use attention::{AttentionShape, attention, attention_scratch};
pub use avg_pool::avg_pool2;
pub use concat::concat;
pub use conv2d::{Conv2dShape, conv2d, conv2d_scratch};
pub use conv2d_in_place::{conv2d_in_place, conv2d_in_place_scratch};
pub use embedding::{Table, embedding_add};
pub use epilogue::Epilogue;
pub use gated_add::gated_add;
pub use group_norm::{group_norm, group_norm_scratch};
pub use isa::{Isa, IsaMissing};
pub use layer_norm::{ada_layer_norm, layer_norm};
pub use linear::{linear, linear_scratch};
pub use log_softmax::log_softmax;
pub use log_softmax_backward::log_softmax_backward;
pub use matmul::Matrix;
pub use max_pool::max_pool2;
pub use max_pool_backward::max_pool2_backward;
pub use pool::Pool;
pub use position_encoding::{position_encoding, position_encoding_at};
pub use relu_backward::relu_backward;
pub use rms_norm::{modulated_rms_norm, rms_norm};
pub use rotary::rotary;
pub use select_token::select_token;
pub use slice::slice;
pub use streamed::Lend;
pub use to_u8::{ToU8Error, to_u8};
pub use token_embedding::token_embedding;
pub use upsample::{upsample_bilinear2, upsample_nearest2};

/// What every kernel runs on: threads, and an instruction set this machine is known to have.
#[derive(Debug)]
pub struct Context {
    /// The threads.
    pub pool: Pool,
    // Private: kernels trust it when they call code compiled for it.
    isa: Isa,
}

impl Context {
    /// The best instruction set of this machine and `threads` threads (0: one for each core).
    pub fn new(threads: usize) -> Self {
        Self { pool: Pool::new(threads), isa: Isa::detect() }
    }

    /// As [`Context::new`], with a named instruction set: for tests and comparisons, since results do not depend on it.
    ///
    /// # Errors
    /// [`IsaMissing`] if this machine lacks `isa`.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Self, IsaMissing> {
        if !isa.is_available() {
            return Err(IsaMissing { isa, best: Isa::detect() });
        }
        Ok(Self { pool: Pool::new(threads), isa })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Context>();
        shared::<Matrix>();
    }

    /// The bits themselves, so that another machine or architecture is compared with this one. Seen red with the output of
    /// attention divided by its sum in place of multiplied by the inverse.
    #[test]
    fn the_bits_of_known_results() {
        let (ctx, c) = (Context::new(2), 24);
        let shape =
            AttentionShape { n: 1, queries: 130, keys: 130, c, heads: 3, kv_heads: 3, causal: true, scale: None };
        let picture = ImageShape { n: 1, h: 13, w: 10, c };
        let [x, scale, bias] = [130 * c, c, c].map(|len| rows::random(len, len as u64));
        let (mut y, affine) = (x.clone(), [&scale[..], &bias]);
        let mut scratch = alloc::vec![0; attention_scratch(&ctx, &shape).max(group_norm_scratch(picture, 4))];
        // FNV-1a over the words
        let hash = |y: &[f32]| y.iter().fold(2_166_136_261, |h: u32, v| (h ^ v.to_bits()).wrapping_mul(16_777_619));
        attention(&ctx, &shape, [&x, &x, &x], None, None, &mut scratch, &mut y);
        let mut sums = [hash(&y), 0, 0, 0, 0];
        group_norm(&ctx, picture, 4, 1e-5, affine, Activation::Silu, Some(&x), &mut scratch, &mut y);
        sums[1] = hash(&y);
        layer_norm(&ctx, c, 1e-5, affine, Some(&x), &mut y);
        sums[2] = hash(&y);
        for (sum, activation) in sums[3..].iter_mut().zip([Activation::Gelu, Activation::QuickGelu]) {
            y.copy_from_slice(&x);
            activate(&ctx, activation, &mut y);
            *sum = hash(&y);
        }
        assert_eq!(sums, [3482852800, 112308455, 4044860068, 1997929980, 2585365860]);
    }

    /// Seen red with `is_available` returning true for NEON.
    #[test]
    fn a_missing_instruction_set_is_refused() {
        let other = if cfg!(target_arch = "aarch64") { Isa::Avx2 } else { Isa::Neon };
        assert!(matches!(Context::with_isa(1, other), Err(IsaMissing { isa, .. }) if isa == other));
        for isa in Isa::available() {
            assert_eq!(Context::with_isa(1, isa).unwrap().isa(), isa);
        }
    }
}
