//! Philox4x32-10: random numbers as a pure function of (key, counter), equal on every platform.
//!
//! Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). There is no hidden state, so
//! element `i` of a draw does not depend on how many elements are drawn, in which order, or on how many threads.
//!
//! [`TorchCpu`] and [`TorchCuda`] draw what PyTorch draws, for pictures that are to equal those of other programs.
//!
//! Two layouts of the 128-bit counter are in use, and they never meet:
//!
//! | use | word 0 | word 1 | word 2 | word 3 | key |
//! |---|---|---|---|---|---|
//! | noise of pictures, [`normal_fill`] | draw | 0 | element (low) | element (high) | seed |
//! | everything else, [`Stream`] | block | purpose, never 0 | step (low) | step (high) | seed |

pub mod mt19937;
mod torch_cpu;
mod torch_cuda;

pub use torch_cpu::TorchCpu;
pub use torch_cuda::TorchCuda;

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The block function: four words from a 128-bit counter and a 64-bit key (Salmon et al. 2011, section 3.3; 10 rounds).
#[inline]
#[must_use]
pub const fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    let mut round = 0;
    while round < 10 {
        let a = MULTIPLIER[0] as u64 * c[0] as u64;
        let b = MULTIPLIER[1] as u64 * c[2] as u64;
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        round += 1;
    }
    c
}

const fn split(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// 2^-32: a word to a uniform in [0, 1).
const TWO_POW_32_INV: f64 = 1.0 / 4_294_967_296.0;
/// 2^-32 * 2 pi: a word to an angle. Not rounded to f32, so that values known from CUDA come out to the last digit.
const TWO_POW_32_INV_2PI: f64 = TWO_POW_32_INV * core::f64::consts::TAU;

/// Box and Muller's sine branch, in f64 through `libm`, rounded to f32 once: the same bits on every platform.
/// Both uniforms are centred in their cell, so the logarithm never sees zero.
#[inline]
fn box_muller(g0: u32, g1: u32) -> f32 {
    let (radius, angle) = polar(g0, g1);
    (radius * libm::sin(angle)) as f32
}

/// Both branches, sine and cosine.
fn box_muller_pair(g0: u32, g1: u32) -> [f32; 2] {
    let (radius, angle) = polar(g0, g1);
    [(radius * libm::sin(angle)) as f32, (radius * libm::cos(angle)) as f32]
}

#[inline]
fn polar(g0: u32, g1: u32) -> (f64, f64) {
    let u = f64::from(g0) * TWO_POW_32_INV + TWO_POW_32_INV / 2.0;
    let v = f64::from(g1) * TWO_POW_32_INV_2PI + TWO_POW_32_INV_2PI / 2.0;
    (libm::sqrt(-2.0 * libm::log(u)), v)
}

/// Element `element` of standard normal draw number `draw` (0 is the initial noise) of `seed`.
///
/// These are the numbers that `torch.randn` draws on CUDA in its call number `draw` after `torch.manual_seed(seed)`,
/// and that AUTOMATIC1111's random source "NV" imitates. Not always the bits: torch computes in f32 with the card's
/// functions, NV with an angle constant rounded to f32 (which moves a value by up to about 3e-7); this is the formula
/// in f64, rounded once, the same on every platform. Eleven of torch's first twelve values for seed 0 come out to the
/// bit.
///
/// It holds **for f32 tensors of at most one element per thread of torch's launch** (256 threads for each block the
/// card runs at a time: 125,952 elements on an RTX 3090); in larger tensors the tail comes from other words and depends
/// on the card ([`TorchCuda`]). It is not what `torch.randn` draws on the CPU ([`TorchCpu`]) or for half-precision types.
#[inline]
#[must_use]
pub fn normal_at(seed: u64, draw: u32, element: u64) -> f32 {
    let [low, high] = split(element);
    let g = philox4x32_10([draw, 0, low, high], split(seed));
    box_muller(g[0], g[1])
}

/// Fills `out` with elements `0..out.len()` of standard normal draw number `draw` of `seed`; see [`normal_at`].
pub fn normal_fill(seed: u64, draw: u32, out: &mut [f32]) {
    for (element, value) in (0u64..).zip(out) {
        *value = normal_at(seed, draw, element);
    }
}

/// Fills `out` with draw number `draw` of each seed, `each` values a seed; what no seed is there for stays.
pub(crate) fn normal_fill_each(seeds: &[u64], draw: u32, each: usize, out: &mut [f32]) {
    out.chunks_exact_mut(each).zip(seeds).for_each(|(out, &seed)| normal_fill(seed, draw, out));
}

/// The random numbers of one purpose at one step: `(seed, purpose, step)` names the whole sequence.
///
/// A run that resumes at step 1000 therefore needs nothing but the number 1000. Sequences of different purposes or
/// steps do not overlap; each has 2^34 words before it repeats.
///
/// ```
/// use nijimi_runtime::raw::rng::Stream;
/// let mut a = Stream::new(7, "shuffle", 3);
/// let mut b = Stream::new(7, "shuffle", 3);
/// assert_eq!(a.next_u32(), b.next_u32());
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

/// FNV-1a of the name; 0 is kept for [`normal_fill`].
const fn purpose_word(purpose: &str) -> u32 {
    let (bytes, mut hash, mut i) = (purpose.as_bytes(), 0x811C_9DC5u32, 0);
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    if hash == 0 { 1 } else { hash }
}

impl Stream {
    /// The sequence of `purpose` (a short name such as `"shuffle"`, hashed to 32 bits) at `step`.
    #[must_use]
    pub const fn new(seed: u64, purpose: &str, step: u64) -> Self {
        let [low, high] = split(step);
        Self { key: split(seed), counter: [0, purpose_word(purpose), low, high], block: [0; 4], used: 4 }
    }

    /// 32 uniform bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox4x32_10(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        let word = self.block[self.used & 3];
        self.used += 1;
        word
    }

    /// 64 uniform bits, low word first.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        low | u64::from(self.next_u32()) << 32
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    #[inline]
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    #[inline]
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Standard normal, of two words, by the formula of [`normal_at`].
    #[inline]
    pub fn normal(&mut self) -> f32 {
        let g0 = self.next_u32();
        box_muller(g0, self.next_u32())
    }

    /// Standard normal in f64, of four words: Box and Muller (1958), the sine branch of two uniforms of 53 bits, through
    /// `libm`, so the same bits on every platform. At most 8.58 in magnitude.
    #[inline]
    pub fn normal_f64(&mut self) -> f64 {
        // In (0, 1], so that the logarithm never sees zero.
        let u = 1.0 - self.uniform_f64();
        let angle = core::f64::consts::TAU * self.uniform_f64();
        libm::sqrt(-2.0 * libm::log(u)) * libm::sin(angle)
    }

    /// Uniform in `0..n` without bias (Lemire 2019: multiply, and reject the short cell); 0 where `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        let reject_under = if n == 0 { 0 } else { n.wrapping_neg() % n };
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= reject_under {
                return (product >> 64) as u64;
            }
        }
    }

    /// Puts `items` into a uniformly random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests;
