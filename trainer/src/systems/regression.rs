//! The book's steps 6.2 and 6.4: a linear model, and a network of one hidden layer, fitted to rows of numbers by gradient
//! descent on the mean squared error, in f32 through dfdx.
pub mod examples;
pub mod linear;
pub mod mlp;
pub mod report;
#[cfg(test)]
mod tests;

use crate::checkpoint::write_atomic;
use crate::data::loader::Loader;
use crate::error::{Error, Result};
use crate::export::numbers;
use crate::fit::Record;
use crate::nn::mlp::Mlp;
use crate::ops::Kit;
use crate::optim::{AdamW, Optimizer, descend};
use crate::param;
use crate::say::say;
use crate::tensor::T2;
use dfdx::prelude::*;
use examples::Examples;
use std::path::Path;

/// How a network is trained.
#[derive(Clone, Copy, Debug)]
pub struct RegressionSettings {
    /// Updates.
    pub iterations: u64,
    /// Learning rate.
    pub lr: f32,
    /// Rows in a batch; `None` takes all of them at each update.
    pub batch: Option<usize>,
    /// Adam instead of plain gradient descent.
    pub adam: bool,
    /// Keys the order of rows.
    pub seed: u64,
}

/// Trains `model` and returns the loss of each update's batch before the update, summed in f64. `x` (n, inputs) and `y` (n,
/// outputs) are row-major.
///
/// # Errors
/// If the loss is not finite.
pub fn train<D: Kit>(
    device: &D,
    model: &mut Mlp<D>,
    x: &[f32],
    y: &[f32],
    n: usize,
    s: &RegressionSettings,
) -> Result<Vec<f64>> {
    let (inputs, outputs) = (x.len() / n, y.len() / n);
    let adam = AdamW { lr: f64::from(s.lr), weight_decay: 0.0, warmup: 0, clip: None, muon: None };
    let mut optimizer = s.adam.then(|| Optimizer::new(adam));
    let mut loader = s.batch.filter(|b| *b < n).map(|b| Loader::new(n, b, s.seed));
    let mut losses = Vec::new();
    for step in 0..s.iterations {
        let rows = match &mut loader {
            Some(l) => l.rows(step / l.batches(), step % l.batches()),
            None => &[],
        };
        let pick = |all: &[f32], width: usize| match rows {
            [] => all.to_vec(),
            rows => rows.iter().flat_map(|r| &all[*r as usize * width..][..width]).copied().collect(),
        };
        let count = if rows.is_empty() { n } else { rows.len() };
        let batch: T2<D> = device.tensor_from_vec(pick(x, inputs), (count, inputs));
        let wide = (count, 1usize, 1usize, outputs);
        let target = device.tensor_from_vec(pick(y, outputs), wide);
        let gradients = param::zero_gradients(model);
        let (loss, value) = D::mse(model.forward(batch.traced(gradients)).reshape_like(&wide), &target);
        if !value.is_finite() {
            let what = format!("--lr {}: the loss is {value} at step {}: take a smaller one", s.lr, step + 1);
            return Err(Error::Usage(what));
        }
        losses.push(value);
        let mut gradients = loss.backward();
        match &mut optimizer {
            Some(o) => _ = o.update(model, &mut gradients, None),
            None => descend(model, gradients, s.lr),
        }
    }
    Ok(losses)
}

/// A model in the units of the data.
pub struct Fitted {
    /// Its tensors, `layers.I.weight` and `.bias`.
    pub state: param::State,
    /// Widths of input, hidden layers and output.
    pub widths: Vec<usize>,
    /// The loss of each update's batch before it, in the units trained in.
    pub losses: Vec<f64>,
}

impl Fitted {
    /// The prediction for one row, in f64.
    pub fn predict(&self, x: &[f64]) -> Vec<f64> {
        let mut x = x.to_vec();
        for (i, pair) in self.widths.windows(2).enumerate() {
            if i > 0 {
                x.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp()));
            }
            let (w, b) = (&self.state[&format!("layers.{i}.weight")], &self.state[&format!("layers.{i}.bias")]);
            let row =
                |(w, b): (&[f32], &f32)| f64::from(*b) + w.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
            x = w.data.chunks_exact(pair[0]).zip(&b.data).map(row).collect();
        }
        x
    }

    /// Mean squared residual over `examples`, in f64.
    pub fn mean_squared_error(&self, examples: &Examples) -> f64 {
        let square = |(x, y): (&[f64], &f64)| (self.predict(x)[0] - y).powi(2);
        examples.x.chunks_exact(examples.inputs()).zip(&examples.y).map(square).sum::<f64>() / examples.y.len() as f64
    }

    /// Writes the weight file.
    ///
    /// # Errors
    /// If a value is not finite, or the system refuses.
    pub fn write(&self, out: &Path, system: &str, name: &str, examples: &Examples, record: &Record) -> Result<()> {
        let about = numbers::Regression {
            system,
            name,
            widths: &self.widths,
            columns: &examples.columns,
            inputs: &examples.ranges(),
            sigma: self.mean_squared_error(examples).sqrt(),
        };
        write_atomic(out, &numbers::regression(&self.state, &about, record)?)
    }
}

/// Trains a network on `examples`: as they are if they are the book's, else with every column brought to mean 0 and variance 1
/// first; that change of units is then folded into the first and last layer, which is exact but for rounding.
///
/// # Errors
/// Columns that cannot be fitted, and a loss that is not finite.
pub fn fit<D: Kit>(
    device: &D,
    mut model: Mlp<D>,
    widths: &[usize],
    examples: &Examples,
    s: &RegressionSettings,
) -> Result<Fitted> {
    let n = examples.y.len();
    let scales = examples.scales()?;
    let (input, output) = scales.split_at(examples.inputs());
    let unit = |v: &[f64], scales: &[examples::Scale]| -> Vec<f32> {
        v.iter().zip(scales.iter().cycle()).map(|(v, s)| ((v - s.mean) / s.sigma) as f32).collect()
    };
    let losses = train(device, &mut model, &unit(&examples.x, input), &unit(&examples.y, output), n, s)?;
    let mut state = param::state(&mut model, "");
    examples::into_units(&mut state, widths.len() - 2, input, output[0]);
    Ok(Fitted { state, widths: widths.to_vec(), losses })
}

/// Prints every so many losses, and the last.
fn print_losses(losses: &[f64], every: u64) {
    say!("step,loss");
    let every = losses.iter().enumerate().filter(|(i, _)| (*i as u64).is_multiple_of(every));
    every.for_each(|(i, l)| say!("{i},{l}"));
    if let Some(last) = losses.last() {
        say!("{},{last}", losses.len() - 1);
    }
}
