//! Histograms by numpy's rule `auto`.
use super::moments::quantile;

/// Counts of values in bins of equal width; a bin holds its left edge, and the last one its right edge too.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Edges of the bins, one more than counts.
    pub edges: Vec<f64>,
    /// Values in each bin.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// With numpy's number of bins for `bins="auto"`: the narrower of the widths of Freedman and Diaconis (1981),
    /// `2 IQR / n^(1/3)`, and Sturges (1926), `range / (log2 n + 1)`; the latter where the quartiles are equal.
    ///
    /// # Panics
    /// If there are no values, or one is not finite.
    #[must_use]
    pub fn auto(values: &[f64]) -> Self {
        let (min, max) = range(values);
        let n = values.len() as f64;
        let iqr = quantile(values, 0.75) - quantile(values, 0.25);
        let (diaconis, sturges) = (2.0 * iqr / n.cbrt(), (max - min) / (n.log2() + 1.0));
        let width = if diaconis > 0.0 { diaconis.min(sturges) } else { sturges };
        let bins = if width > 0.0 { ((max - min) / width).ceil() as usize } else { 1 };
        Self::with_bins(values, bins)
    }

    /// With a number of bins, from the least value to the greatest (half a unit around it where they are equal).
    ///
    /// # Panics
    /// If there are no values, one is not finite, or `bins` is 0.
    #[must_use]
    pub fn with_bins(values: &[f64], bins: usize) -> Self {
        assert!(bins > 0, "at least one bin");
        let (mut min, mut max) = range(values);
        if min == max {
            (min, max) = (min - 0.5, max + 0.5);
        }
        let step = (max - min) / bins as f64;
        let mut edges: Vec<f64> = (0..=bins).map(|i| min + i as f64 * step).collect();
        edges[bins] = max;
        let mut counts = vec![0; bins];
        for v in values {
            let mut at = (((v - min) / (max - min) * bins as f64) as usize).min(bins - 1);
            // Rounding may put a value beside its bin: the edges decide.
            if *v < edges[at] {
                at -= 1;
            } else if *v >= edges[at + 1] && at + 1 < bins {
                at += 1;
            }
            counts[at] += 1;
        }
        Self { edges, counts }
    }

    /// Width of a bin.
    #[must_use]
    pub fn width(&self) -> f64 {
        (self.edges[self.counts.len()] - self.edges[0]) / self.counts.len() as f64
    }

    /// Shares divided by widths: the area is 1.
    #[must_use]
    pub fn densities(&self) -> Vec<f64> {
        let n = self.counts.iter().sum::<u64>() as f64;
        self.counts.iter().zip(self.edges.windows(2)).map(|(c, e)| *c as f64 / n / (e[1] - e[0])).collect()
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    assert!(!values.is_empty() && values.iter().all(|v| v.is_finite()), "finite values, at least one");
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)))
}
