//! Report of step 3: a multivariate normal fitted to columns.
use super::{BookData, around, points};
use crate::data::table::Table;
use crate::error::Result;
use crate::plot::{Chart, Grid, Row, Surface, arange, linspace};
use crate::report::{Comparison, Report, number};
use crate::stats::covariance;
use crate::systems::mvn::{anatomy, log_likelihood};
use nijimi_runtime::raw::dist::MultivariateNormal;

/// Rows in a scatter plot, as in the book.
const SHOWN: usize = 500;

fn normal(mean: &[f64], covariance: &[f64]) -> Result<MultivariateNormal> {
    Ok(MultivariateNormal::new(mean.to_vec(), covariance.to_vec()).map_err(nijimi_runtime::Error::from)?)
}

/// Adds the book's surfaces to a report, which need no data: z = x^2 + y^2, and a normal in two dimensions.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn surfaces(report: &mut Report) -> Result<()> {
    let bowl = |x: f64, y: f64| x * x + y * y;
    let coarse = Grid::of(linspace(-2.0, 2.0, 5), linspace(-2.0, 2.0, 5), bowl);
    let fine = || Grid::of(arange(-2.0, 2.0, 0.1), arange(-2.0, 2.0, 0.1), bowl);
    let row = Row::new().with(Surface::new("", coarse)).with(Surface::new("", fine()));
    let row = row.with(Chart::new("").x_label("x").y_label("y").contour(fine(), None));
    report.figure("step3-bowl", "z = x^2 + y^2", &row)?;
    let n = normal(&[0.5, -0.2], &[2.0, 0.3, 0.3, 0.5])?;
    let grid = || Grid::of(arange(-5.0, 5.0, 0.1), arange(-5.0, 5.0, 0.1), |x, y| n.log_pdf(&[x, y]).exp());
    let row = Row::new().with(Surface::new("", grid()));
    let row = row.with(Chart::new("").x_label("x").y_label("y").contour(grid(), None));
    report.figure("step3-normal", "A normal distribution in two dimensions", &row)?;
    let demo = normal(&[1.0, 2.0], &[1.0, 0.0, 0.0, 1.0])?.log_pdf(&[0.0, 0.0]).exp();
    let peak = n.log_pdf(&[0.5, -0.2]).exp();
    report.table(
        "Densities",
        [
            Comparison::new("N((0, 0); (1, 2), I)", demo).notebook(0.013064233284684921).within(1e-9),
            Comparison::new("peak of the normal pictured", peak).reference(0.1668397135325737).within(1e-9),
        ],
    );
    Ok(())
}

/// Adds step 3 to a report: the fit (the most likely one, divided by n), and, of two columns, the density over the
/// data.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn step3(report: &mut Report, table: &Table, fitted: &MultivariateNormal) -> Result<()> {
    let book = BookData::of(table) == Some(BookData::HeightWeight);
    let known = |value: f64| book.then_some(value);
    let (dim, n) = (table.dim(), table.rows() as f64);
    report.heading("Step 3: the multivariate normal");
    let (mean, mle) = covariance(table, 0);
    let (mle, unbiased) = (normal(&mean, &mle)?, normal(&mean, &covariance(table, 1).1)?);
    let (a0, a1) = (anatomy(&mle), anatomy(&unbiased));
    report.text(format!("{} rows of {}.", table.rows(), table.names().join(", ")));
    let eigen = |i: usize| a1.eigenvalues[i];
    report.table(
        "The fit",
        [
            Comparison::new("log-likelihood per row, covariance divided by n", log_likelihood(table, &mle) / n)
                .reference(known(-5.932666373130396))
                .within(1e-9)
                .key(),
            Comparison::new("the same, divided by n - 1", log_likelihood(table, &unbiased) / n)
                .reference(known(-5.9326663739304175))
                .within(1e-9),
            Comparison::new("determinant, divided by n", a0.determinant)
                .reference(known(487.6405777294701))
                .within(1e-9)
                .key(),
            Comparison::new("determinant, divided by n - 1", a1.determinant)
                .reference(known(487.6795913164876))
                .within(1e-9),
            Comparison::new("least eigenvalue, divided by n - 1", eigen(0))
                .reference(known(12.598403292655494))
                .within(1e-9),
            Comparison::new("greatest eigenvalue", eigen(dim - 1)).reference(known(38.709634863077525)).within(1e-9),
            Comparison::new("greatest density of the fit", fitted.log_pdf(fitted.mean()).exp()),
        ],
    );
    let wide = (0..dim)
        .map(|i| format!("cov {}", table.names()[i]))
        .chain((0..dim).map(|i| format!("corr {}", table.names()[i])));
    let names: Vec<String> = ["column".to_owned(), "mean".to_owned()].into_iter().chain(wide).collect();
    let line = |i: usize| {
        let row = |m: &[f64]| m[i * dim..(i + 1) * dim].iter().map(|v| number(*v)).collect::<Vec<_>>();
        [vec![table.names()[i].clone(), number(fitted.mean()[i])], row(fitted.covariance()), row(&a0.correlations)]
            .concat()
    };
    report.columns("Means, covariances of the fit, correlations", names, (0..dim).map(line));
    if dim == 2 { pictures(report, table, fitted, book) } else { Ok(()) }
}

fn pictures(report: &mut Report, table: &Table, fitted: &MultivariateNormal, book: bool) -> Result<()> {
    let (x, y) = (table.names()[0].as_str(), table.names()[1].as_str());
    let (x, y) = if book { ("Height(cm)", "Weight(kg)") } else { (x, y) };
    let chart = || Chart::new("").x_label(x).y_label(y);
    let shown = points(table, SHOWN);
    let caption = format!("The first {} rows", shown.len());
    report.figure("step3-data", caption, &chart().scatter(shown.clone(), "", 1.0, 8.0))?;
    let [across, up] = [0, 1].map(|i| around([table.columns()[i].as_slice()]));
    let grid = || {
        let density = |x: f64, y: f64| fitted.log_pdf(&[x, y]).exp();
        if book {
            return Grid::of(arange(150.0, 195.0, 0.5), arange(45.0, 75.0, 0.5), density);
        }
        Grid::of(linspace(across.0, across.1, 90), linspace(up.0, up.1, 90), density)
    };
    let mut over = chart();
    if book {
        over = over.x_range(156.0, 189.0).y_range(36.0, 79.0);
    }
    let row = Row::new().with(Surface::new("", grid()).axes(x, y, "density"));
    let row = row.with(over.scatter(shown, "", 1.0, 8.0).contour(grid(), None));
    report.figure("step3-fit", "The fitted normal, as a surface and over the rows", &row)
}
