//! Step 6 of the book: what a fitted line or network predicts, rows drawn from it, and the way of a descent.
//!
//! `cargo run --example regression [FILE.gguf]`: a file that `nijimi-train regression`, `mlp` or `descent` has made, or the
//! book's line.

use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{About, Law, Numbers, Regressor};

/// The line that the book's 100 steps of gradient descent lead to, as the file that a training would have written.
fn book() -> Result<Vec<u8>, Error> {
    let layers = vec![(vec![2.286_359], vec![5.314_485])];
    let line = Regressor::new(vec![1, 1], layers, 0.079_876_43_f64.sqrt(), vec![[0.0, 1.0]])?;
    Numbers::new(Law::Regression(line), About::columns(&["x", "y"]))?.to_file(&[])
}

fn main() -> Result<(), Error> {
    let bytes = match std::env::args_os().nth(1) {
        Some(path) => MappedFile::open(path)?.bytes().to_vec(),
        None => book()?,
    };
    let numbers = Numbers::load(&File::new_checked(&bytes)?)?;
    if let Law::Regression(regressor) = numbers.law() {
        println!("{} of widths {:?}, residuals of {:.4}", numbers.system(), regressor.widths(), regressor.sigma());
        for tenth in 0..=10 {
            // Along the diagonal of the inputs' ranges.
            let at = |[least, greatest]: &[f64; 2]| least + f64::from(tenth) / 10.0 * (greatest - least);
            let x: Vec<f64> = regressor.ranges().iter().map(at).collect();
            println!("{x:.3?} -> {:.4?}", regressor.predict(&x));
        }
    }
    println!("\n{}", numbers.columns().join(","));
    let mut row = vec![0.0; numbers.dim()];
    for index in 0..numbers.rows().unwrap_or(5) {
        numbers.sample(1, index, &mut row);
        println!("{}", row.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(","));
    }
    Ok(())
}
