//! Step 10.2: the score of a noised mixture, known exactly, and two ways of sampling along it.
use super::ladder::Ladder;
use super::record::Record;
use super::theory::{LEVELS, schedule};
use crate::error::{Error, Result};
use crate::plot::{Chart, Grid, Row, linspace};
use crate::report::{Comparison, Report};
use nijimi_book::diffusion::Level;
use nijimi_book::score::{Diffused, Flow, Langevin, ScoreError, Solver, annealed};
use nijimi_runtime::raw::dist::{DistError, Mixture, MultivariateNormal};
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::schedule::Schedule;
use std::path::Path;

/// The levels pictured.
const SHOWN: [usize; 4] = [1, 100, 300, 600];
/// Half the side of the figures, in data units.
const REACH: f64 = 3.5;
/// Points drawn by each sampler.
const POINTS: usize = 1000;

fn invalid(e: DistError) -> Error {
    Error::Internal(format!("a mixture: {e}"))
}

/// The data: two round heaps and an oblong one.
fn mixture() -> Result<Mixture> {
    let part = |mean: [f64; 2], covariance: [f64; 4]| MultivariateNormal::new(mean.to_vec(), covariance.to_vec());
    let parts = [
        part([-1.5, -1.0], [0.15, 0.0, 0.0, 0.15]),
        part([1.5, -0.8], [0.10, 0.0, 0.0, 0.10]),
        part([0.2, 1.6], [0.60, 0.15, 0.15, 0.10]),
    ];
    let parts = parts.into_iter().collect::<std::result::Result<Vec<_>, _>>().map_err(invalid)?;
    Mixture::new(vec![0.3, 0.25, 0.45], parts).map_err(invalid)
}

/// The facts of one dimension: t, and at x_t = 0.3 the density and the score of 0.3 N(-1, 0.25) + 0.7 N(2, 0.64).
const TOY: [(usize, f64, f64); 3] = [
    (100, 0.07138281282372032, 0.6760465200510959),
    (300, 0.2535470532279521, 0.37545800703663185),
    (500, 0.37672164388578827, 0.025930193862511747),
];

pub(super) fn work(ladder: &Ladder, folder: &Path, _: &mut Record) -> Result<()> {
    report(ladder.seed, if ladder.quick { 200 } else { LEVELS })?.write(folder)
}

fn report(seed: u64, steps: usize) -> Result<Report> {
    let s = schedule()?;
    let mut report = Report::new("Step 10.2: the score");
    report.text(
        "The score is the gradient of log p(x_t). Where the data are a mixture of normal distributions it is known \
         exactly at every level of noise, and a diffusion model's epsilon is -sqrt(1 - alpha_bar) times it.",
    );
    toy(&mut report, &s)?;
    let data = mixture()?;
    report.heading("The score as a field");
    let mut fields = Row::new().columns(2);
    for t in SHOWN {
        fields = fields.with(field(&data.noised(s.alpha_bar(t)).map_err(invalid)?, t));
    }
    let caption = "Arrows: the score (as long as its root), on the contours of the density, at four levels \
                   of noise. With noise, the arrows lead from everywhere to the data.";
    report.figure("field", caption, &fields)?;
    sampling(&mut report, &data, &s, seed, steps)?;
    Ok(report)
}

fn toy(report: &mut Report, s: &Schedule) -> Result<()> {
    let part = |mean: f64, variance: f64| MultivariateNormal::new(vec![mean], vec![variance]).map_err(invalid);
    let toy = Mixture::new(vec![0.3, 0.7], vec![part(-1.0, 0.25)?, part(2.0, 0.64)?]).map_err(invalid)?;
    let mut rows = Vec::new();
    for (t, density, score) in TOY {
        let noised = toy.noised(s.alpha_bar(t)).map_err(invalid)?;
        let mut found = [0.0];
        noised.score(&[0.3], &mut found);
        rows.push(
            Comparison::new(format!("p(0.3), t = {t}"), noised.log_pdf(&[0.3]).exp()).reference(density).within(1e-9),
        );
        let row = Comparison::new(format!("score at 0.3, t = {t}"), found[0]).reference(score).within(1e-9);
        rows.push(if t == 300 { row.key() } else { row });
    }
    report.table("A mixture in one dimension: 0.3 N(-1, 0.25) + 0.7 N(2, 0.64)", rows);
    Ok(())
}

fn field(noised: &Mixture, t: usize) -> Chart {
    let axis = || linspace(-REACH, REACH, 90);
    let density = Grid::of(axis(), axis(), |x, y| noised.log_pdf(&[x, y]).exp());
    let feet = linspace(-REACH * 0.95, REACH * 0.95, 19);
    let arrows = feet.iter().flat_map(|&x| feet.iter().map(move |&y| (x, y))).map(|(x, y)| {
        let mut score = [0.0; 2];
        noised.score(&[x, y], &mut score);
        // Far from the data the score grows without bound: its root keeps short arrows visible.
        let length = score[0].hypot(score[1]).max(1e-300);
        ((x, y), (score[0] / length.sqrt(), score[1] / length.sqrt()))
    });
    let arrows: Vec<_> = arrows.collect();
    Chart::new(format!("t = {t}")).size(480, 480).contour(density, None).arrows(arrows, "")
}

/// Levels from the noisiest down: `n` of them, evenly.
fn levels(n: usize) -> Vec<usize> {
    (0..n).map(|i| LEVELS - i * LEVELS / n).collect()
}

fn failed(e: ScoreError) -> Error {
    Error::Internal(format!("sampling along the score: {e}"))
}

fn pairs(x: &[f64]) -> Vec<(f64, f64)> {
    x.chunks_exact(2).map(|p| (p[0], p[1])).collect()
}

/// Annealed Langevin dynamics: a few steps at each level.
fn langevin(noised: &[Diffused], s: &Schedule, visited: &[usize], seed: u64) -> Result<Vec<(f64, f64)>> {
    const EACH: usize = 5;
    const STEP_SIZE: f64 = 0.15;
    let levels: std::result::Result<Vec<Level>, _> = visited.iter().map(|t| Level::new(s, *t)).collect();
    let levels = levels.map_err(|e| Error::Internal(e.to_string()))?;
    let (mut walk, mut x) = (Langevin::new(seed, POINTS, 2), vec![0.0; 2 * POINTS]);
    walk.start(&mut x).map_err(failed)?;
    let score = |level: &Level, x: &[f64], out: &mut [f64]| {
        noised[level.t()].score(x, out);
        Ok(())
    };
    annealed(&mut walk, &levels, EACH, STEP_SIZE, &mut x, score).map_err(failed)?;
    Ok(pairs(&x))
}

/// The probability-flow ODE: no noise on the way.
fn flow(noised: &[Diffused], s: &Schedule, visited: &[usize], seed: u64) -> Result<Vec<(f64, f64)>> {
    let levels: Vec<usize> = visited.iter().copied().chain([0]).collect();
    let flow = Flow::new(s, &levels, Solver::default()).map_err(failed)?;
    let mut stream = Stream::new(seed, "flow", 0);
    let mut x: Vec<f64> = (0..2 * POINTS).map(|_| f64::from(stream.normal())).collect();
    let mut scratch = flow.scratch(x.len());
    for step in flow.steps() {
        let score = |level: &Level, x: &[f64], out: &mut [f64]| {
            noised[level.t()].score(x, out);
            Ok(())
        };
        step.advance(&mut x, &mut scratch, score).map_err(failed)?;
    }
    Ok(pairs(&x))
}

/// Shares of the points that belong to each component.
fn shares(data: &Mixture, points: &[(f64, f64)]) -> Vec<f64> {
    let mut sums = vec![0.0; data.weights().len()];
    let mut each = sums.clone();
    for &(x, y) in points {
        data.responsibilities(&[x, y], &mut each);
        sums.iter_mut().zip(&each).for_each(|(s, r)| *s += r / points.len() as f64);
    }
    sums
}

fn sampling(report: &mut Report, data: &Mixture, s: &Schedule, seed: u64, steps: usize) -> Result<()> {
    report.heading("Sampling along the score");
    let visited = levels(steps);
    let noised = Diffused::levels(data, s).map_err(failed)?;
    let mut stream = Stream::new(seed, "mixture", 0);
    let exact: Vec<(f64, f64)> = (0..POINTS)
        .map(|_| {
            let mut x = [0.0; 2];
            data.sample(&mut stream, &mut x);
            (x[0], x[1])
        })
        .collect();
    let all = [
        ("exact", exact),
        ("Langevin", langevin(&noised, s, &visited, seed)?),
        ("probability flow", flow(&noised, s, &visited, seed)?),
    ];
    let mut row = Row::new();
    let mut rows = Vec::new();
    for (i, (name, points)) in all.iter().enumerate() {
        let mean_log = points.iter().map(|p| data.log_pdf(&[p.0, p.1])).sum::<f64>() / points.len() as f64;
        let mut cells = vec![(*name).to_owned(), format!("{mean_log:.3}")];
        cells.extend(shares(data, points).iter().map(|s| format!("{s:.3}")));
        rows.push(cells);
        let chart = Chart::new(*name).size(400, 400).x_range(-REACH, REACH).y_range(-REACH, REACH);
        row = row.with(chart.scatter(points.iter().copied(), "", 0.5, 4.0).colour(crate::plot::tab10(i)));
    }
    let names = ["sampler", "mean log p", "share of part 1", "part 2", "part 3"];
    report.columns(format!("{POINTS} points each, {steps} levels (weights: 0.3, 0.25, 0.45)"), names, rows);
    let caption = "Points of the mixture itself, of annealed Langevin dynamics, and of the probability-flow ODE, the \
                   latter two with nothing but the score.";
    report.figure("samples", caption, &row)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both samplers find all parts of the mixture, in about their shares. Seen red with 0.7 of the flow's score,
    /// and with no step of Langevin's. Seen red with 0.7 epsilon, and without
    /// Langevin's noise.
    #[test]
    fn samples_follow_the_mixture() {
        let (s, data) = (schedule().expect("the book's"), mixture().expect("a mixture"));
        let visited = levels(200);
        let noised = Diffused::levels(&data, &s).expect("levels");
        for (name, points) in [
            ("langevin", langevin(&noised, &s, &visited, 1).expect("points")),
            ("flow", flow(&noised, &s, &visited, 1).expect("points")),
        ] {
            let shares = shares(&data, &points);
            // Four standard errors of a share of a thousand points, and what the steps' size costs.
            let close = shares.iter().zip(data.weights()).all(|(a, b)| (a - b).abs() < 0.08);
            let mean_log = points.iter().map(|p| data.log_pdf(&[p.0, p.1])).sum::<f64>() / points.len() as f64;
            assert!(close && mean_log > -2.8, "{name}: {shares:?}, {mean_log}");
        }
    }
}
