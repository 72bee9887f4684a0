//! What a look for operations that make the same number everywhere gives a network.

use super::*;
use crate::cpu::exec::PLAN;
use crate::graph::{Attend, Shape};

/// Seen red with a length of 0, of which attention makes zeros.
#[test]
fn all_keys_are_seen_where_constants_are_looked_for() {
    let mut g = Graph::new();
    let x = g.input("x", Shape::new(2, 1, 8, 4)).unwrap();
    let [places, lengths] = ["places", "lengths"].map(|name| g.input_ids(name, 2));
    let y = g.attend("attention", [x; 3], Attend { lengths: Some(lengths), ..Attend::heads(2) }).unwrap();
    let y = g.select_token("first", y, places).unwrap();
    g.output("y", y).unwrap();
    let plans = plans([&g], &PLAN).unwrap();
    let exec = Executor::new(Context::new(1), Weights::new().into(), plans, MemoryLimit::NONE).unwrap();
    let mut evaluator = Evaluator { engine: Engine::Cpu(Box::new(exec)), last: 0 };
    wait(evaluator.check_constant_async(0)).unwrap();
}
