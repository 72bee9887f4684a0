//! Single-threaded stand-in with the agreed signatures.

/// Runs tasks.
#[derive(Debug)]
pub struct Pool;

impl Pool {
    /// With this many threads; 0 for all.
    #[must_use]
    pub fn new(_threads: usize) -> Self {
        Self
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        1
    }

    /// Runs `f` for every chunk of `out`; the last may be shorter.
    pub fn for_chunks(&self, out: &mut [f32], chunk: usize, f: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        out.chunks_mut(chunk).enumerate().for_each(|(i, chunk)| f(i, chunk));
    }
}
