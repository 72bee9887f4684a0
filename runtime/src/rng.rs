//! Philox4x32-10, keyed streams. (Interim: the full room replaces this file.)
/// One block of Philox4x32-10. Salmon et al. 2011.
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (a, b) = (u64::from(c[0]) * 0xD251_1F53, u64::from(c[2]) * 0xCD9E_8D57);
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// Random numbers keyed by (seed, purpose, step).
pub struct Stream {
    key: [u32; 2],
    purpose: u32,
    step: u64,
    block: u32,
    left: usize,
    words: [u32; 4],
    spare: Option<f32>,
}

impl Stream {
    /// A stream at its beginning.
    pub fn new(seed: u64, purpose: &str, step: u64) -> Self {
        let purpose = purpose.bytes().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        Self { key: [seed as u32, (seed >> 32) as u32], purpose, step, block: 0, left: 0, words: [0; 4], spare: None }
    }
    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.left == 0 {
            self.words = philox([self.block, self.purpose, self.step as u32, (self.step >> 32) as u32], self.key);
            self.block += 1;
            self.left = 4;
        }
        self.left -= 1;
        self.words[3 - self.left]
    }
    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / 16_777_216.0
    }
    /// Standard normal.
    pub fn normal(&mut self) -> f32 {
        if let Some(z) = self.spare.take() {
            return z;
        }
        let u = (f64::from(self.next_u32()) + 0.5) / 4_294_967_296.0;
        let v = (f64::from(self.next_u32()) + 0.5) / 4_294_967_296.0 * core::f64::consts::TAU;
        let r = libm::sqrt(-2.0 * libm::log(u));
        self.spare = Some((r * libm::cos(v)) as f32);
        (r * libm::sin(v)) as f32
    }
    /// Uniform in 0..n, without bias.
    pub fn below(&mut self, n: u32) -> u32 {
        let threshold = n.wrapping_neg() % n;
        loop {
            let m = u64::from(self.next_u32()) * u64::from(n);
            if m as u32 >= threshold {
                return (m >> 32) as u32;
            }
        }
    }
    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}
