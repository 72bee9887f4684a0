//! A step of any solver allocates nothing. Alone in its file: the counter counts every thread.

#[path = "common/counting.rs"]
mod counting;

use counting::ALLOCATIONS;
use nijimi_runtime::sampler::{Calls, SamplerState, Solver, SolverSettings};
use nijimi_runtime::schedule::Schedule;
use std::sync::atomic::Ordering::Relaxed;

// Seen red with the kept sample copied to a new `Vec`.
#[test]
fn no_solver_allocates_in_a_step() {
    let schedule = Schedule::scaled_linear(0.00085, 0.012, 1000).unwrap();
    let noise = [0.5f32; 16];
    for name in Solver::NAMES.split(", ") {
        let settings = SolverSettings::new(Solver::from_name(name).unwrap(), 10);
        let calls = Calls::new(&schedule, &settings).unwrap();
        let mut state = SamplerState::new(calls.calls(), 16);
        let (mut x, mut input) = ([0.3f32; 16], [0f32; 16]);
        let before = ALLOCATIONS.load(Relaxed);
        for call in calls.calls() {
            call.scale_input(&x, &mut input).unwrap();
            state.accept(call, &mut x, &input, &noise).unwrap();
        }
        assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0, "{name}");
        assert!(x.iter().all(|x| x.is_finite()), "{name}");
    }
}
