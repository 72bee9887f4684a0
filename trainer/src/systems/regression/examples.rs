//! Rows of inputs with the output that belongs to each: the book's own, or a table's.
use crate::data::table::Table;
use crate::error::Result;
use crate::mt19937::Mt19937;
use crate::param::State;
use crate::stats::FitError;
use std::path::Path;

/// The book's number of rows.
const ROWS: usize = 100;

/// Rows of inputs and one output each.
#[derive(Clone, Debug)]
pub struct Examples {
    /// Names of the inputs, then of the output.
    pub columns: Vec<String>,
    /// `(n, inputs)`, row-major.
    pub x: Vec<f64>,
    /// `n` outputs.
    pub y: Vec<f64>,
    /// Whether columns are brought to mean 0 and variance 1 for training.
    standardize: bool,
}

/// The mean of a column, and the root of its variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sigma: f64,
}

impl Examples {
    /// `y = f(x) + u` with x and u uniform in [0, 1): as the book draws them in f32 with torch, all x before all u. `random`
    /// stands behind them afterwards, where torch would draw a network's weights.
    fn book(random: &mut Mt19937, f: impl Fn(f32) -> f32) -> Self {
        let x: Vec<f32> = (0..ROWS).map(|_| random.rand()).collect();
        let y = x.iter().map(|x| f64::from(f(*x) + random.rand())).collect();
        let x = x.iter().map(|x| f64::from(*x)).collect();
        Self { columns: vec!["x".into(), "y".into()], x, y, standardize: false }
    }

    /// Step 6.2: `y = 5 + 2 x + u`.
    pub fn book_line(random: &mut Mt19937) -> Self {
        Self::book(random, |x| 5.0 + 2.0 * x)
    }

    /// Step 6.4: `y = sin(2 pi x) + u`.
    pub fn book_sine(random: &mut Mt19937) -> Self {
        Self::book(random, |x| (std::f32::consts::TAU * x).sin())
    }

    /// The columns of a file (see [`Table::read`]); the last is the output.
    ///
    /// # Errors
    /// If the file is not such a table or has fewer than two columns.
    pub fn read(path: &Path, columns: Option<&str>) -> Result<Self> {
        let table = Table::read(path, columns)?;
        if table.dim() < 2 {
            let what = "one column: expected inputs, and the output in the last column (--columns picks and orders)";
            return Err(crate::error::Error::data(path, what));
        }
        let (output, inputs) = table.columns().split_last().expect("two columns");
        let x = (0..table.rows()).flat_map(|r| inputs.iter().map(move |c| c[r])).collect();
        Ok(Self { columns: table.names().to_vec(), x, y: output.clone(), standardize: true })
    }

    /// Number of input columns.
    pub fn inputs(&self) -> usize {
        self.columns.len() - 1
    }

    /// One input column.
    fn column(&self, i: usize) -> impl Iterator<Item = f64> + Clone {
        self.x.iter().skip(i).step_by(self.inputs()).copied()
    }

    /// Least and greatest value of each input.
    pub fn ranges(&self) -> Vec<[f64; 2]> {
        let range = |i| self.column(i).fold([f64::INFINITY, f64::NEG_INFINITY], |[l, g], v| [l.min(v), g.max(v)]);
        (0..self.inputs()).map(range).collect()
    }

    /// Mean and standard deviation of each column, the output last; 0 and 1 where they are trained on as they are.
    ///
    /// # Errors
    /// If a column has one value only.
    pub fn scales(&self) -> Result<Vec<Scale>> {
        if !self.standardize {
            return Ok(vec![Scale { mean: 0.0, sigma: 1.0 }; self.columns.len()]);
        }
        let n = self.y.len() as f64;
        let mut scales = Vec::new();
        for i in 0..self.columns.len() {
            let values: Vec<f64> = if i < self.inputs() { self.column(i).collect() } else { self.y.clone() };
            let mean = values.iter().sum::<f64>() / n;
            let sigma = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            if !(mean.is_finite() && sigma.is_finite()) {
                return Err(FitError::NotFinite { what: "the variance of a column" }.into());
            }
            if values.iter().all(|v| *v == values[0]) || sigma == 0.0 {
                let (column, name) = (i + 1, self.columns[i].clone());
                return Err(FitError::Constant { column, name, value: values[0], rows: values.len() }.into());
            }
            scales.push(Scale { mean, sigma });
        }
        Ok(scales)
    }

    /// An error unless there are as many rows as numbers to find.
    ///
    /// # Errors
    /// See above.
    pub fn enough_for(&self, parameters: usize) -> Result<()> {
        let rows = self.y.len();
        if rows < parameters { Err(FitError::TooFewRows { rows, parameters }.into()) } else { Ok(()) }
    }
}

/// Folds a change of units into the first layer and layer `last`: a network for standardized columns becomes one for the columns.
pub fn into_units(state: &mut State, last: usize, inputs: &[Scale], output: Scale) {
    let (weight, bias) = ("layers.0.weight", "layers.0.bias");
    let mut w = std::mem::take(&mut state.get_mut(weight).expect("a first layer").data);
    for (row, b) in w.chunks_exact_mut(inputs.len()).zip(&mut state.get_mut(bias).expect("its bias").data) {
        let moved: f64 = row.iter().zip(inputs).map(|(w, s)| f64::from(*w) * s.mean / s.sigma).sum();
        *b = (f64::from(*b) - moved) as f32;
        row.iter_mut().zip(inputs).for_each(|(w, s)| *w = (f64::from(*w) / s.sigma) as f32);
    }
    state.get_mut(weight).expect("a first layer").data = w;
    let scaled = |v: &mut f32, shift: f64| *v = (f64::from(*v) * output.sigma + shift) as f32;
    state.get_mut(&format!("layers.{last}.weight")).expect("a last layer").data.iter_mut().for_each(|w| scaled(w, 0.0));
    state
        .get_mut(&format!("layers.{last}.bias"))
        .expect("its bias")
        .data
        .iter_mut()
        .for_each(|b| scaled(b, output.mean));
}
