//! One pass over the rows: the E-step, and the sums that the M-step needs.
use super::lanes::{Kernel, LANES, Lanes, SUMS, accumulate, dispatch, exp, mul_add};
use super::parameters::{Parameters, inverse_factor};
use crate::data::table::Table;
use rayon::prelude::*;

/// Rows of a task, at least; there are at most [`TASKS`], so that their sums stay small.
const TASK_ROWS: usize = 128 * LANES;
const TASKS: usize = 128;

/// A mixture prepared for evaluation at many rows.
pub(super) struct Prepared<'p> {
    parameters: &'p Parameters,
    diagonal: bool,
    /// Inverse Cholesky factors: packed lower triangles by rows, or D numbers if diagonal.
    factors: Vec<f64>,
    /// `ln weight - D/2 ln(2 pi) - ln |L|` of each component.
    log_scales: Vec<f64>,
}

/// What a pass adds up.
#[derive(Clone)]
pub(super) struct Sums {
    /// Sum of `ln p(x)`.
    pub log_likelihood: f64,
    /// For each component: the sum of responsibilities r, then of r d (D), then of r d d^T (packed lower triangle by
    /// rows, or D if diagonal), where `d = x - origin`.
    pub of: Vec<f64>,
    /// Numbers of one component in `of`.
    pub stride: usize,
    /// The row of least density, and its log density.
    pub worst: (usize, f64),
}

impl<'p> Prepared<'p> {
    /// # Errors
    /// The index of a component whose covariance is not positive definite.
    pub fn new(parameters: &'p Parameters, diagonal: bool) -> Result<Self, usize> {
        let (k, dim) = (parameters.k(), parameters.dim());
        let (mut factors, mut log_scales) = (Vec::new(), Vec::new());
        for k in 0..k {
            let (rows, log_det) = inverse_factor(parameters.covariance(k), dim).ok_or(k)?;
            for i in 0..dim {
                factors.extend(&rows[i * dim + if diagonal { i } else { 0 }..=i * dim + i]);
            }
            let normal = 0.5 * dim as f64 * (2.0 * std::f64::consts::PI).ln();
            log_scales.push(parameters.weights[k].ln() - normal - log_det);
        }
        Ok(Self { parameters, diagonal, factors, log_scales })
    }

    /// What was prepared.
    pub fn parameters(&self) -> &'p Parameters {
        self.parameters
    }

    /// Elements of a covariance that are kept.
    fn kept(&self) -> usize {
        let dim = self.parameters.dim();
        if self.diagonal { dim } else { dim * (dim + 1) / 2 }
    }

    /// E-step, and sums about `origins` (K x D); the same bits for any number of threads.
    pub fn sums(&self, table: &Table, origins: &[f64]) -> Sums {
        let n = table.rows();
        let rows = TASK_ROWS.max(n.div_ceil(TASKS).next_multiple_of(LANES));
        let starts: Vec<usize> = (0..n).step_by(rows).collect();
        let task = |from: &usize| dispatch(Task { of: self, table, origins, rows: *from..(from + rows).min(n) });
        let parts: Vec<Sums> = starts.par_iter().map(task).collect();
        add_up(&parts)
    }
}

/// Adds sums in pairs, so that rounding grows with the logarithm of their number.
fn add_up(parts: &[Sums]) -> Sums {
    if parts.len() == 1 {
        return parts[0].clone();
    }
    let (left, right) = parts.split_at(parts.len() / 2);
    let (mut a, b) = (add_up(left), add_up(right));
    a.log_likelihood += b.log_likelihood;
    a.of.iter_mut().zip(&b.of).for_each(|(a, b)| *a += b);
    if b.worst.1 < a.worst.1 {
        a.worst = b.worst;
    }
    a
}

struct Task<'a, 'p> {
    of: &'a Prepared<'p>,
    table: &'a Table,
    origins: &'a [f64],
    rows: std::ops::Range<usize>,
}

impl Kernel for Task<'_, '_> {
    type Output = Sums;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Sums {
        let (p, table) = (self.of, self.table);
        let (k, dim, kept) = (p.parameters.k(), p.parameters.dim(), p.kept());
        let stride = 1 + dim + kept;
        let mut sums = vec![[0.0; SUMS]; k * stride];
        let mut x: Vec<Lanes> = vec![[0.0; LANES]; dim];
        let mut centred = x.clone();
        let mut logs: Vec<Lanes> = vec![[0.0; LANES]; k];
        let ones = [1.0; LANES];
        let (mut log_likelihood, mut worst) = (0.0, (self.rows.start, f64::INFINITY));
        for from in self.rows.clone().step_by(LANES) {
            let count = LANES.min(self.rows.end - from);
            for (x, column) in x.iter_mut().zip(table.columns()) {
                // Lanes without a row repeat one, and count nothing.
                *x = [column[from]; LANES];
                x[..count].copy_from_slice(&column[from..from + count]);
            }
            for (c, log) in logs.iter_mut().enumerate() {
                centre(&x, p.parameters.mean(c), &mut centred);
                log_joint::<FMA>(p, c, &centred, log);
            }
            let densities = normalize::<FMA>(&mut logs, count);
            for (i, d) in densities[..count].iter().enumerate() {
                if *d < worst.1 {
                    worst = (from + i, *d);
                }
            }
            log_likelihood += densities[..count].iter().sum::<f64>();
            for (c, r) in logs.iter().enumerate() {
                centre(&x, &self.origins[c * dim..(c + 1) * dim], &mut centred);
                let sums = &mut sums[c * stride..(c + 1) * stride];
                accumulate::<FMA>(&mut sums[0], r, &ones);
                let mut at = 1 + dim;
                for i in 0..dim {
                    let mut weighted = [0.0; LANES];
                    for l in 0..LANES {
                        weighted[l] = r[l] * centred[i][l];
                    }
                    accumulate::<FMA>(&mut sums[1 + i], &weighted, &ones);
                    for other in &centred[if p.diagonal { i } else { 0 }..=i] {
                        accumulate::<FMA>(&mut sums[at], &weighted, other);
                        at += 1;
                    }
                }
            }
        }
        Sums { log_likelihood, of: sums.iter().map(|s| s.iter().sum()).collect(), stride, worst }
    }
}

#[inline(always)]
fn centre(x: &[Lanes], mean: &[f64], out: &mut [Lanes]) {
    for ((out, x), mean) in out.iter_mut().zip(x).zip(mean) {
        for l in 0..LANES {
            out[l] = x[l] - mean;
        }
    }
}

/// `ln (weight N(x))` of a component: the squared length of `L^-1 (x - mean)`.
#[inline(always)]
fn log_joint<const FMA: bool>(p: &Prepared<'_>, component: usize, centred: &[Lanes], out: &mut Lanes) {
    let kept = p.kept();
    let factor = &p.factors[component * kept..(component + 1) * kept];
    let mut squares = [0.0; LANES];
    let mut at = 0;
    for i in 0..centred.len() {
        let mut y = [0.0; LANES];
        for c in &centred[if p.diagonal { i } else { 0 }..=i] {
            let f = factor[at];
            for l in 0..LANES {
                y[l] = mul_add::<FMA>(f, c[l], y[l]);
            }
            at += 1;
        }
        for l in 0..LANES {
            squares[l] = mul_add::<FMA>(y[l], y[l], squares[l]);
        }
    }
    let scale = p.log_scales[component];
    for l in 0..LANES {
        out[l] = mul_add::<FMA>(-0.5, squares[l], scale);
    }
}

/// Log joints to responsibilities (0 from lane `count` on); returns the log densities, by log-sum-exp.
#[inline(always)]
fn normalize<const FMA: bool>(logs: &mut [Lanes], count: usize) -> Lanes {
    let mut most = [f64::NEG_INFINITY; LANES];
    for log in logs.iter() {
        for l in 0..LANES {
            most[l] = if log[l] > most[l] { log[l] } else { most[l] };
        }
    }
    let mut total = [0.0; LANES];
    for log in logs.iter_mut() {
        for l in 0..LANES {
            log[l] = exp::<FMA>(log[l] - most[l]);
            total[l] += log[l];
        }
    }
    let mut share = [0.0; LANES];
    for l in 0..count {
        share[l] = 1.0 / total[l];
        most[l] += total[l].ln();
    }
    for log in logs.iter_mut() {
        for l in 0..LANES {
            log[l] *= share[l];
        }
    }
    most
}
