//! Regression (step 6): a small network, and normal residuals around what it answers.

use crate::Error;
use crate::dist::Normal;
use crate::model::ModelError;
use crate::model::info::wrong;
use crate::rng::Stream;
use alloc::format;
use alloc::vec::Vec;

/// The most layers, and the widest.
const MOST_LAYERS: usize = 16;
const WIDEST: usize = 4096;

/// A perceptron: linear layers with sigmoids between them. Without a hidden layer it is the straight line.
///
/// It computes in f32, as it was trained; p(y | x) = N(predict(x), sigma^2) for each output.
#[derive(Clone, Debug, PartialEq)]
pub struct Regressor {
    widths: Vec<usize>,
    /// Of each layer, `[out][in]` and `[out]`.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    residual: Normal,
    /// Least and greatest of each input.
    ranges: Vec<[f64; 2]>,
}

impl Regressor {
    /// Of widths `[in, .., out]`, a weight `[out][in]` and a bias `[out]` for each layer, the residuals' standard
    /// deviation, and the least and greatest value of each input in the data.
    ///
    /// # Errors
    /// Fewer than 2 widths or more than 17, one of 0 or above 4096; tensors of other lengths, or not finite; a sigma that is
    /// not positive; ranges that are not one rising pair for each input.
    pub fn new(
        widths: Vec<usize>,
        layers: Vec<(Vec<f32>, Vec<f32>)>,
        sigma: f64,
        ranges: Vec<[f64; 2]>,
    ) -> Result<Self, Error> {
        check_widths(&widths)?;
        if layers.len() != widths.len() - 1 {
            let expected = format!("{}, one fewer than widths", widths.len() - 1);
            return Err(wrong("nijimi.mlp.widths", format!("for {} layers", layers.len()), expected));
        }
        for (i, (weight, bias)) in layers.iter().enumerate() {
            let (inp, out) = (widths[i], widths[i + 1]);
            for (what, values, expected) in [("weight", weight, inp * out), ("bias", bias, out)] {
                let name = format!("layers.{i}.{what}");
                if values.len() != expected {
                    let found = [values.len() as u64, 1, 1, 1];
                    return Err(ModelError::TensorShape { name, found, expected: [expected as u64, 1, 1, 1] }.into());
                }
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    return Err(ModelError::TensorValue { name, at, value: values[at] }.into());
                }
            }
        }
        let key = "nijimi.regression.sigma";
        let residual = Normal::new(0.0, sigma).map_err(|source| ModelError::Dist { key, source })?;
        let rising = |[least, greatest]: &[f64; 2]| least <= greatest && least.is_finite() && greatest.is_finite();
        if ranges.len() != widths[0] || !ranges.iter().all(rising) {
            let expected = format!("the least and greatest value of each of {} inputs", widths[0]);
            return Err(wrong("nijimi.regression.inputs", format!("{ranges:?}"), expected));
        }
        Ok(Self { widths, layers, residual, ranges })
    }

    /// `[in, .., out]`.
    #[must_use]
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Weight `[out][in]` and bias `[out]` of each layer.
    #[must_use]
    pub fn layers(&self) -> &[(Vec<f32>, Vec<f32>)] {
        &self.layers
    }

    /// The residuals' standard deviation.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.residual.sigma()
    }

    /// Least and greatest value of each input in the data.
    #[must_use]
    pub fn ranges(&self) -> &[[f64; 2]] {
        &self.ranges
    }

    /// Number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.widths[0]
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }

    /// What the network answers to `x` (`inputs()` numbers), `outputs()` numbers.
    ///
    /// # Panics
    /// Where `x` is not of `inputs()` numbers.
    #[must_use]
    pub fn predict(&self, x: &[f64]) -> Vec<f32> {
        assert_eq!(x.len(), self.inputs(), "as many numbers as the network has inputs");
        let mut values: Vec<f32> = x.iter().map(|v| *v as f32).collect();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            let rows = weight.chunks_exact(self.widths[i]).zip(bias);
            let sums = rows.map(|(row, bias)| row.iter().zip(&values).map(|(w, v)| w * v).sum::<f32>() + bias);
            let last = i + 1 == self.layers.len();
            values = sums.map(|v| if last { v } else { 1.0 / (1.0 + libm::expf(-v)) }).collect();
        }
        values
    }

    /// Inputs uniform over the data's range, then outputs around the prediction, into `out`: `inputs() + outputs()`.
    pub(super) fn sample(&self, stream: &mut Stream, out: &mut [f64]) {
        let (x, y) = out.split_at_mut(self.inputs());
        for (x, [least, greatest]) in x.iter_mut().zip(&self.ranges) {
            *x = least + stream.uniform_f64() * (greatest - least);
        }
        for (y, mean) in y.iter_mut().zip(self.predict(x)) {
            *y = f64::from(mean) + self.residual.sample(stream);
        }
    }

    /// log p(y | x) of a row, x then y.
    pub(super) fn log_density(&self, row: &[f64]) -> f64 {
        let (x, y) = row.split_at(self.inputs());
        y.iter().zip(self.predict(x)).map(|(y, mean)| self.residual.log_pdf(y - f64::from(mean))).sum()
    }
}

/// That a network can have these widths; before anything of that size is read.
pub(super) fn check_widths(widths: &[usize]) -> Result<(), Error> {
    if !(2..=MOST_LAYERS + 1).contains(&widths.len()) || !widths.iter().all(|w| (1..=WIDEST).contains(w)) {
        let expected = format!("2 to {} numbers, each 1 to {WIDEST}", MOST_LAYERS + 1);
        return Err(wrong("nijimi.mlp.widths", format!("{widths:?}"), expected));
    }
    Ok(())
}
