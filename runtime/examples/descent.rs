//! Step 6.1 of the book: the path of a gradient descent, from its file.
//!
//! `cargo run -p nijimi-runtime --example descent [weights/rosenbrock.gguf]`

use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{Law, Numbers};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "weights/rosenbrock.gguf".into());
    let file = MappedFile::open(&path)?;
    let numbers = Numbers::load(&File::new_checked(file.bytes())?)?;
    let Law::Descent(trace) = numbers.law() else {
        return Err(format!("{path} is of the system {}, not descent", numbers.system()).into());
    };
    println!("{}, learning rate {}", trace.function(), trace.learning_rate());
    for row in (0..trace.rows()).filter_map(|i| trace.row(i)) {
        let &[step, x0, x1] = row else { return Err("a row has other columns than step, x0 and x1".into()) };
        let value = 100.0 * (x1 - x0 * x0).powi(2) + (x0 - 1.0).powi(2);
        println!("step {step:>6}: ({x0:.6}, {x1:.6}), value {value:.3e}");
    }
    Ok(())
}
