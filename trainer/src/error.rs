//! What can go wrong in training, with what was wrong, where, and what to do.
use nijimi_cli::print::Unprinted;
use nijimi_cli::target::Refused;
use nijimi_runtime::error::Fault;
use std::path::PathBuf;

/// An error of the trainer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A data file is not what it should be.
    #[error("{path}: {what}")]
    Data {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, what to do.
        what: String,
    },
    /// A table of numbers is not what it should be.
    #[error("{path}: {source}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: crate::data::table_error::TableError,
    },
    /// Numbers to which the model cannot be fitted.
    #[error(transparent)]
    Fit(#[from] crate::stats::fault::FitError),
    /// A checkpoint does not belong to this run.
    #[error("checkpoint {path}: {what}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, what to do.
        what: String,
    },
    /// Training went astray: a NaN or an infinity.
    #[error(
        "{what} is {value} at step {step} (epoch {epoch}): lower --lr or set --clip; the last good checkpoint is {checkpoint}"
    )]
    Diverged {
        /// What is not finite: the loss, the gradients' norm, a weight.
        what: &'static str,
        /// The value found.
        value: f64,
        /// The step, counted from 1.
        step: u64,
        /// The epoch, counted from 1.
        epoch: u64,
        /// Where the last good state is, or a word that there is none.
        checkpoint: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file, or data, that is not what it must be; the message names it.
    #[error("{0}")]
    File(String),
    /// Not the user's fault.
    #[error("{0}: please report this")]
    Internal(String),
    /// Processes that train together do not fit, or cannot be joined.
    #[error("{0}")]
    World(String),
    /// Another of the processes that train together has failed.
    #[error("process {rank} has failed, and says why; this one ends with it")]
    Elsewhere {
        /// Which one, counted from 0.
        rank: usize,
    },
    /// Something that this run had others do has failed.
    #[error("{0}")]
    Failed(String),
    /// The user has ended it.
    #[error("interrupted: the same command with --resume goes on")]
    Interrupted,
    /// The device failed.
    #[error("device: {0}")]
    Device(String),
    /// No file can be written there, or one is given two uses.
    #[error(transparent)]
    Target(#[from] Refused),
    /// Standard output could not be written.
    #[error(transparent)]
    Unprinted(#[from] Unprinted),
    /// The runtime refused the file that the trainer wrote.
    #[error(transparent)]
    Runtime(#[from] nijimi_runtime::Error),
}

impl Error {
    /// The exit code of a program that ends with it: 2 for a wrong command line, 3 for a file or folder that is not what it must
    /// be, 4 for a device, 130 for an interruption, 1 for all else.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Usage(_) | Self::Target(Refused::Usage(_)) => 2,
            Self::Target(Refused::Place(_)) => 3,
            Self::Io { .. }
            | Self::File(_)
            | Self::Data { .. }
            | Self::Table { .. }
            | Self::Fit(_)
            | Self::Checkpoint { .. } => 3,
            Self::Device(_) => 4,
            Self::Interrupted => 130,
            Self::Diverged { .. }
            | Self::World(_)
            | Self::Elsewhere { .. }
            | Self::Failed(_)
            | Self::Internal(_)
            | Self::Unprinted(_) => 1,
            Self::Runtime(e) => match e.fault() {
                Fault::Request => 2,
                Fault::Input => 3,
                Fault::Device => 4,
                Fault::Internal => 1,
            },
        }
    }

    /// An I/O error at a path.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
    /// A data error at a path.
    pub fn data(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Data { path: path.into(), what: what.into() }
    }
}

/// The trainer's result.
pub type Result<T> = std::result::Result<T, Error>;
