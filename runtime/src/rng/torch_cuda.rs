//! What `torch.randn` draws on CUDA, for tensors of any size.

use super::{box_muller_pair, philox4x32_10, split};

/// Threads of a block in torch's launch.
const BLOCK: u64 = 256;

/// PyTorch's generator on CUDA: `torch.Generator("cuda").manual_seed(seed)`, tensors in f32.
///
/// Up to one element for each thread of torch's launch, element `i` of draw `d` is [`super::normal_at`]`(seed, d, i)`, on
/// every card. A larger tensor's tail takes further words of the same threads (ATen, `DistributionTemplates.h`,
/// `distribution_elementwise_grid_stride_kernel`), so it depends on how many threads the card runs at a time:
/// [`Self::with_threads`]. That part follows torch's source and has not been compared with a card.
#[derive(Clone, Debug)]
pub struct TorchCuda {
    seed: u64,
    /// Counter blocks that earlier draws used up, in every thread.
    offset: u64,
    threads: u64,
}

impl TorchCuda {
    /// Threads that an RTX 3090 runs in such a launch: 82 multiprocessors, 6 blocks each.
    pub const RTX_3090: u64 = 82 * 6 * BLOCK;

    /// As `manual_seed` leaves it, on a card as large as [`Self::RTX_3090`].
    pub fn new(seed: u64) -> Self {
        Self::with_threads(seed, Self::RTX_3090)
    }

    /// On a card that runs `threads` at a time: its multiprocessors, times the blocks of 256 threads that one holds, times
    /// 256. 0 counts as one block.
    pub fn with_threads(seed: u64, threads: u64) -> Self {
        Self { seed, offset: 0, threads: threads.max(BLOCK) }
    }

    /// Fills `out` as `torch.randn(out.len(), device="cuda")`.
    pub fn normal_fill(&mut self, out: &mut [f32]) {
        let n = out.len() as u64;
        if n == 0 {
            return;
        }
        let threads = self.threads.min(n.div_ceil(BLOCK) * BLOCK);
        for (element, value) in (0u64..).zip(out) {
            let (thread, turn) = (element % threads, element / threads);
            let ([a, b], [c, d]) = (split(self.offset + turn / 4), split(thread));
            let g = philox4x32_10([a, b, c, d], split(self.seed));
            let pair = if turn % 4 < 2 { box_muller_pair(g[0], g[1]) } else { box_muller_pair(g[2], g[3]) };
            *value = pair[(turn % 2) as usize];
        }
        self.offset += (n - 1) / (threads * 4) + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::normal_at;
    use super::*;
    use alloc::vec;

    /// SDXL's latents at 1024x1024, draw after draw. Seen red with the cosine first, and with an offset that stands still.
    #[test]
    fn what_fits_the_launch_is_the_same_on_every_card() {
        let (mut a, mut b) = (vec![0.0; 4 * 128 * 128], vec![0.0; 4 * 128 * 128]);
        let (mut small, mut large) = (TorchCuda::new(7), TorchCuda::with_threads(7, 1 << 20));
        for draw in 0..3 {
            small.normal_fill(&mut a);
            large.normal_fill(&mut b);
            assert_eq!(a, b);
            for element in [0, 1, 255, 65_535] {
                assert_eq!(a[element], normal_at(7, draw, element as u64));
            }
        }
    }

    /// The words of one thread in the order of torch's loop: sine and cosine of the first two, of the last two, then the
    /// next block. Seen red with the last two words left out, and with an offset of one block a draw.
    #[test]
    fn a_tail_comes_from_the_threads_other_words() {
        let mut cuda = TorchCuda::with_threads(3, 512);
        let mut x = vec![0.0; 512 * 9];
        cuda.normal_fill(&mut x);
        let words = |block, thread| philox4x32_10([block, 0, thread, 0], [3, 0]);
        for thread in [0u32, 17, 511] {
            let (w, next) = (words(0, thread), words(1, thread));
            let turn = |i: usize| x[i * 512 + thread as usize];
            assert_eq!([turn(0), turn(1)], box_muller_pair(w[0], w[1]));
            assert_eq!([turn(2), turn(3)], box_muller_pair(w[2], w[3]));
            assert_eq!([turn(4), turn(5)], box_muller_pair(next[0], next[1]));
        }
        // Three blocks are used up.
        let mut y = [0.0];
        cuda.normal_fill(&mut y);
        assert_eq!(y[0], normal_at(3, 3, 0));
    }
}
