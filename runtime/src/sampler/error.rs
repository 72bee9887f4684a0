//! What a sampler refuses, and why.

use crate::schedule::ScheduleError;
use alloc::string::String;

/// Why a sampler cannot be made, or a step not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// The timesteps do not fit the schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Epsilon cannot be divided out of pure noise.
    #[error(
        "timestep {timestep} is pure noise (alpha_bar 0), where a network that predicts epsilon says nothing of the \
             picture: use a network that predicts v or the sample, or a schedule without zero terminal SNR"
    )]
    NoSignal {
        /// The 0-based timestep.
        timestep: usize,
    },
    /// A step without finite weights.
    #[error(
        "the step at timestep {timestep} has no weights: two of its levels are the same, so take fewer steps or another \
             spacing"
    )]
    NoStep {
        /// The 0-based timestep.
        timestep: usize,
    },
    /// A shift of flow sigmas that is not above 0.
    #[error("shift {0} of the flow's sigmas: it must be above 0; 1 leaves them even")]
    Shift(f64),
    /// A clip range whose ends are no numbers, or not the lower first.
    #[error("clip range [{0}, {1}]: the lower end comes first; give none to leave the estimate as it is")]
    Clip(f32, f32),
    /// An eta that is negative or not a number, or so large that no variance is left for the direction.
    #[error("eta {0}: it must be at least 0 (DDIM) and at most 1 (as random as DDPM)")]
    Eta(f64),
    /// An order that the solver does not have.
    #[error("order {order}: this solver has orders 1 to {most}")]
    Order {
        /// The order asked for.
        order: usize,
        /// The highest there is.
        most: usize,
    },
    /// A solver in epsilon cannot reach sigma 0.
    #[error("this solver works in the noise and cannot end at the clean level: let it end at sigma_min")]
    CleanEnd,
    /// A solver of rectified flow with another network, or the reverse.
    #[error(
        "flow belongs together: a network that answers with a flow, sigmas of flow, and a solver that takes them; the \
             other solvers take epsilon, v or the sample"
    )]
    Flow,
    /// Levels spread by [`Sigmas`](super::Sigmas), of a solver that has none.
    #[error(
        "this solver goes by timesteps alone, and its noise levels cannot be spread otherwise: take another, as euler or \
             dpm++2m, or leave the levels as they are"
    )]
    Sigmas,
    /// Noise levels of EDM, which not every solver, spread and network has.
    #[error("the noise levels are EDM's, which need {0}")]
    Edm(&'static str),
    /// A network whose prediction this solver cannot use.
    #[error("{solver} needs a network that answers with {wants}")]
    Prediction {
        /// The solver's name.
        solver: &'static str,
        /// What it takes.
        wants: &'static str,
    },
    /// Fewer steps than the solver needs.
    #[error("{steps} steps: this solver needs at least {least}")]
    TooFew {
        /// Steps asked for.
        steps: usize,
        /// The fewest possible.
        least: usize,
    },
    /// A run that starts at or after its end.
    #[error("the run starts at step {start} of {steps}: nothing is left to do")]
    Start {
        /// The first step, 0-based.
        start: usize,
        /// Steps of the whole run.
        steps: usize,
    },
    /// A setting of a scheduler's configuration that is not known, or has a value that is not.
    #[error("scheduler setting {setting} = {value}: {problem}")]
    Setting {
        /// Its name.
        setting: String,
        /// Its value, as text.
        value: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A buffer of another length than the sample's.
    #[error("{what} has {got} values, the sample {want}: they must be equal")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The sample's length.
        want: usize,
    },
    /// A step with sigma above 0 was given no noise.
    #[error("the step at timestep {timestep} adds noise (sigma {sigma}) and was given none")]
    NoNoise {
        /// The 0-based timestep.
        timestep: usize,
        /// Standard deviation of the noise to be added.
        sigma: f32,
    },
}
