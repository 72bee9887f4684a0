//! The samplers: the flow and Langevin dynamics.

use super::*;
use nijimi_runtime::sampler::{Calls, SamplerState, Solver as Sampler, SolverSettings};

/// Kolmogorov and Smirnov's statistic times sqrt(n): above 1.63 once in a hundred.
fn kolmogorov(mut x: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    let gap = |(i, x): (usize, &f64)| f64::max(cdf(*x) - i as f64 / n, (i + 1) as f64 / n - cdf(*x));
    n.sqrt() * x.iter().enumerate().map(gap).fold(0.0, f64::max)
}

fn toy_levels(schedule: &Schedule) -> Vec<Diffused> {
    Diffused::levels(&toy(), schedule).unwrap()
}

fn run(flow: &Flow, x: &mut [f64], levels: &[Diffused]) {
    let mut scratch = flow.scratch(x.len());
    for step in flow.steps() {
        step.advance(x, &mut scratch, |level, x, out| {
            levels[level.t()].score(x, out);
            Ok::<(), ScoreError>(())
        })
        .unwrap();
    }
}

/// In one dimension the flow moves each point so that the share of the density below it stays. Through all levels of
/// the book's schedule that holds to 1e-5, and back again; by Euler's steps it is tens of times worse. Seen red with
/// the slope of the step's end alone, and with signal not rescaled.
#[test]
fn the_flow_keeps_the_share_below() {
    let schedule = book();
    let levels = toy_levels(&schedule);
    let start: Vec<f64> = (-24..=24).map(|i| f64::from(i) / 8.0).collect();
    let error = |solver| {
        let path: Vec<usize> = (1..=1000).rev().collect();
        let mut x = start.clone();
        run(&Flow::new(&schedule, &path, solver).unwrap(), &mut x, &levels);
        let share =
            |(from, to): (&f64, &f64)| (cdf(levels[1000].mixture(), *from) - cdf(levels[1].mixture(), *to)).abs();
        let error = start.iter().zip(&x).map(share).fold(0.0, f64::max);
        run(&Flow::new(&schedule, &(1..=1000).collect::<Vec<_>>(), solver).unwrap(), &mut x, &levels);
        (error, start.iter().zip(&x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
    };
    let (heun, euler) = (error(Solver::Heun), error(Solver::Euler));
    assert!(heun.0 < 1e-5 && heun.1 < 1e-4, "Heun: {heun:?}");
    assert!(euler.0 < 1e-2 && euler.0 > 20.0 * heun.0, "Euler: {euler:?}");
}

/// Twice the steps halve Euler's error and quarter Heun's, on a Gaussian, where the flow is known: x_t is as many
/// standard deviations from its mean as x_T. Seen red with Heun's second slope taken at the step's beginning.
#[test]
fn solvers_have_their_order() {
    let data = MultivariateNormal::new(vec![0.8], vec![0.5]).unwrap();
    let data = Mixture::new(vec![1.0], vec![data]).unwrap();
    let error = |steps: usize, solver| {
        // One curve of alpha_bar from 0.99 to 0.01, cut finer and finer.
        let alpha_bar = |i: usize| f64::exp(-0.01 - 4.6 * (i as f64 / steps as f64));
        let betas =
            (0..=steps).map(|i| if i == 0 { 1.0 - alpha_bar(0) } else { 1.0 - alpha_bar(i) / alpha_bar(i - 1) });
        let schedule = Schedule::from_betas(betas.collect()).unwrap();
        let path: Vec<usize> = (1..=steps + 1).rev().collect();
        let flow = Flow::new(&schedule, &path, solver).unwrap();
        let at = |t: usize, deviations: f64| {
            let alpha_bar = schedule.alpha_bar(t);
            alpha_bar.sqrt() * 0.8 + deviations * f64::sqrt(alpha_bar * 0.5 + 1.0 - alpha_bar)
        };
        let mut x = vec![at(steps + 1, -1.3)];
        let mut scratch = flow.scratch(1);
        for step in flow.steps() {
            step.advance(&mut x, &mut scratch, |level, x, out| {
                Diffused::new(&data, level.alpha_bar())?.score(x, out);
                Ok::<(), ScoreError>(())
            })
            .unwrap();
        }
        (x[0] - at(1, -1.3)).abs()
    };
    for (solver, want) in [(Solver::Euler, 2.0), (Solver::Heun, 4.0)] {
        let ratio = error(200, solver) / error(400, solver);
        assert!((ratio - want).abs() < 0.1 * want, "{solver:?}: {ratio}");
    }
}

/// Euler's steps to the data are the runtime's DDIM with eta 0, to the roundings of f32. Seen red with the
/// deviation of the noise for `sigma`, and with levels one too low.
#[test]
fn eulers_flow_is_ddim() {
    let schedule = book();
    let levels = toy_levels(&schedule);
    let settings =
        SolverSettings { spacing: Spacing::Trailing, steps_offset: 0, ..SolverSettings::new(Sampler::ddim(0.0), 25) };
    let calls = Calls::new(&schedule, &settings).unwrap();
    let start = [-2.0, -0.5, 0.0, 0.7, 1.9];
    let mut x = start.map(|v| v as f32);
    let mut state = SamplerState::new(calls.calls(), 5);
    for c in calls.calls() {
        let mut epsilon = [0.0; 5];
        levels[c.t as usize + 1].expected_epsilon(&x.map(f64::from), &mut epsilon);
        state.accept(c, &mut x, &epsilon.map(|v| v as f32), &[]).unwrap();
    }
    let mut flowed = start.to_vec();
    run(&Flow::spaced(&schedule, Spacing::Trailing, 25, Solver::Euler).unwrap(), &mut flowed, &levels);
    for (flowed, ddim) in flowed.iter().zip(x) {
        close(*flowed, f64::from(ddim), 2e-5, "DDIM");
    }
}

/// 20,000 points from noise to the toy in 100 steps: the law, the moments and the share of the lesser mode. Seen red
/// with epsilon by `sigma` and not by the deviation of the noise.
#[test]
fn the_flow_samples_the_mixture() {
    let schedule = book();
    let levels = toy_levels(&schedule);
    let mut stream = Stream::new(11, "noise", 0);
    let mut x: Vec<f64> = (0..20_000).map(|_| stream.normal_f64()).collect();
    run(&Flow::spaced(&schedule, Spacing::Trailing, 100, Solver::Heun).unwrap(), &mut x, &levels);
    moments(&x);
    let statistic = kolmogorov(x, |x| cdf(&toy(), x));
    assert!(statistic < 1.63, "{statistic}");
}

/// Mean and variance of draws of the toy, to four standard errors, and the share below 0.5.
fn moments(x: &[f64]) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    let below = x.iter().filter(|v| **v < 0.5).count() as f64 / n;
    let (toy_mean, toy_variance, toy_below) = (toy().mean()[0], toy().covariance()[0], cdf(&toy(), 0.5));
    assert!((mean - toy_mean).abs() < 4.0 * f64::sqrt(toy_variance / n), "mean {mean}");
    // The fourth moment is below 3 variance^2: the two modes lie apart.
    assert!((variance - toy_variance).abs() < 4.0 * toy_variance * f64::sqrt(2.0 / n), "variance {variance}");
    assert!((below - toy_below).abs() < 4.0 * f64::sqrt(0.25 / n), "below 0.5: {below}");
}

/// A walk in a normal ends with the variance that theory gives its step size, v / (1 - h / (4 v)), to four standard
/// errors; that is 14 % above v here. Seen red with the whole step along the score, and with the noise of variance 2 h.
#[test]
fn langevins_bias_is_the_known_one() {
    let (h, v, rows) = (0.25, 0.5, 40_000);
    let normal = MultivariateNormal::new(vec![1.5], vec![v]).unwrap();
    let mut langevin = Langevin::new(5, rows, 1);
    let mut x = vec![0.0; rows];
    langevin.start(&mut x).unwrap();
    for _ in 0..60 {
        let score = |x: &[f64], out: &mut [f64]| {
            x.chunks(1).zip(out.chunks_mut(1)).for_each(|(x, out)| normal.score(x, out));
            Ok::<(), ScoreError>(())
        };
        langevin.step(h, &mut x, score).unwrap();
    }
    let n = rows as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let want = v / (1.0 - h / (4.0 * v));
    assert!((mean - 1.5).abs() < 4.0 * f64::sqrt(want / n), "mean {mean}");
    assert!((variance - want).abs() < 4.0 * want * f64::sqrt(2.0 / n), "variance {variance}, {want} expected");
}

/// Twenty levels with 40 steps each fill both modes; the same number of steps at the cleanest level alone leaves points
/// where they began, in the wrong shares, if the modes lie apart. Seen red with steps that do not shrink with the
/// noise.
#[test]
fn annealing_finds_the_modes_shares() {
    let apart = {
        let normal = |mean| MultivariateNormal::new(vec![mean], vec![0.04]).unwrap();
        Mixture::new(vec![0.2, 0.8], vec![normal(-2.0), normal(2.0)]).unwrap()
    };
    let schedule = book();
    let times = Spacing::Trailing.timesteps(1000, 20, 0).unwrap();
    let levels: Vec<Level> = times.iter().map(|t| Level::new(&schedule, t + 1).unwrap()).collect();
    let cleanest = Level::new(&schedule, 1).unwrap();
    let rows = 4000;
    let mut x = vec![0.0; rows];
    let mut langevin = Langevin::new(9, rows, 1);
    let score = |level: &Level, x: &[f64], out: &mut [f64]| {
        Diffused::new(&apart, level.alpha_bar())?.score(x, out);
        Ok::<(), ScoreError>(())
    };
    let left = |x: &[f64]| x.iter().filter(|v| **v < 0.0).count() as f64 / rows as f64;
    langevin.start(&mut x).unwrap();
    annealed(&mut langevin, &levels, 40, 0.3, &mut x, score).unwrap();
    assert!((left(&x) - 0.2).abs() < 0.03, "annealed: {}", left(&x));
    for _ in 0..20 {
        langevin.step(0.01, &mut x, |x, out| score(&cleanest, x, out)).unwrap();
    }
    let spread = x.iter().map(|v| (v.abs() - 2.0) * (v.abs() - 2.0)).sum::<f64>() / rows as f64;
    assert!((spread - 0.04 / (1.0 - 0.01 / 0.16)).abs() < 0.005, "within the modes: {spread}");
    langevin.start(&mut x).unwrap();
    for _ in 0..800 {
        langevin.step(0.01, &mut x, |x, out| score(&cleanest, x, out)).unwrap();
    }
    assert!((left(&x) - 0.2).abs() > 0.15, "without levels: {}", left(&x));
}

/// Langevin's walk in the toy's own density, by its law. Seen red with the whole step along the score.
#[test]
fn langevin_samples_the_mixture() {
    let rows = 2000;
    let mut langevin = Langevin::new(2, rows, 1);
    let mut x = vec![0.0; rows];
    langevin.start(&mut x).unwrap();
    for _ in 0..1500 {
        let toy = toy();
        langevin
            .step(0.03, &mut x, |x, out| {
                x.chunks(1).zip(out.chunks_mut(1)).for_each(|(x, out)| toy.score(x, out));
                Ok::<(), ScoreError>(())
            })
            .unwrap();
    }
    let statistic = kolmogorov(x, |x| cdf(&toy(), x));
    assert!(statistic < 1.63, "{statistic}");
}

/// Seen red with streams numbered from the last row, and with one stream for two rows.
#[test]
fn rows_do_not_depend_on_the_batch() {
    let walk = |rows: usize| {
        let (mut langevin, mut x) = (Langevin::new(4, rows, 3), vec![0.0; 3 * rows]);
        langevin.start(&mut x).unwrap();
        for _ in 0..5 {
            let score = |x: &[f64], out: &mut [f64]| {
                Diffused::new(&space(), 1.0)?.score(x, out);
                Ok::<(), ScoreError>(())
            };
            langevin.step(0.05, &mut x, score).unwrap();
        }
        x
    };
    let (few, many) = (walk(2), walk(7));
    assert_eq!(few, many[..6]);
    assert_ne!(many[..3], many[3..6]);
}
