//! Step 3 of the book: a multivariate normal, its density, what one column says of another, and a sample's covariance.
//!
//! `cargo run -p nijimi-runtime --example mvn [weights/height-weight.gguf]`

use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{Law, Numbers};
use nijimi_runtime::raw::rng::Stream;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "weights/height-weight.gguf".into());
    let file = MappedFile::open(&path)?;
    let numbers = Numbers::load(&File::new_checked(file.bytes())?)?;
    let Law::Mvn(normal) = numbers.law() else {
        return Err(format!("{path} is of the system {}, not mvn", numbers.system()).into());
    };
    let (d, mean, covariance) = (normal.dim(), normal.mean(), normal.covariance());
    println!("columns {:?}, mean {mean:?}", numbers.columns());
    println!("log density at the mean {}, log determinant {}", normal.log_pdf(mean), normal.log_det());
    if d >= 2 {
        let correlation = covariance[1] / (covariance[0] * covariance[d + 1]).sqrt();
        println!("correlation of the first two columns {correlation}");
    }

    // A sample's covariance comes close to the one that it was drawn from.
    let (n, mut row) = (20_000, vec![0.0; d]);
    let (mut stream, mut sums) = (Stream::new(7, "example", 0), vec![0.0; d * d]);
    for _ in 0..n {
        normal.sample(&mut stream, &mut row);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += (row[i / d] - mean[i / d]) * (row[i % d] - mean[i % d]) / f64::from(n);
        }
    }
    println!("covariance     {covariance:.3?}\nof {n} draws {sums:.3?}");
    Ok(())
}
