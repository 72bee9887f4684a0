//! The book's step 6.4: a network with hidden layers of sigmoids.
use super::examples::Examples;
use super::{Fitted, Settings, fit, print_losses};
use crate::error::{Error, Result};
use crate::fit::{Ended, Record};
use crate::launch;
use crate::mt19937::Mt19937;
use crate::nn::mlp::Mlp;
use argh::FromArgs;
use dfdx::prelude::Cpu;
use std::path::PathBuf;
use std::time::Instant;

/// Fit a network with hidden layers to rows of numbers (book step 6.4).
#[derive(FromArgs)]
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
    /// widths of the hidden layers (default 10)
    #[argh(option, default = "String::from(\"10\")")]
    hidden: String,
    /// updates (default 10000)
    #[argh(option, default = "10_000")]
    iterations: u64,
    /// learning rate (default 0.2)
    #[argh(option, default = "0.2")]
    lr: f32,
    /// rows in a batch (default: all)
    #[argh(option)]
    batch: Option<usize>,
    /// use Adam instead of plain gradient descent (with a learning rate of about 0.01)
    #[argh(switch)]
    adam: bool,
    /// updates between losses printed (default 1000)
    #[argh(option, default = "1000")]
    every: u64,
    /// seed of weights, of the book's rows, and of the order of batches (default 0)
    #[argh(option, default = "0")]
    seed: u64,
    /// name of the model in the file (default: the table's)
    #[argh(option)]
    name: Option<String>,
}

/// Fits a network with weights from `random`.
///
/// # Errors
/// Columns that cannot be fitted, and a loss that is not finite.
pub fn by_descent(examples: &Examples, hidden: &[usize], random: &mut Mt19937, settings: &Settings) -> Result<Fitted> {
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
    if a.iterations == 0 || a.every == 0 || a.batch == Some(0) {
        return Err(Error::Usage("--iterations, --every and --batch must be at least 1".into()));
    }
    let begun = Instant::now();
    let mut random = Mt19937::new(a.seed);
    let examples = match &a.data {
        Some(path) => Examples::read(path, a.columns.as_deref())?,
        None => Examples::book_sine(&mut random),
    };
    let hidden = launch::numbers("--hidden", &a.hidden, 1)?;
    let settings = Settings { iterations: a.iterations, lr: a.lr, batch: a.batch, adam: a.adam, seed: a.seed };
    let fitted = by_descent(&examples, &hidden, &mut random, &settings)?;
    print_losses(&fitted.losses, a.every);
    println!("mean squared error {}", fitted.mean_squared_error(&examples));
    let record = Record {
        steps: a.iterations,
        seconds: begun.elapsed().as_secs_f64(),
        command: launch::command_line(),
        ..Record::default()
    };
    let name = launch::table_name(a.name.as_ref(), a.data.as_deref(), "sine");
    fitted.write(&a.out, "mlp", &name, &examples, &record)?;
    Ok(Ended::Finished)
}
