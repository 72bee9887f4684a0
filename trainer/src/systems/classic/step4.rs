//! Report of step 4: the Gaussian mixture, its density and its samples.
use super::{BookData, around, points};
use crate::data::table::Table;
use crate::error::Result;
use crate::plot::{Chart, Grid, Row, Surface, arange, linspace};
use crate::report::{Comparison, Report, number};
use crate::systems::mixture::Parameters;
use crate::systems::mixture::density::{collapse, mean_log_likelihood};
use nijimi_runtime::raw::dist::Mixture;
use nijimi_runtime::raw::rng::Stream;

/// Samples in a picture, as in the book.
pub(super) const SAMPLES: usize = 500;

/// Names of the axes, and a density's grid of the book's extent for its data, else around the data.
pub(super) struct Frame {
    pub x: String,
    pub y: String,
    pub book: bool,
    ranges: [(f64, f64); 2],
}

impl Frame {
    pub fn of(table: &Table) -> Self {
        let book = BookData::of(table) == Some(BookData::OldFaithful);
        let name = |i: usize| table.names()[i].clone();
        let (x, y) = if book { ("Eruptions(Min)".into(), "Waiting(Min)".into()) } else { (name(0), name(1)) };
        let ranges = [0, 1].map(|i| around([table.columns()[i].as_slice()]));
        Self { x, y, book, ranges }
    }
    pub fn chart(&self) -> Chart {
        Chart::new("").x_label(&*self.x).y_label(&*self.y)
    }
    /// `fine` is the book's step along the second axis.
    pub fn grid(&self, mixture: &Mixture, fine: f64) -> Grid {
        let density = |x: f64, y: f64| mixture.log_pdf(&[x, y]).exp();
        if self.book {
            return Grid::of(arange(1.0, 6.0, 0.1), arange(40.0, 100.0, fine), density);
        }
        let [across, up] = self.ranges;
        Grid::of(linspace(across.0, across.1, 100), linspace(up.0, up.1, 100), density)
    }
}

/// `count` draws of a mixture in two dimensions.
pub(super) fn samples(mixture: &Mixture, count: usize, seed: u64) -> Vec<(f64, f64)> {
    let (mut draw, mut x) = (Stream::new(seed, "generated", 0), [0.0; 2]);
    let mut one = || {
        mixture.sample(&mut draw, &mut x);
        (x[0], x[1])
    };
    (0..count).map(|_| one()).collect()
}

/// Adds step 4 to a report: the data, and `parameters`' mixture (the book's are rounded ones) with its samples, if
/// there are two columns; why the likelihood has no maximum.
///
/// # Errors
/// If the parameters are no mixture of the table's dimension, or a figure cannot be drawn.
pub fn step4(report: &mut Report, table: &Table, parameters: &Parameters, seed: u64) -> Result<()> {
    let mixture = parameters.mixture()?;
    let rounded = *parameters == Parameters::book_rounded();
    report.heading("Step 4: the Gaussian mixture");
    report.text(format!("{} rows of {}.", table.rows(), table.names().join(", ")));
    if table.dim() == 2 {
        let frame = Frame::of(table);
        let known = |value: f64| (frame.book && rounded).then_some(value);
        let p = |x: f64, y: f64| mixture.log_pdf(&[x, y]).exp();
        if known(0.0).is_some() {
            let line = |name: &str, ours: f64, book: f64| Comparison::new(name, ours).reference(book).within(1e-9);
            report.table(
                "Densities of the book's mixture",
                [
                    line("p(2, 54.5)", p(2.0, 54.5), 0.03785463963345765),
                    line("p(4.3, 80)", p(4.3, 80.0), 0.0452081860082869),
                    line("p(3, 67)", p(3.0, 67.0), 0.0001973323486551629),
                    line("p(3.6, 79)", p(3.6, 79.0), 0.009359025752525797),
                    line(
                        "mean log-likelihood of the data",
                        mean_log_likelihood(table, &mixture, 0.0),
                        -4.1593671146696485,
                    ),
                ],
            );
        }
        report.figure("step4-data", "The data", &frame.chart().scatter(points(table, 5000), "", 1.0, 8.0))?;
        let drawn = frame.chart().scatter([], "", 1.0, 8.0).scatter(samples(&mixture, SAMPLES, seed), "", 0.7, 8.0);
        report.figure("step4-samples", format!("{SAMPLES} samples of the mixture"), &drawn)?;
        let row = Row::new().with(Surface::new("", frame.grid(&mixture, 0.1)).axes(&*frame.x, &*frame.y, "density"));
        let row = row.with(frame.chart().contour(frame.grid(&mixture, 0.1), None));
        report.figure("step4-mixture", "The mixture's density", &row)?;
    }
    unbounded(report, table, parameters)
}

fn unbounded(report: &mut Report, table: &Table, parameters: &Parameters) -> Result<()> {
    if parameters.k() < 2 {
        return Ok(());
    }
    let sigmas: Vec<f64> = (0..10).map(|i| 10f64.powi(-3 * i)).collect();
    let values = collapse(table, parameters, 0, &sigmas)?;
    report.text(
        "The likelihood has no maximum: as one component shrinks onto a single row, it grows without bound. \
         Expectation-maximization climbs to a local maximum instead, and a floor under the covariances keeps it from \
         the singularity.",
    );
    let lines = sigmas.iter().zip(&values).map(|(s, v)| vec![number(*s), number(*v)]);
    report.columns("A component on the first row", ["sigma", "mean log-likelihood"], lines);
    Ok(())
}
