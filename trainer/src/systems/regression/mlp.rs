//! The book's step 6.4: a network with hidden layers of sigmoids.
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
use crate::target;
use argh::{ArgsInfo, FromArgs};
use dfdx::prelude::Cpu;
use nijimi_cli::number::{self, Numbers};
use std::path::PathBuf;

/// Fit a network with hidden layers to rows of numbers (book step 6.4).
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "mlp")]
pub struct MlpArgs {
    /// table of numbers, the output in its last column (default: the book's 100 rows, y = sin(2 pi x) + noise)
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
    /// widths of the hidden layers (default 10)
    #[argh(option, default = "Numbers(vec![10])")]
    hidden: Numbers<1>,
    /// updates (default 10000)
    #[argh(option, from_str_fn(number::times), default = "10_000")]
    iterations: u64,
    /// learning rate (default 0.2)
    #[argh(option, from_str_fn(number::positive), default = "0.2")]
    lr: f32,
    /// rows in a batch (default: all)
    #[argh(option, from_str_fn(number::count))]
    batch: Option<usize>,
    /// use Adam instead of plain gradient descent (with a learning rate of about 0.01)
    #[argh(switch)]
    adam: bool,
    /// updates between losses printed (default 1000)
    #[argh(option, from_str_fn(number::times), default = "1000")]
    every: u64,
    /// seed of weights, of the book's rows, and of the order of batches (default 0)
    #[argh(option, default = "0")]
    seed: u64,
    /// name of the model in the file (default: the table's)
    #[argh(option)]
    name: Option<String>,
}

/// What the book's notebook prints, every 1000 updates.
pub(super) const BOOK: Book = Book {
    losses: &[
        0.764_345_228_672_027_6,
        0.236_563_205_718_994_14,
        0.232_260_763_645_172_12,
        0.224_414_080_381_393_43,
        0.210_261_464_118_957_52,
        0.179_578_796_029_090_88,
        0.117_984_540_760_517_12,
        0.084_813_803_434_371_95,
        0.080_231_092_870_235_44,
        0.079_685_509_204_864_5,
        0.079_458_147_287_368_77,
    ],
    within: |i| if i <= 6 { 1e-5 } else { 2e-2 },
};

/// Fits a network with weights from `random`.
///
/// # Errors
/// Columns that cannot be fitted, and a loss that is not finite.
pub fn by_descent(
    examples: &Examples,
    hidden: &[usize],
    random: &mut Mt19937,
    settings: &RegressionSettings,
) -> Result<Fitted> {
    let widths: Vec<usize> = [examples.inputs()].into_iter().chain(hidden.iter().copied()).chain([1]).collect();
    examples.enough_for(widths.windows(2).map(|w| (w[0] + 1) * w[1]).sum())?;
    let device = Cpu::default();
    fit(&device, Mlp::new(&device, &widths, random), &widths, examples, settings)
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read or fitted, settings that make no sense, a loss that is lost.
pub fn run(a: &MlpArgs) -> Result<Ended> {
    launch::obeyed(&[("--columns", "the book's rows (no --data)", a.data.is_none() && a.columns.is_some())])?;
    let folder =
        target::prove_run(&a.out, a.report.as_ref(), a.data.as_deref().map(|data| ("--data", data)).as_slice())?;
    let mut random = Mt19937::new(a.seed);
    let examples = match &a.data {
        Some(path) => Examples::read(path, a.columns.as_deref())?,
        None => Examples::book_sine(&mut random),
    };
    let settings =
        RegressionSettings { iterations: a.iterations, lr: a.lr, batch: a.batch, adam: a.adam, seed: a.seed };
    let fitted = by_descent(&examples, &a.hidden.0, &mut random, &settings)?;
    print_losses(&fitted.losses, a.every);
    say!("mean squared error {}", fitted.mean_squared_error(&examples));
    let record = Record { steps: a.iterations, command: launch::command_line(), ..Record::default() };
    let name = launch::table_name(a.name.as_ref(), a.data.as_deref(), "sine");
    fitted.write(&a.out, "mlp", &name, &examples, &record)?;
    let own = a.data.is_none() && a.seed == 0 && a.batch.is_none() && !a.adam;
    let own = own && a.hidden.0 == [10] && a.iterations == 10_000 && a.lr == 0.2 && a.every == 1000;
    let title = "A network of one hidden layer (step 6.4)";
    let mut report = report(title, &fitted, &examples, a.every, own.then_some(&BOOK))?;
    let mean = examples.y.iter().sum::<f64>() / examples.y.len() as f64;
    let variance = examples.y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / examples.y.len() as f64;
    let book = |value: f64| own.then_some(value);
    let mut rows = vec![
        Comparison::new("mean squared error", fitted.mean_squared_error(&examples)),
        Comparison::new("of a constant", variance).reference(book(0.524_744_814_868_801_3)).within(1e-6),
    ];
    if a.data.is_none() {
        let oracle = |(x, y): (&f64, &f64)| ((std::f64::consts::TAU * x).sin() + 0.5 - y).powi(2);
        let oracle = examples.x.iter().zip(&examples.y).map(oracle).sum::<f64>() / examples.y.len() as f64;
        rows.push(
            Comparison::new("of sin(2 pi x) + 1/2", oracle).reference(book(0.082_017_177_592_268_47)).within(1e-6),
        );
    }
    report.table("Yardsticks", rows);
    if own {
        report.text(
            "From about update 6500 on, a learning rate of 0.2 is at the edge of stability and rounding grows: the same \
             descent in f64 differs from the book's losses by up to 1e-3 there.",
        );
    }
    report.write(&folder)?;
    Ok(Ended::Finished)
}
