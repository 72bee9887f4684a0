//! Langevin dynamics: a walk that follows the score, with noise, and forgets where it began.

use super::error::{ScoreError, finite, same_len};
use crate::diffusion::Level;
use alloc::vec;
use alloc::vec::Vec;
use nijimi_runtime::raw::rng::Stream;

/// The unadjusted Langevin algorithm on a batch (Song and Ermon 2019, eq. 4): `x + step_size / 2 * score +
/// sqrt(step_size) * noise`, again and again, ends in the density whose score it is, up to a bias that falls with
/// `step_size`: a normal's variance of v comes out as `v / (1 - step_size / (4 v))`. It needs `step_size` below 4 v,
/// for the smallest v.
///
/// Row i draws from a stream of its own, (seed, i), so it is the same in a batch of any size.
#[derive(Clone, Debug)]
pub struct Langevin {
    streams: Vec<Stream>,
    dim: usize,
    score: Vec<f64>,
}

impl Langevin {
    /// For `rows` rows of `dim` numbers.
    #[must_use]
    pub fn new(seed: u64, rows: usize, dim: usize) -> Self {
        let streams = (0..rows as u64).map(|row| Stream::new(seed, "langevin", row)).collect();
        Self { streams, dim, score: vec![0.0; rows * dim] }
    }

    /// Fills `x` with standard normals, where a walk may begin.
    ///
    /// # Errors
    /// An `x` of another length than rows * dim.
    pub fn start(&mut self, x: &mut [f64]) -> Result<(), ScoreError> {
        same_len("the batch", x.len(), self.score.len())?;
        // Without dimensions there is nothing to fill; a chunk has at least one number.
        for (row, stream) in x.chunks_exact_mut(self.dim.max(1)).zip(&mut self.streams) {
            row.iter_mut().for_each(|v| *v = stream.normal_f64());
        }
        Ok(())
    }

    /// One step of all rows; `score(x, out)` fills `out` with the scores of the batch `x`. Allocates nothing.
    ///
    /// # Errors
    /// A step size that is not above 0, an `x` of another length than rows * dim, a score that is not finite, and those
    /// of `score`; `x` is then untouched.
    pub fn step<E: From<ScoreError>>(
        &mut self,
        step_size: f64,
        x: &mut [f64],
        score: impl FnOnce(&[f64], &mut [f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !(step_size > 0.0 && step_size.is_finite()) {
            return Err(ScoreError::StepSize(step_size).into());
        }
        same_len("the batch", x.len(), self.score.len())?;
        score(x, &mut self.score)?;
        finite(&self.score)?;
        let spread = libm::sqrt(step_size);
        let rows = x.chunks_exact_mut(self.dim.max(1)).zip(self.score.chunks_exact(self.dim.max(1)));
        for ((x, score), stream) in rows.zip(&mut self.streams) {
            for (x, score) in x.iter_mut().zip(score) {
                *x += 0.5 * step_size * score + spread * stream.normal_f64();
            }
        }
        Ok(())
    }
}

/// Annealed Langevin dynamics (Song and Ermon 2019, Algorithm 1): `steps` steps at each of `levels`, the noisiest
/// first, each of size `step_size * (1 - alpha_bar)`, so that signal and noise of a step keep their ratio. Far modes,
/// between which a walk at the data's own level would never cross, get their share while they still overlap.
///
/// # Errors
/// As [`Langevin::step`].
pub fn annealed<E: From<ScoreError>>(
    langevin: &mut Langevin,
    levels: &[Level],
    steps: usize,
    step_size: f64,
    x: &mut [f64],
    mut score: impl FnMut(&Level, &[f64], &mut [f64]) -> Result<(), E>,
) -> Result<(), E> {
    for level in levels {
        for _ in 0..steps {
            langevin.step(step_size * level.marginal().variance, x, |x, out| score(level, x, out))?;
        }
    }
    Ok(())
}
