//! `nijimi plan`: what a run would take.

use crate::cli::Plan;
use crate::fault::Fault;

/// Tells it.
pub fn run(options: &Plan) -> Result<(), Fault> {
    let (model, place) = (options.model.display(), options.place());
    Err(Fault::Internal(format!("{model}: this build plans no runs on {place:?}")))
}
