//! Steps 8 and 9 of the book: what diffusion does to a number, level by level, and what undoes it.
//!
//! `cargo run --example schedule`

use nijimi_runtime::diffusion::Target;
use nijimi_runtime::rng::Stream;
use nijimi_runtime::schedule::Schedule;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schedule = Schedule::linear(1e-4, 0.02, 1000)?;
    println!("   t       beta  alpha_bar        SNR  posterior std  ELBO weight of epsilon");
    for t in [1, 2, 10, 100, 300, 500, 900, 1000] {
        let (beta, alpha_bar, snr) = (schedule.beta(t), schedule.alpha_bar(t), schedule.snr(t));
        let (std, weight) = (schedule.posterior_std(t), schedule.elbo_weight(t, Target::Epsilon));
        println!("{t:4} {beta:10.3e} {alpha_bar:10.6} {snr:10.3e} {std:14.6} {weight:23.6}");
    }

    // There, in one jump, and back by the true x_0: the posterior of each step, as a perfect network would have it.
    let (x_0, mut stream) = (0.7, Stream::new(1, "schedule", 0));
    let mut x = schedule.kernel(0, 1000).mean_plus(x_0, stream.normal_f64());
    println!("\nx_0 = {x_0} becomes x_1000 = {x:.4}; back by its posteriors:");
    for t in (1..=1000).rev() {
        let posterior = schedule.posterior(t);
        x = posterior.mean(x, x_0) + posterior.variance.sqrt() * stream.normal_f64();
        if t % 200 == 1 {
            println!("x_{:<4} = {x:.4}", t - 1);
        }
    }
    println!("what no training can change: KL(q(x_1000 | x_0) || N(0, 1)) = {:.3e} nats", schedule.prior_kl(&[x_0])?);
    Ok(())
}
