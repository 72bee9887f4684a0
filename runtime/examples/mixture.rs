//! Steps 3 to 5 of the book: rows from a mixture of normals, their densities, and which component each came from.
//!
//! `cargo run --example mixture [FILE.gguf] [ROWS]`: a file that `nijimi-train mixture` has made, or the book's Old Faithful.

use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{About, Law, Numbers};
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};

/// Step 4's parameters, as the file that a training would have written.
fn book() -> Result<Vec<u8>, Error> {
    let short = MultivariateNormal::new(vec![2.0, 54.5], vec![0.07, 0.44, 0.44, 33.7])?;
    let long = MultivariateNormal::new(vec![4.3, 80.0], vec![0.17, 0.94, 0.94, 36.0])?;
    let law = Law::Mixture(Mixture::new(vec![0.35, 0.65], vec![short, long])?);
    Numbers::new(law, About::columns(&["eruption", "waiting"]))?.to_file(&[])
}

fn main() -> Result<(), Error> {
    let bytes = match std::env::args_os().nth(1) {
        Some(path) => MappedFile::open(path)?.bytes().to_vec(),
        None => book()?,
    };
    let rows = std::env::args().nth(2).and_then(|rows| rows.parse().ok()).unwrap_or(8);
    let numbers = Numbers::load(&File::new_checked(&bytes)?)?;
    println!("{},log_density", numbers.columns().join(","));
    let mut row = vec![0.0; numbers.dim()];
    for index in 0..rows {
        if !numbers.sample(7, index, &mut row) {
            break;
        }
        row.iter().for_each(|v| print!("{v:.4},"));
        println!("{:.4}", numbers.log_density(&row).unwrap_or(f64::NAN));
    }
    if let Law::Mixture(mixture) = numbers.law() {
        println!("\nmean {:?}, covariance {:?}", mixture.mean(), mixture.covariance());
        let mut shares = vec![0.0; mixture.weights().len()];
        mixture.responsibilities(&row, &mut shares);
        println!("the last row is of each component with probability {shares:?}");
    }
    Ok(())
}
