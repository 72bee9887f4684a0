//! Diffusion's theory in numbers (steps 8 and 9): how a schedule takes the data away, what the ELBO weighs its levels
//! with, and the ELBO of one number under the best possible network.
//!
//! `cargo run --release -p nijimi-book --example schedule [linear|scaled_linear|cosine]`

use nijimi_book::diffusion::{DiffusionError, Elbo, Level, Target, prior_kl};
use nijimi_book::score::Diffused;
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal, Normal};
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::schedule::Schedule;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "linear".into());
    let schedule = match name.as_str() {
        "linear" => Schedule::linear(1e-4, 0.02, 1000)?,
        "scaled_linear" => Schedule::scaled_linear(0.00085, 0.012, 1000)?,
        "cosine" => Schedule::cosine(1000)?,
        _ => return Err(format!("no schedule {name}: give linear, scaled_linear or cosine").into()),
    };

    println!("{:>5} {:>12} {:>12} {:>12} {:>12} {:>12}", "t", "beta", "alpha_bar", "SNR", "w(epsilon)", "w(x_0)");
    for t in [1, 2, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000] {
        let level = Level::new(&schedule, t)?;
        // At t = 1 the term is a reconstruction, and has no weight.
        let weight = |target| level.elbo_weight(target).map(|w| w.map_or("-".into(), |w| format!("{w:.4e}")));
        println!(
            "{t:>5} {:>12.4e} {:>12.4e} {:>12.4e} {:>12} {:>12}",
            schedule.beta(t),
            level.alpha_bar(),
            schedule.snr(t),
            weight(Target::Epsilon)?,
            weight(Target::Sample)?
        );
    }
    println!("KL of the last level to noise, for x_0 = 1: {:.4e} nats", prior_kl(&schedule, &[1.0]));

    // Data N(0.5, 0.36), whose best prediction is known.
    let data = Mixture::new(vec![1.0], vec![MultivariateNormal::new(vec![0.5], vec![0.36])?])?;
    let levels = Diffused::levels(&data, &schedule)?;
    let elbo = Elbo::new(&schedule, Target::Epsilon, schedule.beta(1))?;
    let mut stream = Stream::new(7, "elbo", 0);
    for x_0 in [-0.7, 0.5, 1.4] {
        let mut sum = 0.0;
        for _ in 0..100 {
            let estimate = elbo.estimate(&[x_0], &mut stream, |level, x_t, out| {
                levels[level.t()].expected_epsilon(x_t, out);
                Ok::<(), DiffusionError>(())
            })?;
            sum += estimate.elbo();
        }
        let log_pdf = Normal::new(0.5, 0.6)?.log_pdf(x_0);
        println!("x_0 = {x_0:>4}: ELBO {:.4}, log p(x_0) {log_pdf:.4} nats", sum / 100.0);
    }
    Ok(())
}
