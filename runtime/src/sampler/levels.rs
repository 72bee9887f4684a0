//! The noise levels that a run goes through.

use super::call::{Call, Mix};
use super::ladder::{Ladder, Trained};
use super::settings::{Sigmas, SolverSettings};
use super::{Edm, SamplerError};
use crate::schedule::Schedule;
use alloc::vec::Vec;

/// A noise level: the sample is `alpha * picture + sigma * noise`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) t: f64,
    pub(super) alpha: f64,
    pub(super) sigma: f64,
    input_scale: f64,
}

impl Point {
    /// In sigma space, where the picture keeps its size and the network's input is scaled (Karras et al. 2022).
    pub(super) fn exploding(t: f64, sigma: f64) -> Self {
        Self { t, alpha: 1.0, sigma, input_scale: 1.0 / libm::sqrt(sigma * sigma + 1.0) }
    }

    /// Where the sample keeps its variance; `ratio` is noise over picture.
    pub(super) fn preserving(t: f64, ratio: f64) -> Self {
        let alpha = 1.0 / libm::sqrt(ratio * ratio + 1.0);
        Self { t, alpha, sigma: ratio * alpha, input_scale: 1.0 }
    }

    /// A trained level, by its 0-based timestep.
    pub(super) fn trained(schedule: &Schedule, t: usize) -> Self {
        let (alpha, sigma) = schedule.forward(t + 1);
        Self::given(t as f64, alpha, sigma)
    }

    /// With both shares given, so that pure noise has its place.
    pub(super) fn given(t: f64, alpha: f64, sigma: f64) -> Self {
        Self { t, alpha, sigma, input_scale: 1.0 }
    }

    /// On the straight line from picture to noise.
    pub(super) fn straight(t: f64, sigma: f64) -> Self {
        Self { t, alpha: 1.0 - sigma, sigma, input_scale: 1.0 }
    }

    /// In sigma space, of a network that is told a number of its own of the noise, and given its input times `input_scale`.
    pub(super) fn edm(t: f64, sigma: f64, input_scale: f64) -> Self {
        Self { t, alpha: 1.0, sigma, input_scale }
    }

    /// Half the logarithm of the signal-to-noise ratio.
    pub(super) fn lambda(&self) -> f64 {
        libm::log(self.alpha) - libm::log(self.sigma)
    }

    /// A call at this level whose step does nothing yet.
    pub(super) fn call(&self, step: usize, s: &SolverSettings) -> Call {
        let (x0_from_x, x0_from_out) = s.x0(self.alpha, self.sigma);
        let [low, high] = s.clip.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        Call {
            step,
            t: self.t as f32,
            alpha: self.alpha as f32,
            sigma: self.sigma as f32,
            input_scale: self.input_scale as f32,
            x0_from_x: x0_from_x as f32,
            x0_from_out: x0_from_out as f32,
            low,
            high,
            store: None,
            correct: None,
            keep: false,
            next: Mix::of(1.0, 0.0),
            noise: 0.0,
        }
    }

    /// Weights of sample, estimate and output in the noise (x - alpha x_0) / sigma.
    pub(super) fn epsilon(&self) -> [f32; 3] {
        [(1.0 / self.sigma) as f32, (-self.alpha / self.sigma) as f32, 0.0]
    }
}

/// The levels of a run in the space of its solver.
pub(super) struct Levels<'a> {
    pub(super) points: Vec<Point>,
    pub(super) trained: &'a Trained,
}

impl<'a> Levels<'a> {
    pub(super) fn new(trained: &'a Trained, ladder: Ladder, point: impl Fn(f64, f64) -> Point) -> Self {
        let timesteps = ladder.timesteps.iter().copied().chain(core::iter::once(0.0));
        Self { points: timesteps.zip(ladder.sigmas).map(|(t, sigma)| point(t, sigma)).collect(), trained }
    }

    pub(super) fn preserving(
        schedule: &Schedule,
        trained: &'a Trained,
        s: &SolverSettings,
    ) -> Result<Self, SamplerError> {
        if let Some(edm) = &s.edm {
            return Self::edm(schedule, trained, s, edm);
        }
        let ladder = Ladder::of_levels(schedule, trained, s)?;
        let straight = matches!(s.sigmas, Sigmas::Flow { .. });
        Ok(Self::new(trained, ladder, if straight { Point::straight } else { Point::preserving }))
    }

    /// Of EDM, whose samples are the picture with noise upon it, whatever the solver.
    pub(super) fn edm(
        schedule: &Schedule,
        trained: &'a Trained,
        s: &SolverSettings,
        edm: &Edm,
    ) -> Result<Self, SamplerError> {
        let ladder = Ladder::of_edm(schedule, s, edm)?;
        Ok(Self::new(trained, ladder, |_, sigma| edm.point(sigma)))
    }

    /// How many steps lead through them.
    pub(super) fn steps(&self) -> usize {
        self.points.len() - 1
    }
}
