//! What can go wrong, and the checks that find it.
use crate::diffusion::DiffusionError;
use nijimi_runtime::raw::dist::DistError;
use nijimi_runtime::schedule::ScheduleError;

/// Why there is no score, or no sampling by it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum ScoreError {
    /// A level or target that the chain has not.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// The mixture cannot be noised.
    #[error(transparent)]
    Dist(#[from] DistError),
    /// The levels do not fit the schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The data itself, or what is no share at all.
    #[error(
        "alpha_bar is {0}: epsilon and the score are two names of one thing only where there is noise; it must be at \
         least 0 and below 1"
    )]
    NoNoise(f64),
    /// Slices of different lengths.
    #[error("{what}: {found} numbers where {expected} are needed")]
    Length { what: &'static str, found: usize, expected: usize },
    /// Levels that do not all rise or all fall.
    #[error(
        "level {next} after level {t}: a flow's levels all fall (to sample) or all rise (to encode); give 2 or more"
    )]
    Levels { t: usize, next: usize },
    /// The flow begins or ends at pure noise.
    #[error(
        "level {t} is pure noise (alpha_bar 0): x / sqrt(alpha_bar) does not exist there; begin at a level before it, \
         or use a schedule without zero terminal SNR"
    )]
    NoSignal { t: usize },
    /// A step of Langevin dynamics that goes nowhere.
    #[error("Langevin's step size is {0}: it must be finite and above 0, and small beside the smallest variance")]
    StepSize(f64),
    /// A score that is NaN or infinite.
    #[error(
        "number {index} (from 0) of the score is {value}: x has run away, or the score is not defined there; take \
         smaller steps, or look into the score function"
    )]
    NotFinite { index: usize, value: f64 },
    /// A class that the mixture has not.
    #[error("class {class} (from 0) of a mixture of {classes}")]
    Class { class: usize, classes: usize },
}

pub(super) fn same_len(what: &'static str, found: usize, expected: usize) -> Result<(), ScoreError> {
    if found == expected { Ok(()) } else { Err(ScoreError::Length { what, found, expected }) }
}

pub(super) fn finite(score: &[f64]) -> Result<(), ScoreError> {
    match score.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(ScoreError::NotFinite { index, value: score[index] }),
        None => Ok(()),
    }
}

/// `sqrt(1 - alpha_bar)`, the standard deviation of the noise, where there is any.
pub(super) fn noise(alpha_bar: f64) -> Result<f64, ScoreError> {
    if (0.0..1.0).contains(&alpha_bar) { Ok(libm::sqrt(1.0 - alpha_bar)) } else { Err(ScoreError::NoNoise(alpha_bar)) }
}
