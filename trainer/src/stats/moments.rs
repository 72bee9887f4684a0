//! Sums, moments and quantiles, accurate for long columns.
use crate::data::table::Table;
use rayon::prelude::*;

/// The sum, compensated (Neumaier 1974): its error does not grow with the number of terms.
#[must_use]
pub fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0f64, 0.0);
    for v in values {
        let next = total + v;
        lost += if total.abs() >= v.abs() { (total - next) + v } else { (v - next) + total };
        total = next;
    }
    // Without compensation where it is NaN: an infinity stays one.
    if lost.is_finite() { total + lost } else { total }
}

/// Mean, variance and shape of a sample; sums divided by n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Number of values.
    pub n: usize,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Mean squared deviation.
    pub variance: f64,
    /// Third standardized moment; NaN for a constant sample.
    pub skewness: f64,
    /// Fourth standardized moment less 3; NaN for a constant sample.
    pub excess_kurtosis: f64,
}

impl Moments {
    /// Of at least one value.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        assert!(!values.is_empty(), "moments of at least one value");
        let n = values.len() as f64;
        let mean = sum(values.iter().copied()) / n;
        let power = |p: i32| sum(values.iter().map(|v| (v - mean).powi(p))) / n;
        // What rounding of the mean leaves over is taken off again (Chan, Golub and LeVeque 1983).
        let variance = power(2) - power(1).powi(2);
        Self {
            n: values.len(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean,
            variance,
            skewness: power(3) / variance.powf(1.5),
            excess_kurtosis: power(4) / (variance * variance) - 3.0,
        }
    }

    /// Root of the variance.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.variance.sqrt()
    }
}

/// The quantile by linear interpolation between order statistics (numpy's default; Hyndman and Fan 1996, type 7).
///
/// # Panics
/// If there are no values or `p` is not in 0..=1.
#[must_use]
pub fn quantile(values: &[f64], p: f64) -> f64 {
    assert!(!values.is_empty() && (0.0..=1.0).contains(&p), "a share of at least one value");
    let mut values = values.to_vec();
    let at = (values.len() - 1) as f64 * p;
    let (_, low, above) = values.select_nth_unstable_by(at as usize, f64::total_cmp);
    let (low, part) = (*low, at.fract());
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    // From the nearer side, as numpy does, so that the result is exact at both ends.
    if part < 0.5 { low + (high - low) * part } else { high - (high - low) * (1.0 - part) }
}

/// Rows that are summed before their sums are added up.
const ROWS: usize = 4096;

/// Mean (D) and covariance (row-major D x D) of a table, sums divided by `n - ddof`. Two passes, so that nothing
/// cancels.
///
/// # Panics
/// If there are not more rows than `ddof`.
#[must_use]
pub fn covariance(table: &Table, ddof: usize) -> (Vec<f64>, Vec<f64>) {
    let (n, dim) = (table.rows(), table.dim());
    assert!(n > ddof, "more rows than {ddof}");
    let mean: Vec<f64> = table.columns().par_iter().map(|c| sum(c.iter().copied()) / n as f64).collect();
    let pairs: Vec<(usize, usize)> = (0..dim).flat_map(|i| (0..=i).map(move |j| (i, j))).collect();
    let blocks: Vec<usize> = (0..n).step_by(ROWS).collect();
    // Sums of products of deviations, and of deviations, of each block.
    let part = |from: &usize| {
        let rows = *from..(from + ROWS).min(n);
        let centred: Vec<Vec<f64>> =
            (0..dim).map(|d| table.columns()[d][rows.clone()].iter().map(|v| v - mean[d]).collect()).collect();
        let mut sums: Vec<f64> = pairs.iter().map(|(i, j)| dot(&centred[*i], &centred[*j])).collect();
        sums.extend(centred.iter().map(|c| lanes(c.iter().copied())));
        sums
    };
    let parts: Vec<Vec<f64>> = blocks.par_iter().map(part).collect();
    let total = |s: usize| sum(parts.iter().map(|p| p[s]));
    let rest: Vec<f64> = (0..dim).map(|d| total(pairs.len() + d)).collect();
    let mut covariance = vec![0.0; dim * dim];
    for (s, (i, j)) in pairs.iter().enumerate() {
        let value = (total(s) - rest[*i] * rest[*j] / n as f64) / (n - ddof) as f64;
        covariance[i * dim + j] = value;
        covariance[j * dim + i] = value;
    }
    (mean, covariance)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    lanes(a.iter().zip(b).map(|(a, b)| a * b))
}

/// A sum in eight lanes, which the compiler keeps in vectors.
fn lanes(mut values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let mut lanes = [0.0; 8];
    for _ in 0..values.len() / 8 {
        lanes.iter_mut().for_each(|l| *l += values.next().unwrap_or(0.0));
    }
    lanes.iter().sum::<f64>() + values.sum::<f64>()
}
