//! Before EM: whether the data allow the model, and starting values.
use super::options::{Options, Start};
use super::parameters::{Parameters, Shape, inverse_factor, restricted};
use crate::data::table::Table;
use crate::stats::{FitError, covariance};
use nijimi_runtime::raw::rng::Stream;
use rayon::prelude::*;

/// What EM needs to know of the data beside the rows.
pub(super) struct Data {
    /// Their covariance (D x D), sums divided by n; its diagonal alone where the shape is diagonal.
    pub covariance: Vec<f64>,
    /// Least variance of a component in each column.
    pub floor: Vec<f64>,
}

/// The data's covariance, after all that makes a fit impossible has been looked for.
pub(super) fn examine(table: &Table, options: &Options) -> Result<Data, FitError> {
    let (rows, dim, k) = (table.rows(), table.dim(), options.k);
    if k == 0 || k > rows {
        return Err(FitError::TooManyComponents { components: k, rows });
    }
    let covariance = if options.shape.is_diagonal() {
        let mut c = check(table, options.shape.free(k, dim), false)?.1;
        (0..dim * dim).filter(|i| i % (dim + 1) != 0).for_each(|i| c[i] = 0.0);
        c
    } else {
        check(table, options.shape.free(k, dim), true)?.1
    };
    let floor = (0..dim).map(|i| options.floor * covariance[i * dim + i]).collect();
    Ok(Data { covariance, floor })
}

/// Mean and covariance (divided by n) of a table to which a model with `parameters` free numbers can be fitted.
///
/// # Errors
/// If a column is constant, rows are fewer than parameters, sums overflow, or (where `full`) the covariance is
/// singular.
pub fn check(table: &Table, parameters: usize, full: bool) -> Result<(Vec<f64>, Vec<f64>), FitError> {
    let (rows, dim) = (table.rows(), table.dim());
    for (i, column) in table.columns().iter().enumerate() {
        if column.iter().all(|v| *v == column[0]) {
            let (column, value, name) = (i + 1, column[0], table.names()[i].clone());
            return Err(FitError::Constant { column, name, value, rows });
        }
    }
    if rows < parameters {
        return Err(FitError::TooFewRows { rows, parameters });
    }
    let (mean, covariance) = covariance(table, 0);
    if !mean.iter().chain(&covariance).all(|v| v.is_finite()) {
        return Err(FitError::NotFinite { what: "the covariance" });
    }
    let singular = |i: usize| FitError::Singular { column: i + 1, name: table.names()[i].clone() };
    if full && let Some(i) = dependent(&covariance, dim) {
        return Err(singular(i));
    }
    if (0..dim).any(|i| covariance[i * dim + i] <= 0.0) {
        return Err(FitError::NotFinite { what: "the inverse of a variance" });
    }
    Ok((mean, covariance))
}

/// The first column whose variance given those before it is nothing but rounding: a pivot of the correlations' Cholesky
/// factor.
fn dependent(covariance: &[f64], dim: usize) -> Option<usize> {
    const ROUNDING: f64 = 1e-13;
    let mut l = vec![0.0; dim * dim];
    for i in 0..dim {
        for j in 0..=i {
            let scale = (covariance[i * dim + i] * covariance[j * dim + j]).sqrt();
            let rest = covariance[i * dim + j] / scale - (0..j).map(|m| l[i * dim + m] * l[j * dim + m]).sum::<f64>();
            if i == j && rest.is_nan() | (rest <= ROUNDING) {
                return Some(i);
            }
            l[i * dim + j] = if i == j { rest.sqrt() } else { rest / l[j * dim + j] };
        }
    }
    None
}

/// Starting values for a restart.
pub(super) fn parameters(table: &Table, options: &Options, data: &Data, restart: u64) -> Result<Parameters, FitError> {
    let given = match &options.start {
        Start::KMeansPlusPlus => plus_plus(table, options, data, restart),
        Start::Given(given) if given.k() != options.k || given.dim() != table.dim() => {
            let (k, dim) = (given.k(), given.dim());
            let what = format!("{k} components in {dim} columns, for {} in {}", options.k, table.dim());
            return Err(FitError::Start(what));
        }
        Start::Given(given) => given.clone(),
    };
    Ok(restricted(given, options.shape, &data.floor))
}

/// Rows of a task.
const ROWS: usize = 1 << 14;

/// k-means++: rows as centres, each drawn with a probability proportional to its squared distance to the nearest centre
/// so far, in units of each column's sigma.
fn plus_plus(table: &Table, options: &Options, data: &Data, restart: u64) -> Parameters {
    let (n, dim, k) = (table.rows(), table.dim(), options.k);
    let mut draw = Stream::new(options.seed, "k-means++", restart);
    let mut nearest = vec![(f64::INFINITY, 0u32); n];
    let mut centre = vec![0.0; dim];
    let mut next = draw.below(n as u64) as usize;
    for c in 0..k {
        table.row(next, &mut centre);
        nearest.par_chunks_mut(ROWS).enumerate().for_each(|(task, part)| {
            let mut squares = vec![0.0; part.len()];
            for (d, column) in table.columns().iter().enumerate() {
                let scale = 1.0 / data.covariance[d * dim + d];
                let column = &column[task * ROWS..task * ROWS + part.len()];
                squares.iter_mut().zip(column).for_each(|(s, x)| *s += (x - centre[d]).powi(2) * scale);
            }
            for (near, square) in part.iter_mut().zip(squares) {
                if square < near.0 {
                    *near = (square, c as u32);
                }
            }
        });
        let total: f64 = nearest.iter().map(|(s, _)| s).sum();
        let mut left = draw.uniform_f64() * total;
        // Where all rows are centres already, any will do.
        let past = |(s, _): &(f64, u32)| {
            left -= s;
            left < 0.0
        };
        next = nearest.iter().position(past).unwrap_or(c % n);
    }
    cells(table, options.shape, data, &nearest, k)
}

/// Means of the cells; equal weights, and for all the covariance within the cells: one small cell gives no small
/// covariance, in which EM would be caught.
fn cells(table: &Table, shape: Shape, data: &Data, nearest: &[(f64, u32)], k: usize) -> Parameters {
    let dim = table.dim();
    let mut counts = vec![0usize; k];
    nearest.iter().for_each(|(_, c)| counts[*c as usize] += 1);
    let mut means = vec![0.0; k * dim];
    let mut within = Vec::new();
    for (d, column) in table.columns().iter().enumerate() {
        for (x, (_, c)) in column.iter().zip(nearest) {
            means[*c as usize * dim + d] += x / counts[*c as usize] as f64;
        }
        within.push(column.iter().zip(nearest).map(|(x, (_, c))| x - means[*c as usize * dim + d]).collect::<Vec<_>>());
    }
    let within = covariance(&Table::new(table.names().to_vec(), within), 0).1;
    // As many distinct rows as components leave nothing within the cells.
    let mut one =
        restricted(Parameters { weights: vec![1.0], means: vec![0.0; dim], covariances: within }, shape, &data.floor);
    if inverse_factor(&one.covariances, dim).is_none() {
        one.covariances.clone_from(&data.covariance);
    }
    for c in (0..k).filter(|c| counts[*c] == 0) {
        table.row(c % table.rows(), &mut means[c * dim..(c + 1) * dim]);
    }
    Parameters { weights: vec![1.0 / k as f64; k], means, covariances: one.covariances.repeat(k) }
}
