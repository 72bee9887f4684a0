//! What a run of the ladder is made with.
use super::data::Sources;
use std::path::PathBuf;

/// What all rungs share.
pub(super) struct Ladder {
    pub out: PathBuf,
    pub sources: Sources,
    pub weights: Option<PathBuf>,
    pub train_all: bool,
    pub quick: bool,
    pub seed: u64,
    pub threads: Option<usize>,
}

impl Ladder {
    /// All that shapes the result of the rung of that name.
    pub(super) fn fingerprint(&self, rung: &str) -> String {
        format!(
            "{} {} quick {} seed {} train-all {} weights {:?} data {}",
            env!("CARGO_PKG_VERSION"),
            rung,
            self.quick,
            self.seed,
            self.train_all,
            self.weights,
            self.sources.fingerprint
        )
    }
}
