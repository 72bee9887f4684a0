//! Report of step 5: expectation-maximization.
use super::points;
use super::step4::{Frame, SAMPLES, samples};
use crate::data::table::Table;
use crate::error::Result;
use crate::plot::{Chart, Row, Surface};
use crate::report::{Comparison, Report, number};
use crate::systems::mixture::density::{hard_counts, mean_log_likelihood};
use crate::systems::mixture::{Fit, Options, Parameters, Start};

/// What the book adds to densities before it takes their logarithm.
pub const BOOK_EPSILON: f64 = 1e-8;
/// The mean log-likelihoods with [`BOOK_EPSILON`] that the book's start leads to on Old Faithful; it prints the first
/// nine, rounded.
const BOOK_TRACE: [f64; 10] = [
    -16.538249470807717,
    -4.415487912859895,
    -4.356967088689444,
    -4.302349361116249,
    -4.245319942767753,
    -4.200096778654442,
    -4.1641664402824405,
    -4.155724294329256,
    -4.155395069339017,
    -4.155381313462307,
];
/// The optimum to which that start converges.
const BOOK_OPTIMUM: f64 = -4.155382206561549;

/// Adds step 5 to a report: how EM went, the fit beside a single normal, and, of two columns, its density over the
/// data.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn step5(report: &mut Report, table: &Table, options: &Options, fit: &Fit, seed: u64) -> Result<()> {
    let mixture = fit.parameters().mixture()?;
    let known = table.dim() == 2 && Frame::of(table).book && options.k == 2;
    let from_book_start = known && options.start == Start::Given(Parameters::book_start());
    let (n, k, dim) = (table.rows() as f64, fit.parameters().k(), table.dim());
    let single = crate::systems::mvn::fit(table, false);
    report.heading("Step 5: expectation-maximization");
    report.text(format!(
        "{k} components with {} covariances, {} updates, {}.",
        options.shape,
        fit.iterations(),
        if fit.converged { "converged" } else { "stopped before it converged" }
    ));
    let mean = fit.mean_log_likelihood();
    let free = options.shape.free(k, dim) as f64;
    // Any tolerance ends a little below the optimum.
    let near = 1e-5;
    let mut lines = vec![
        Comparison::new("mean log-likelihood", mean).reference(known.then_some(BOOK_OPTIMUM)).within(near).key(),
        Comparison::new("log-likelihood", mean * n).reference(known.then_some(BOOK_OPTIMUM * n)).within(near),
        Comparison::new("free parameters", free),
        Comparison::new("Bayesian information criterion", free * n.ln() - 2.0 * mean * n),
    ];
    if let Ok(single) = single {
        let value = crate::systems::mvn::log_likelihood(table, &single) / n;
        let line = Comparison::new("mean log-likelihood of a single normal", value);
        lines.push(line.reference(known.then_some(-4.74189979798755)).within(1e-9));
    }
    report.table("The fit", lines);
    let counts = hard_counts(table, &mixture);
    let names = ["component", "weight", "mean", "covariance", "rows most likely its own"];
    let list = |v: &[f64]| v.iter().map(|v| number(*v)).collect::<Vec<_>>().join(", ");
    let line = |c: usize| {
        let p = fit.parameters();
        vec![(c + 1).to_string(), number(p.weights[c]), list(p.mean(c)), list(p.covariance(c)), counts[c].to_string()]
    };
    report.columns("The components", names, (0..k).map(line));
    trace(report, table, fit, from_book_start)?;
    if dim == 2 { pictures(report, table, fit, seed) } else { Ok(()) }
}

fn trace(report: &mut Report, table: &Table, fit: &Fit, from_book_start: bool) -> Result<()> {
    if from_book_start {
        let mut lines = Vec::new();
        for (i, (step, book)) in fit.steps.iter().zip(BOOK_TRACE).enumerate() {
            let value = mean_log_likelihood(table, &step.parameters.mixture()?, BOOK_EPSILON);
            lines.push(Comparison::new(format!("after {i} updates"), value).reference(book).within(1e-9));
        }
        report.table(
            "The trace as the book measures it: mean of ln(p + 1e-8), whose notebook prints three decimals",
            lines,
        );
    }
    // The first steps of a long climb hide the rest: the chart begins where the parameters have left the start.
    let from = usize::from(fit.steps.len() > 2);
    let values = fit.steps.iter().enumerate().skip(from).map(|(i, s)| (i as f64, s.mean_log_likelihood));
    let chart = Chart::new("").x_label("updates").y_label("mean log-likelihood").line(values, "").markers();
    report.figure("step5-trace", "The climb, from the first update on", &chart)
}

fn pictures(report: &mut Report, table: &Table, fit: &Fit, seed: u64) -> Result<()> {
    let (frame, mixture) = (Frame::of(table), fit.parameters().mixture()?);
    let data = points(table, 5000);
    let over = frame.chart().scatter(data.clone(), "", 1.0, 8.0).contour(frame.grid(&mixture, 1.0), None);
    let row = Row::new().with(over);
    let row = row.with(Surface::new("", frame.grid(&mixture, 1.0)).axes(&*frame.x, &*frame.y, "density"));
    report.figure("step5-fit", "The fitted mixture over the data", &row)?;
    let generated = samples(&mixture, SAMPLES, seed);
    let both = frame.chart().scatter(data, "original", 0.7, 8.0).scatter(generated, "generated", 0.7, 8.0);
    report.figure("step5-generated", format!("The data and {SAMPLES} samples of the fit"), &both)
}
