//! The probability-flow ODE: a deterministic path from noise to data with the diffusion's own densities on the way.

use super::error::{ScoreError, finite, same_len};
use crate::diffusion::Level;
use alloc::vec;
use alloc::vec::Vec;
use nijimi_runtime::schedule::{Schedule, Spacing};

/// How a step of the ODE is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Solver {
    /// Along the slope at the step's beginning: DDIM with eta 0 (Song, Meng, Ermon 2021, eq. 13). First order, one
    /// score a step.
    Euler,
    /// Along the mean of the slopes at both ends (Karras et al. 2022, Algorithm 1). Second order, two scores a step.
    #[default]
    Heun,
}

/// The flow between levels of a variance-preserving chain (Song et al. 2021, eq. 13, in the variables of Song, Meng,
/// Ermon 2021, eq. 14): for `y = x / sqrt(alpha_bar)` and `sigma = sqrt((1 - alpha_bar) / alpha_bar)`, `dy / dsigma =
/// epsilon`, which is `-sqrt(1 - alpha_bar) * score`.
///
/// Falling levels sample; rising levels encode, and undo that up to the solver's error.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    points: Vec<Point>,
    solver: Solver,
}

/// A level, where it is not the data.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    level: Option<Level>,
    signal: f64,
    sigma: f64,
}

impl Flow {
    /// Through `levels` (0 is the data), in this order.
    ///
    /// # Errors
    /// Fewer than 2 levels, or not strictly falling or rising; a level above T, or of pure noise.
    pub fn new(schedule: &Schedule, levels: &[usize], solver: Solver) -> Result<Self, ScoreError> {
        let &[first, second, ..] = levels else {
            let only = levels.first().copied().unwrap_or(0);
            return Err(ScoreError::Levels { t: only, next: only });
        };
        let turns = |pair: &&[usize]| pair[0] == pair[1] || (pair[0] > pair[1]) != (first > second);
        if let Some(pair) = levels.windows(2).find(turns) {
            return Err(ScoreError::Levels { t: pair[0], next: pair[1] });
        }
        let points = levels.iter().map(|&t| point(schedule, t)).collect::<Result<_, _>>()?;
        Ok(Self { points, solver })
    }

    /// From noise to the data in `steps` steps, through the levels that a sampler would visit, and level 0.
    ///
    /// # Errors
    /// Steps not in 1..=T; as [`new`](Self::new).
    pub fn spaced(schedule: &Schedule, spacing: Spacing, steps: usize, solver: Solver) -> Result<Self, ScoreError> {
        let timesteps = spacing.timesteps(schedule.steps(), steps, 0)?;
        let levels: Vec<usize> = timesteps.iter().map(|t| t + 1).chain(core::iter::once(0)).collect();
        Self::new(schedule, &levels, solver)
    }

    /// The steps, in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Step> {
        self.points.windows(2).map(|pair| Step { from: pair[0], to: pair[1], solver: self.solver })
    }

    /// What a step of a batch of `len` numbers works in.
    #[must_use]
    pub fn scratch(&self, len: usize) -> Scratch {
        Scratch { slope: vec![0.0; len], next: vec![0.0; len], slope_there: vec![0.0; len] }
    }
}

fn point(schedule: &Schedule, t: usize) -> Result<Point, ScoreError> {
    if t == 0 {
        return Ok(Point { level: None, signal: 1.0, sigma: 0.0 });
    }
    let level = Level::new(schedule, t)?;
    let (signal, noise) = (libm::sqrt(level.alpha_bar()), libm::sqrt(1.0 - level.alpha_bar()));
    let sigma = noise / signal;
    if sigma.is_finite() { Ok(Point { level: Some(level), signal, sigma }) } else { Err(ScoreError::NoSignal { t }) }
}

/// Memory of a [`Step`], of the batch's length, three times.
#[derive(Clone, Debug)]
pub struct Scratch {
    slope: Vec<f64>,
    next: Vec<f64>,
    slope_there: Vec<f64>,
}

/// One step of a [`Flow`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    from: Point,
    to: Point,
    solver: Solver,
}

impl Step {
    /// Takes the batch `x` one step on; `score(level, x, out)` fills `out` with the scores of the batch there. A step
    /// to the data is Euler's always, as in Karras et al. 2022: the data has no noise level, and perhaps no density.
    /// Allocates nothing.
    ///
    /// # Errors
    /// A scratch of another length than `x`, a score that is not finite, and those of `score`; `x` is then untouched.
    pub fn advance<E: From<ScoreError>>(
        &self,
        x: &mut [f64],
        scratch: &mut Scratch,
        mut score: impl FnMut(&Level, &[f64], &mut [f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Scratch { slope, next, slope_there } = scratch;
        same_len("the scratch", slope.len(), x.len())?;
        let mut epsilon = |point: &Point, x: &[f64], out: &mut [f64]| {
            match &point.level {
                // No noise is expected in the data.
                None => out.fill(0.0),
                Some(level) => {
                    score(level, x, out)?;
                    finite(out)?;
                    let noise = point.sigma * point.signal;
                    out.iter_mut().for_each(|v| *v *= -noise);
                }
            }
            Ok::<(), E>(())
        };
        let (from, to) = (&self.from, &self.to);
        let (scale, stride) = (to.signal / from.signal, to.signal * (to.sigma - from.sigma));
        epsilon(from, x, slope)?;
        next.iter_mut().zip(x.iter().zip(&*slope)).for_each(|(next, (x, e))| *next = scale * x + stride * e);
        if self.solver == Solver::Heun && to.level.is_some() {
            epsilon(to, next, slope_there)?;
            for ((next, x), (e, there)) in next.iter_mut().zip(&*x).zip(slope.iter().zip(&*slope_there)) {
                *next = scale * x + stride * 0.5 * (e + there);
            }
        }
        x.copy_from_slice(next);
        Ok(())
    }
}
