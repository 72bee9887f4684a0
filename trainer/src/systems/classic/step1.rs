//! Report of step 1: the normal distribution, means and sums of uniforms.
use super::bars;
use crate::error::Result;
use crate::plot::{Chart, Row, linspace};
use crate::report::{Comparison, Report};
use crate::stats::{Moments, ks_test, uniform_means, uniform_sums};
use nijimi_runtime::raw::dist::{IrwinHall, Normal};

/// Repetitions, as in the book.
const COUNT: usize = 10_000;

fn normal(mean: f64, sigma: f64) -> Result<Normal> {
    Ok(Normal::new(mean, sigma).map_err(nijimi_runtime::Error::from)?)
}

fn curve(normal: &Normal, from: f64, to: f64, n: usize) -> Vec<(f64, f64)> {
    linspace(from, to, n).into_iter().map(|x| (x, normal.pdf(x))).collect()
}

/// Adds step 1 to a report; `seed` keys the draws.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn step1(report: &mut Report, seed: u64) -> Result<()> {
    report.heading("Step 1: the normal distribution");
    let standard = normal(0.0, 1.0)?;
    report.table(
        "Densities of the standard normal",
        [
            Comparison::new("density of N(0, 1) at 0", standard.pdf(0.0))
                .reference(0.3989422804014327)
                .within(1e-12)
                .key(),
            Comparison::new("density of N(0, 1) at 1", standard.pdf(1.0)).reference(0.24197072451914337).within(1e-12),
            Comparison::new("density of N(0, 1) at 2", standard.pdf(2.0)).reference(0.05399096651318806).within(1e-12),
            Comparison::new("density of N(0, 1) at 5", standard.pdf(5.0))
                .reference(1.4867195147342977e-06)
                .within(1e-12),
            Comparison::new("P(x <= 1)", standard.cdf(1.0)),
            Comparison::new("P(x > 5)", standard.survival(5.0)),
            Comparison::new("the x with P = 0.975 below it", standard.quantile(0.975)),
        ],
    );
    let labelled = |title: &str| Chart::new(title).x_label("x").y_label("y");
    report.figure("step1-normal", "The standard normal", &labelled("").line(curve(&standard, -5.0, 5.0, 100), ""))?;
    let (mut means, mut sigmas) = (labelled("sigma = 1"), labelled("mu = 0"));
    for mean in [-3.0, 0.0, 5.0] {
        means = means.line(curve(&normal(mean, 1.0)?, -10.0, 10.0, 1000), format!("mu={mean}"));
    }
    for sigma in [0.5, 1.0, 2.0] {
        sigmas = sigmas.line(curve(&normal(0.0, sigma)?, -10.0, 10.0, 1000), format!("sigma={sigma}"));
    }
    report.figure("step1-parameters", "What the parameters do", &Row::new().with(means).with(sigmas))?;
    means_of_uniforms(report, seed)?;
    sums_of_five(report, seed)
}

fn means_of_uniforms(report: &mut Report, seed: u64) -> Result<()> {
    let mut row = Row::new().columns(2);
    let mut lines = Vec::new();
    for n in [1, 2, 4, 10] {
        let means = uniform_means(n, COUNT, seed);
        let (edges, densities) = bars(&means);
        let theory = normal(0.5, (1.0 / (12.0 * n as f64)).sqrt())?;
        let chart = Chart::new(format!("N={n}")).x_label("x").y_label("Probability Density");
        let chart = chart.x_range(-0.05, 1.05).y_range(0.0, 5.0).histogram(&edges, &densities, "", 1.0);
        row = row.with(chart.line(curve(&theory, -0.05, 1.05, 500), ""));
        let m = Moments::of(&means);
        lines.push(Comparison::new(format!("sigma of means of {n}"), m.sigma()).reference(theory.sigma()).within(0.05));
        let excess = Comparison::new(format!("excess kurtosis of means of {n}"), m.excess_kurtosis);
        lines.push(excess.reference(-1.2 / n as f64));
    }
    let caption = format!("{COUNT} means of N uniforms, and the normal of the central limit theorem");
    report.figure("step1-means", &caption, &row)?;
    report.table(format!("{COUNT} means of uniforms beside theory"), lines);
    Ok(())
}

fn sums_of_five(report: &mut Report, seed: u64) -> Result<()> {
    let sums = uniform_sums(5, COUNT, seed);
    let exact = IrwinHall::new(5).map_err(nijimi_runtime::Error::from)?;
    let limit = normal(2.5, (5.0f64 / 12.0).sqrt())?;
    let (edges, densities) = bars(&sums);
    let law = linspace(0.0, 5.0, 500).into_iter().map(|x| (x, exact.pdf(x)));
    let chart = Chart::new("N=5").x_range(-1.0, 6.0).histogram(&edges, &densities, "", 0.7);
    let chart = chart.line(curve(&limit, -1.0, 6.0, 1000), "normal").line(law, "Irwin-Hall");
    report.figure("step1-sums", "Sums of 5 uniforms, the limiting normal, and their exact law", &chart)?;
    let test = ks_test(&sums, |x| exact.cdf(x));
    let against = ks_test(&sums, |x| limit.cdf(x));
    let m = Moments::of(&sums);
    report.table(
        format!("{COUNT} sums of 5 uniforms"),
        [
            Comparison::new("mean", m.mean).reference(2.5).within(0.01),
            Comparison::new("sigma", m.sigma()).reference(0.6454972243679028).within(0.03),
            Comparison::new("peak of the normal", limit.pdf(2.5)).reference(0.6180387232371034).within(1e-12),
            Comparison::new("peak of Irwin-Hall(5)", exact.pdf(2.5)).reference(0.5989583333333334).within(1e-12),
            Comparison::new("Kolmogorov-Smirnov distance to Irwin-Hall(5)", test.distance),
            Comparison::new("probability of a distance as large by chance", test.p_value).key(),
            Comparison::new("distance to the normal", against.distance),
        ],
    );
    Ok(())
}
