//! Sampling by a score alone (step 10.2): a mixture of two normals in the plane, by Langevin dynamics with and without
//! annealing and by the probability flow, each drawn as a density of letters.
//!
//! `cargo run --release -p nijimi-book --example score [SEED]`

use nijimi_book::diffusion::Level;
use nijimi_book::score::{Diffused, Flow, Langevin, ScoreError, Solver, annealed};
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::schedule::{Schedule, Spacing};
use std::error::Error;

const ROWS: usize = 4000;

fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(7), |seed| seed.parse())?;
    let left = MultivariateNormal::new(vec![-1.5, -0.5], vec![0.1, 0.05, 0.05, 0.1])?;
    let right = MultivariateNormal::new(vec![1.5, 0.5], vec![0.15, -0.08, -0.08, 0.1])?;
    let data = Mixture::new(vec![0.25, 0.75], vec![left, right])?;

    let mut stream = Stream::new(seed, "exact", 0);
    let mut x = vec![0.0; 2 * ROWS];
    for row in x.chunks_exact_mut(2) {
        data.sample(&mut stream, row);
    }
    show("drawn from the mixture itself", &x);

    let schedule = Schedule::linear(1e-4, 0.02, 1000)?;
    let diffused = Diffused::levels(&data, &schedule)?;
    let score = |level: &Level, x: &[f64], out: &mut [f64]| {
        diffused[level.t()].score(x, out);
        Ok::<(), ScoreError>(())
    };

    let mut langevin = Langevin::new(seed, ROWS, 2);
    langevin.start(&mut x)?;
    let clean = Level::new(&schedule, 1)?;
    for _ in 0..800 {
        langevin.step(0.01, &mut x, |x, out| score(&clean, x, out))?;
    }
    show("Langevin in the data's density: the shares are those of the start", &x);

    let timesteps = Spacing::Trailing.timesteps(schedule.steps(), 20, 0)?;
    let levels = timesteps.iter().map(|t| Level::new(&schedule, t + 1)).collect::<Result<Vec<_>, _>>()?;
    langevin.start(&mut x)?;
    annealed(&mut langevin, &levels, 40, 0.3, &mut x, score)?;
    // The last levels' steps are too small to undo the noise of those before.
    for _ in 0..20 {
        langevin.step(0.01, &mut x, |x, out| score(&clean, x, out))?;
    }
    show("annealed Langevin, 20 levels of 40 steps, and 20 in the data's density", &x);

    let flow = Flow::spaced(&schedule, Spacing::Trailing, 50, Solver::Heun)?;
    langevin.start(&mut x)?;
    let mut scratch = flow.scratch(x.len());
    for step in flow.steps() {
        step.advance(&mut x, &mut scratch, score)?;
    }
    show("probability flow, 50 steps of Heun", &x);
    Ok(())
}

/// Share in the left component's half, and a picture of [-3, 3] by [-2, 2].
fn show(what: &str, x: &[f64]) {
    let (width, height) = (60, 16);
    let mut counts = vec![0; width * height];
    for row in x.chunks_exact(2) {
        let (column, line) = ((row[0] + 3.0) / 6.0 * width as f64, (2.0 - row[1]) / 4.0 * height as f64);
        if (0.0..width as f64).contains(&column) && (0.0..height as f64).contains(&line) {
            counts[line as usize * width + column as usize] += 1;
        }
    }
    let below = x.chunks_exact(2).filter(|row| row[0] < 0.0).count() as f64 / (x.len() / 2) as f64;
    println!("{what}: {:.1} % on the left (25 %)", 100.0 * below);
    let letter =
        |count: &usize| [' ', '.', ':', '+', '*', '#', '@'][(usize::BITS - count.leading_zeros()).min(6) as usize];
    counts.chunks(width).for_each(|line| println!("  {}", line.iter().map(letter).collect::<String>().trim_end()));
}
