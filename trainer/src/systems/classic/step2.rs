//! Report of step 2: a normal fitted to one column.
use super::{BookData, around, bars};
use crate::data::table::Table;
use crate::error::Result;
use crate::plot::{Chart, linspace};
use crate::report::{Comparison, Report};
use crate::stats::{Histogram, Moments};
use crate::systems::normal::{gradient, log_likelihood};
use nijimi_runtime::raw::dist::Normal;
use nijimi_runtime::raw::rng::Stream;

/// Numbers drawn from the fit, as in the book.
const GENERATED: usize = 10_000;

/// Adds step 2 to a report: the data, the fit, probabilities of values at most and above given bounds, generated data.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn step2(
    report: &mut Report,
    table: &Table,
    normal: &Normal,
    at_most: &[f64],
    above: &[f64],
    seed: u64,
) -> Result<()> {
    let values = &table.columns()[0];
    let (name, book) = (&table.names()[0], BookData::of(table) == Some(BookData::Heights));
    let known = |value: f64| book.then_some(value);
    let (m, n) = (Moments::of(values), values.len());
    let (mean, sigma) = (normal.mean(), normal.sigma());
    let total = log_likelihood(values, mean, sigma);
    let slope = gradient(values, mean, sigma);
    report.heading("Step 2: maximum likelihood");
    report.text(format!("{n} values of {name}, from {} to {}.", m.min, m.max));
    let mut lines = vec![
        Comparison::new("mu", mean).reference(known(172.70250853668)).within(1e-9).key(),
        Comparison::new("sigma (divided by n)", sigma).reference(known(4.830167473396299)).within(1e-9).key(),
        Comparison::new("log-likelihood", total).reference(known(-74845.49184622633)).within(1e-9).key(),
        Comparison::new("log-likelihood per value", total / n as f64)
            .reference(known(-2.9938196738490532))
            .within(1e-9),
        Comparison::new("its derivative by mu, in units of n / sigma", slope[0] * sigma / n as f64),
        Comparison::new("its derivative by sigma, in units of n / sigma", slope[1] * sigma / n as f64),
        Comparison::new("skewness of the data", m.skewness).reference(known(-0.005657639285787522)).within(1e-9),
        Comparison::new("excess kurtosis", m.excess_kurtosis).reference(known(-0.035392361976888775)).within(1e-9),
        Comparison::new("bins by numpy's auto", Histogram::auto(values).counts.len() as f64)
            .reference(known(85.0))
            .within(0.0),
    ];
    let share = |count: usize| count as f64 / n as f64;
    for a in at_most {
        let value = (book && *a == 160.0).then_some(0.004271406830855);
        lines.push(Comparison::new(format!("P({name} <= {a})"), normal.cdf(*a)).notebook(value).within(1e-9));
        let count = values.iter().filter(|v| *v <= a).count();
        lines.push(Comparison::new(format!("share of the data <= {a}"), share(count)));
    }
    for b in above {
        let value = (book && *b == 180.0).then_some(0.06541774339950823);
        lines.push(Comparison::new(format!("P({name} > {b})"), normal.survival(*b)).notebook(value).within(1e-9));
        let count = values.iter().filter(|v| *v > b).count();
        lines.push(Comparison::new(format!("share of the data > {b}"), share(count)));
    }
    report.table("The fit", lines);

    let (edges, densities) = bars(values);
    let chart =
        || Chart::new("").x_label(if book { "Height(cm)" } else { name.as_str() }).y_label("Probability Density");
    let (from, to) = if book { (150.0, 190.0) } else { around([values.as_slice()]) };
    let curve = linspace(from, to, 1000).into_iter().map(|x| (x, normal.pdf(x)));
    report.figure(
        "step2-fit",
        "The data and the fitted normal",
        &chart().histogram(&edges, &densities, "", 1.0).line(curve, ""),
    )?;
    report.figure("step2-data", "The data", &chart().histogram(&edges, &densities, "", 1.0))?;
    let mut draw = Stream::new(seed, "generated", 0);
    let generated: Vec<f64> = (0..GENERATED).map(|_| normal.sample(&mut draw)).collect();
    let (other_edges, other) = bars(&generated);
    let both = chart().histogram(&edges, &densities, "original", 0.7).histogram(&other_edges, &other, "generated", 0.7);
    report.figure("step2-generated", format!("The data and {GENERATED} numbers drawn from the fit"), &both)
}
