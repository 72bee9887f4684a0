//! Noise schedules of diffusion models in f64, and the choice of timesteps for fewer steps than trained.
//!
//! Levels are 1-based as in Ho et al. 2020: level 0 is the clean picture, level `T` the noisiest; `beta(t)` leads from
//! level `t - 1` to level `t`, and `alpha_bar(0) = 1`. A *timestep* is the 0-based index of the same thing,
//! `level - 1`, as `diffusers` counts. What number the network is told is the model's business
//! (`nijimi.first_timestep`).

use alloc::vec::Vec;
use core::f64::consts::FRAC_PI_2;

/// Why a schedule cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// No levels at all.
    #[error("the schedule has no steps: give at least 1")]
    NoSteps,
    /// A beta outside (0, 1], or not a number.
    #[error("beta of level {level} is {beta}: it must be above 0 and at most 1")]
    Beta {
        /// The 1-based level.
        level: usize,
        /// The value found.
        beta: f64,
    },
    /// More sampling steps than levels, or none.
    #[error("{steps} sampling steps asked of a model trained with {levels} levels: give 1 to {levels}")]
    Steps {
        /// Sampling steps asked for.
        steps: usize,
        /// Levels the model was trained with.
        levels: usize,
    },
    /// The offset leads past the last level.
    #[error("timestep {timestep} (steps_offset {offset} included) is not below {levels}: lower steps_offset or steps")]
    Offset {
        /// The timestep that came out.
        timestep: usize,
        /// The offset asked for.
        offset: usize,
        /// Levels the model was trained with.
        levels: usize,
    },
    /// A zero-terminal-SNR rescale of a schedule of one level, or whose ends coincide.
    #[error("a schedule of {levels} level(s) cannot be rescaled to zero terminal SNR: it needs 2 or more")]
    Rescale {
        /// Levels of the schedule.
        levels: usize,
    },
}

/// Betas and their cumulative products, f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    betas: Vec<f64>,
    /// `alpha_bars[t]` of level t; one longer than `betas`.
    alpha_bars: Vec<f64>,
}

/// `n` values from `a` to `b`, both included; `a` alone for `n` = 1.
fn linspace(a: f64, b: f64, n: usize) -> impl Iterator<Item = f64> {
    let last = n.saturating_sub(1);
    let step = (b - a) / last.max(1) as f64;
    (0..n).map(move |i| if i > 0 && i == last { b } else { a + i as f64 * step })
}

impl Schedule {
    /// From `betas[t - 1]` of levels t = 1..=T.
    ///
    /// # Errors
    /// No betas, or one that is not in (0, 1].
    pub fn from_betas(betas: Vec<f64>) -> Result<Self, ScheduleError> {
        if betas.is_empty() {
            return Err(ScheduleError::NoSteps);
        }
        if let Some(i) = betas.iter().position(|&b| !(b > 0.0 && b <= 1.0)) {
            return Err(ScheduleError::Beta { level: i + 1, beta: betas[i] });
        }
        let products = betas.iter().scan(1.0, |product, beta| {
            *product *= 1.0 - beta;
            Some(*product)
        });
        let alpha_bars = core::iter::once(1.0).chain(products).collect();
        Ok(Self { betas, alpha_bars })
    }

    /// Betas evenly spaced, both ends included (Ho et al. 2020: 1e-4, 0.02, 1000).
    ///
    /// # Errors
    /// As [`from_betas`](Self::from_betas).
    pub fn linear(beta_start: f64, beta_end: f64, steps: usize) -> Result<Self, ScheduleError> {
        Self::from_betas(linspace(beta_start, beta_end, steps).collect())
    }

    /// Square roots of the betas evenly spaced (latent diffusion: 0.00085, 0.012, 1000).
    ///
    /// # Errors
    /// As [`from_betas`](Self::from_betas).
    pub fn scaled_linear(beta_start: f64, beta_end: f64, steps: usize) -> Result<Self, ScheduleError> {
        let roots = linspace(libm::sqrt(beta_start), libm::sqrt(beta_end), steps);
        Self::from_betas(roots.map(|root| root * root).collect())
    }

    /// Squared cosine, betas at most 0.999 (Nichol and Dhariwal 2021, eq. 17; `squaredcos_cap_v2`).
    ///
    /// # Errors
    /// No steps.
    pub fn cosine(steps: usize) -> Result<Self, ScheduleError> {
        let alpha_bar = |i: usize| {
            let c = libm::cos((i as f64 / steps as f64 + 0.008) / 1.008 * FRAC_PI_2);
            c * c
        };
        Self::from_betas((0..steps).map(|i| f64::min(1.0 - alpha_bar(i + 1) / alpha_bar(i), 0.999)).collect())
    }

    /// The same schedule with `sqrt(alpha_bar)` shifted and scaled so that the last level is pure noise and the first
    /// keeps its value (Lin et al. 2023, Algorithm 1).
    ///
    /// # Errors
    /// Fewer than 2 levels.
    pub fn zero_terminal_snr(&self) -> Result<Self, ScheduleError> {
        let levels = self.steps();
        let (first, last) = (libm::sqrt(self.alpha_bars[1]), libm::sqrt(self.alpha_bars[levels]));
        if levels < 2 || first <= last {
            return Err(ScheduleError::Rescale { levels });
        }
        let rescaled = self.alpha_bars[1..].iter().map(|ab| {
            let root = (libm::sqrt(*ab) - last) * (first / (first - last));
            root * root
        });
        let alpha_bars: Vec<f64> = core::iter::once(1.0).chain(rescaled).collect();
        let betas = alpha_bars.windows(2).map(|pair| 1.0 - pair[1] / pair[0]).collect();
        Ok(Self { betas, alpha_bars })
    }

    /// T, the number of levels.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.betas.len()
    }

    /// All betas; level t is at index t - 1.
    #[must_use]
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// All `alpha_bar`s of levels 0..=T; level t is at index t.
    #[must_use]
    pub fn alpha_bars(&self) -> &[f64] {
        &self.alpha_bars
    }

    /// Variance added from level t - 1 to level t.
    ///
    /// # Panics
    /// Where t is not in 1..=T, as indexing does.
    #[must_use]
    pub fn beta(&self, t: usize) -> f64 {
        self.betas[t - 1]
    }

    /// Share of the clean picture's variance left at level t; 1 at t = 0.
    ///
    /// # Panics
    /// Where t is above T, as indexing does.
    #[must_use]
    pub fn alpha_bar(&self, t: usize) -> f64 {
        self.alpha_bars[t]
    }

    /// `(sqrt(alpha_bar), sqrt(1 - alpha_bar))`: x_t = first * x_0 + second * noise (Ho et al. 2020, eq. 4).
    ///
    /// # Panics
    /// Where t is above T, as indexing does.
    #[must_use]
    pub fn forward(&self, t: usize) -> (f64, f64) {
        let alpha_bar = self.alpha_bars[t];
        (libm::sqrt(alpha_bar), libm::sqrt(1.0 - alpha_bar))
    }

    /// Signal-to-noise ratio `alpha_bar / (1 - alpha_bar)`; infinite at t = 0.
    ///
    /// # Panics
    /// Where t is above T, as indexing does.
    #[must_use]
    pub fn snr(&self, t: usize) -> f64 {
        self.alpha_bars[t] / (1.0 - self.alpha_bars[t])
    }

    /// Variance of x_{t-1} given x_t and x_0 (Ho et al. 2020, eq. 7); 0 at t = 1, since `alpha_bar(0)` is 1.
    ///
    /// # Panics
    /// Where t is not in 1..=T, as indexing does.
    #[must_use]
    pub fn posterior_variance(&self, t: usize) -> f64 {
        (1.0 - self.alpha_bars[t - 1]) / (1.0 - self.alpha_bars[t]) * self.betas[t - 1]
    }

    /// Square root of [`posterior_variance`](Self::posterior_variance).
    ///
    /// # Panics
    /// Where t is not in 1..=T, as indexing does.
    #[must_use]
    pub fn posterior_std(&self, t: usize) -> f64 {
        libm::sqrt(self.posterior_variance(t))
    }
}

/// Which of the trained levels are visited when sampling takes fewer steps (Lin et al. 2023, table 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spacing {
    /// Multiples of floor(T / steps), from 0, plus `steps_offset`.
    #[default]
    Leading,
    /// From T - 1 down by T / steps, rounded.
    Trailing,
    /// Evenly from 0 to T - 1, both included, rounded.
    Linspace,
}

impl Spacing {
    /// By the name `diffusers` gives it: "leading", "trailing", "linspace".
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "leading" => Some(Self::Leading),
            "trailing" => Some(Self::Trailing),
            "linspace" => Some(Self::Linspace),
            _ => None,
        }
    }

    /// The `steps` timesteps (0-based, noisiest first) of a model with `levels` levels, as `diffusers` computes them:
    /// halves round to even, and `steps_offset` counts for [`Spacing::Leading`] only.
    ///
    /// # Errors
    /// `steps` not in 1..=levels, or an offset that leads past the last level.
    pub fn timesteps(self, levels: usize, steps: usize, steps_offset: usize) -> Result<Vec<usize>, ScheduleError> {
        if steps == 0 || steps > levels {
            return Err(ScheduleError::Steps { steps, levels });
        }
        let end = levels as f64;
        // numpy's arange steps by the rounded difference of its first two values: halves fall as they do there.
        let down = (end - end / steps as f64) - end;
        let (index, gap) = (|i: usize| (steps - 1 - i) as f64, (end - 1.0) / (steps.max(2) - 1) as f64);
        let timesteps: Vec<usize> = match self {
            Self::Leading => (0..steps).rev().map(|i| i * (levels / steps) + steps_offset).collect(),
            Self::Trailing => (0..steps).map(|i| libm::rint(end + i as f64 * down) as usize - 1).collect(),
            Self::Linspace => (0..steps).map(|i| libm::rint(index(i) * gap) as usize).collect(),
        };
        match timesteps.first() {
            Some(&t) if t >= levels => Err(ScheduleError::Offset { timestep: t, offset: steps_offset, levels }),
            _ => Ok(timesteps),
        }
    }
}

#[cfg(test)]
mod tests;
