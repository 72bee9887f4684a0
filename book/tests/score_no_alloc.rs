//! Steps of the flow and of Langevin dynamics allocate nothing, nor do densities and scores. Alone in its file: the
//! counter counts every thread.

#[path = "../../runtime/tests/common/counting.rs"]
mod counting;

use counting::ALLOCATIONS;
use nijimi_book::score::{Diffused, Flow, Langevin, ScoreError, Solver};
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};
use nijimi_runtime::schedule::{Schedule, Spacing};
use std::sync::atomic::Ordering::Relaxed;

// Seen red: with a copy of the point for the second slope, and with the joint densities of a score in a `Vec`.
#[test]
fn sampling_by_scores_allocates_nothing() {
    let normal = |mean| MultivariateNormal::new(vec![mean, 0.5], vec![0.3, 0.1, 0.1, 0.2]).unwrap();
    let data = Mixture::new(vec![0.4, 0.6], vec![normal(-1.0), normal(1.0)]).unwrap();
    let schedule = Schedule::linear(1e-4, 0.02, 100).unwrap();
    let levels = Diffused::levels(&data, &schedule).unwrap();
    let flow = Flow::spaced(&schedule, Spacing::Trailing, 10, Solver::Heun).unwrap();
    let (mut langevin, mut x, mut scratch) = (Langevin::new(3, 8, 2), [0.0; 16], flow.scratch(16));
    let before = ALLOCATIONS.load(Relaxed);
    langevin.start(&mut x).unwrap();
    for step in flow.steps() {
        step.advance(&mut x, &mut scratch, |level, x, out| {
            levels[level.t()].score(x, out);
            Ok::<(), ScoreError>(())
        })
        .unwrap();
    }
    for _ in 0..10 {
        langevin
            .step(0.01, &mut x, |x, out| {
                levels[0].score(x, out);
                Ok::<(), ScoreError>(())
            })
            .unwrap();
    }
    let density = data.log_pdf(&x[..2]);
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
    assert!(density.is_finite());
}
