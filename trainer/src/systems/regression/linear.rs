//! The book's step 6.2: linear regression, by gradient descent and, beside it, by least squares.
use super::examples::Examples;
use super::report::{Book, report};
use super::{Fitted, RegressionSettings, fit, print_losses};
use crate::error::Result;
use crate::fit::{Ended, Record};
use crate::launch;
use crate::mt19937::Mt19937;
use crate::nn::mlp::Mlp;
use crate::report::Comparison;
use crate::say::say;
use crate::stats::FitError;
use crate::target;
use argh::{ArgsInfo, FromArgs};
use dfdx::prelude::Cpu;
use nalgebra::{DMatrix, DVector};
use nijimi_cli::number;
use std::path::PathBuf;

/// Fit a linear model to rows of numbers by gradient descent (book step 6.2).
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "regression")]
pub struct RegressionArgs {
    /// table of numbers, the output in its last column (default: the book's 100 rows, y = 5 + 2 x + noise)
    #[argh(option)]
    data: Option<PathBuf>,
    /// the columns to take, by name or number from 1, with commas; the last is the output (default: all)
    #[argh(option)]
    columns: Option<String>,
    /// the weight file to write
    #[argh(option)]
    out: PathBuf,
    /// folder of the report (default: the weight file's name without its extension, with -report)
    #[argh(option)]
    report: Option<PathBuf>,
    /// updates (default 100)
    #[argh(option, from_str_fn(number::times), default = "100")]
    iterations: u64,
    /// learning rate (default 0.1)
    #[argh(option, from_str_fn(number::positive), default = "0.1")]
    lr: f32,
    /// rows in a batch (default: all)
    #[argh(option, from_str_fn(number::count))]
    batch: Option<usize>,
    /// updates between losses printed (default 10)
    #[argh(option, from_str_fn(number::times), default = "10")]
    every: u64,
    /// seed of the book's rows, and of the order of batches (default 0)
    #[argh(option, default = "0")]
    seed: u64,
    /// name of the model in the file (default: the table's)
    #[argh(option)]
    name: Option<String>,
}

/// What the book's notebook prints, every 10 updates.
const BOOK: Book = Book {
    losses: &[
        41.897_964_477_539_06,
        0.224_832_043_051_719_67,
        0.092_520_810_663_700_1,
        0.088_801_555_335_521_7,
        0.086_274_579_167_366_03,
        0.084_356_747_567_653_66,
        0.082_900_531_589_984_9,
        0.081_794_843_077_659_6,
        0.080_955_304_205_417_63,
        0.080_317_839_980_125_43,
        0.079_876_430_332_660_67,
    ],
    within: |_| 1e-5,
};

/// A line in f64.
#[derive(Clone, Debug)]
pub struct Line {
    /// A slope for each input.
    pub slopes: Vec<f64>,
    /// The output where all inputs are 0.
    pub intercept: f64,
    /// Mean squared residual.
    pub mean_squared_error: f64,
}

/// The line of least squares, by a QR decomposition of the standardized columns.
///
/// # Errors
/// If there are fewer rows than parameters, or a column is a linear function of the others.
pub fn least_squares(examples: &Examples) -> Result<Line> {
    let (n, d) = (examples.y.len(), examples.inputs());
    examples.enough_for(d + 1)?;
    let means: Vec<f64> = (0..d).map(|i| examples.x.iter().skip(i).step_by(d).sum::<f64>() / n as f64).collect();
    let mean = examples.y.iter().sum::<f64>() / n as f64;
    let x = DMatrix::from_fn(n, d, |r, c| examples.x[r * d + c] - means[c]);
    let y = DVector::from_iterator(n, examples.y.iter().map(|v| v - mean));
    let norms: Vec<f64> = x.column_iter().map(|c| c.norm()).collect();
    let qr = x.clone().qr();
    let r = qr.r();
    if let Some(i) = (0..d).find(|i| r[(*i, *i)].abs() <= 1e-10 * norms[*i]) {
        return Err(FitError::Singular { column: i + 1, name: examples.columns[i].clone() }.into());
    }
    let slopes = r.solve_upper_triangular(&(qr.q().transpose() * &y)).expect("no zero on the diagonal");
    let intercept = mean - means.iter().zip(slopes.iter()).map(|(m, s)| m * s).sum::<f64>();
    let mean_squared_error = (x * &slopes - y).norm_squared() / n as f64;
    Ok(Line { slopes: slopes.iter().copied().collect(), intercept, mean_squared_error })
}

/// Fits by gradient descent from 0.
///
/// # Errors
/// Columns that cannot be fitted, and a loss that is not finite.
pub fn by_descent(examples: &Examples, settings: &RegressionSettings) -> Result<Fitted> {
    let (device, widths) = (Cpu::default(), [examples.inputs(), 1]);
    fit(&device, Mlp::zero(&device, &widths), &widths, examples, settings)
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read or fitted, settings that make no sense, a loss that is lost.
pub fn run(a: &RegressionArgs) -> Result<Ended> {
    launch::obeyed(&[("--columns", "the book's rows (no --data)", a.data.is_none() && a.columns.is_some())])?;
    let folder =
        target::prove_run(&a.out, a.report.as_ref(), a.data.as_deref().map(|data| ("--data", data)).as_slice())?;
    let examples = match &a.data {
        Some(path) => Examples::read(path, a.columns.as_deref())?,
        None => Examples::book_line(&mut Mt19937::new(a.seed)),
    };
    let best = least_squares(&examples)?;
    let settings = RegressionSettings { iterations: a.iterations, lr: a.lr, batch: a.batch, adam: false, seed: a.seed };
    let fitted = by_descent(&examples, &settings)?;
    print_losses(&fitted.losses, a.every);
    let (w, b) = (&fitted.state["layers.0.weight"].data, fitted.state["layers.0.bias"].data[0]);
    say!("slope {w:?}, intercept {b}, mean squared error {}", fitted.mean_squared_error(&examples));
    say!(
        "least squares: slope {:?}, intercept {}, mean squared error {}",
        best.slopes,
        best.intercept,
        best.mean_squared_error
    );
    let record = Record { steps: a.iterations, command: launch::command_line(), ..Record::default() };
    let name = launch::table_name(a.name.as_ref(), a.data.as_deref(), "line");
    fitted.write(&a.out, "regression", &name, &examples, &record)?;
    let own = a.data.is_none() && a.seed == 0 && a.batch.is_none() && a.iterations == 100 && a.lr == 0.1;
    let mut report =
        report("Linear regression (step 6.2)", &fitted, &examples, a.every, (own && a.every == 10).then_some(&BOOK))?;
    let book = |value: f64| own.then_some(value);
    let named = |what: &str, i: usize| format!("{what} of {}", examples.columns[i]);
    let mut rows = Vec::new();
    for (i, (w, best)) in w.iter().zip(&best.slopes).enumerate() {
        rows.push(
            Comparison::new(named("slope", i), f64::from(*w))
                .notebook(book(2.286_359_071_731_567_4))
                .within(1e-5)
                .key(),
        );
        rows.push(
            Comparison::new(named("slope by least squares,", i), *best)
                .reference(book(2.154_005_119_805_082_5))
                .within(1e-9),
        );
    }
    rows.push(Comparison::new("intercept", f64::from(b)).notebook(book(5.314_485_073_089_6)).within(1e-5).key());
    rows.push(
        Comparison::new("intercept by least squares", best.intercept)
            .reference(book(5.383_873_383_297_894))
            .within(1e-9),
    );
    let mse = best.mean_squared_error;
    rows.push(
        Comparison::new("mean squared error by least squares", mse)
            .reference(book(0.078_306_977_131_405_91))
            .within(1e-9),
    );
    report.table("The line: by gradient descent, and where it goes in the end", rows);
    report.write(&folder)?;
    Ok(Ended::Finished)
}
