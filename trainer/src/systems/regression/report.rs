//! The report of a fitted function: its rows with the curve, the loss, and numbers beside the book's.
use super::Fitted;
use super::examples::Examples;
use crate::error::Result;
use crate::plot::{Chart, linspace, tab10};
use crate::report::{Comparison, Report};

/// What the book prints of its own run.
pub struct Book {
    /// Losses before every so many updates, and before the last.
    pub losses: &'static [f64],
    /// The relative difference that rounding in f32 may make of each.
    pub within: fn(usize) -> f64,
}

/// Rows shown at most.
const SHOWN: usize = 1000;
/// Points of a curve.
const POINTS: usize = 200;

/// Makes the report; `every` is the number of updates between losses.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn report(title: &str, f: &Fitted, examples: &Examples, every: u64, book: Option<&Book>) -> Result<Report> {
    let mut report = Report::new(title);
    if examples.inputs() == 1 {
        let rows = examples.x.iter().copied().zip(examples.y.iter().copied()).take(SHOWN);
        let [least, greatest] = examples.ranges()[0];
        let curve = linspace(least, greatest, POINTS).into_iter().map(|x| (x, f.predict(&[x])[0]));
        let chart = Chart::new("").x_label(&examples.columns[0]).y_label(&examples.columns[1]);
        let chart = chart.scatter(rows, "rows", 1.0, 4.0).line(curve, "fitted").colour(tab10(3));
        report.figure("fit", "The rows, and the fitted function.", &chart)?;
    } else {
        let predicted = examples.x.chunks_exact(examples.inputs()).map(|x| f.predict(x)[0]);
        let pairs = predicted.zip(examples.y.iter().copied()).take(SHOWN);
        let output = examples.columns.last().map_or("", String::as_str);
        let chart = Chart::new("").x_label(format!("predicted {output}")).y_label(output);
        report.figure(
            "fit",
            "The output of each row against what is predicted.",
            &chart.scatter(pairs, "", 0.7, 4.0),
        )?;
    }
    let losses = f.losses.iter().enumerate().map(|(i, l)| (i as f64, *l));
    let chart = Chart::new("").x_label("update").y_label("mean squared error").log_y().line(losses, "");
    report.figure("loss", "The loss before each update.", &chart)?;
    let printed = f.losses.iter().enumerate().filter(|(i, _)| (*i as u64).is_multiple_of(every));
    let printed = printed.chain(f.losses.iter().enumerate().next_back());
    let row = |(i, (step, loss)): (usize, (usize, &f64))| {
        let c = Comparison::new(format!("loss before update {step}"), *loss);
        match book.and_then(|b| Some((b, *b.losses.get(i)?))) {
            Some((b, value)) => c.notebook(value).within((b.within)(i)),
            None => c,
        }
    };
    let mut rows: Vec<Comparison> = printed.enumerate().map(row).collect();
    if let Some(last) = rows.pop() {
        rows.push(last.key());
    }
    report.table("Losses", rows);
    Ok(report)
}
