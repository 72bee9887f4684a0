//! Step 10.2 of the book: samples from a score alone, by annealed Langevin dynamics and by the probability flow.
//!
//! `cargo run --example score`: draws both as points in the plane, beside the mixture that they should be.

use nijimi_runtime::dist::{Mixture, MultivariateNormal};
use nijimi_runtime::rng::Stream;
use nijimi_runtime::schedule::Schedule;
use nijimi_runtime::score::{Noised, Solver, annealed_langevin, probability_flow};

const POINTS: u64 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let blob = |x, y, slant| MultivariateNormal::new(vec![x, y], vec![0.1, slant, slant, 0.1]);
    let data =
        Mixture::new(vec![0.5, 0.3, 0.2], vec![blob(-1.2, 0.3, 0.07)?, blob(1.0, 1.0, 0.0)?, blob(0.8, -1.0, -0.06)?])?;
    let schedule = Schedule::linear(1e-4, 0.02, 1000)?;
    // In place of a trained network: the exact score at every level.
    let levels = Noised::levels(&data, &schedule)?;
    let mut pictures = [const { Vec::new() }; 3];
    for i in 0..POINTS {
        let mut stream = Stream::new(1, "noise", i);
        let noise = [stream.normal_f64(), stream.normal_f64()];

        let mut x = [0.0; 2];
        data.sample(&mut stream, &mut x);
        pictures[0].push(x);

        x = noise;
        annealed_langevin(&schedule, 100, 0.2, 10, &mut stream, &mut x, |t, x, out| levels[t].score(x, out))?;
        pictures[1].push(x);

        x = noise;
        probability_flow(&schedule, 50, Solver::Heun, &mut x, |t, x, out| levels[t].score(x, out))?;
        pictures[2].push(x);
    }
    for (name, points) in ["the mixture", "annealed Langevin", "probability flow"].iter().zip(&pictures) {
        let mean = [0, 1].map(|i| points.iter().map(|x| x[i]).sum::<f64>() / POINTS as f64);
        println!("{name}: mean ({:.3}, {:.3})", mean[0], mean[1]);
        draw(points);
    }
    Ok(())
}

/// How many points fall into each cell, as darkness.
fn draw(points: &[[f64; 2]]) {
    const SIZE: [usize; 2] = [48, 20];
    let mut counts = [[0usize; SIZE[0]]; SIZE[1]];
    for [x, y] in points {
        let cell = |v: f64, size: usize| ((v + 2.5) / 5.0 * size as f64) as usize;
        if let Some(count) = counts.get_mut(cell(-y, SIZE[1])).and_then(|row| row.get_mut(cell(*x, SIZE[0]))) {
            *count += 1;
        }
    }
    for row in counts {
        println!("{}", row.map(|n| [" ", ".", ":", "o", "O", "@"][n.div_ceil(2).min(5)]).concat());
    }
}
