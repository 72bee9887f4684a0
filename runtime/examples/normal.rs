//! Steps 1 and 2 of the book: a normal distribution, its probabilities, and sums of uniforms that come close to one.
//!
//! `cargo run --example normal [FILE.gguf]`: a file that `nijimi-train normal` has made, or the book's fit of 25,000 heights.

use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{Law, Numbers};
use nijimi_runtime::raw::dist::{IrwinHall, Normal};
use nijimi_runtime::raw::rng::Stream;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let heights = match std::env::args_os().nth(1) {
        Some(path) => {
            let mapped = MappedFile::open(path)?;
            match Numbers::load(&File::new_checked(mapped.bytes())?)?.law() {
                Law::Normal(normal) => *normal,
                law => return Err(format!("the file holds no normal distribution but {law:?}").into()),
            }
        }
        None => Normal::new(172.70250853668, 4.830167473396299)?,
    };
    let (low, high) = (heights.quantile(0.025), heights.quantile_survival(0.025));
    println!("N({}, {}^2): 95 % of it lies from {low:.2} to {high:.2}", heights.mean(), heights.sigma());
    println!("P(x <= 160) = {}", heights.cdf(160.0));
    println!("P(x > 180)  = {}", heights.survival(180.0));

    let mut stream = Stream::new(1, "heights", 0);
    let drawn: Vec<f64> = (0..10_000).map(|_| heights.sample(&mut stream)).collect();
    println!("mean of 10,000 draws: {:.3}", drawn.iter().sum::<f64>() / 10_000.0);

    // The central limit theorem: the sum of five uniforms, and the normal of its mean and variance.
    let sum = IrwinHall::new(5)?;
    let normal = Normal::new(sum.mean(), sum.variance().sqrt())?;
    println!("\n  x   P(sum of 5 uniforms <= x)   P(normal <= x)");
    for i in 0..=10 {
        let x = f64::from(i) / 2.0;
        println!("{x:4.1}{:28.6}{:17.6}", sum.cdf(x), normal.cdf(x));
    }
    Ok(())
}
