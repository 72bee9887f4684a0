//! Sums of uniforms (step 1.4): the Irwin-Hall distribution, to which the central limit theorem is held.

use super::DistError;
use alloc::vec;

/// The most uniforms.
const MOST: usize = 1000;

/// The sum of n independent uniforms on [0, 1).
///
/// Its density is the cardinal B-spline of degree n - 1, worked out by de Boor's recursion ("A practical guide to
/// splines"): sums of positive terms, where the well-known alternating sum loses all digits from n = 25 or so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrwinHall {
    n: usize,
}

impl IrwinHall {
    /// Of `n` uniforms.
    ///
    /// # Errors
    /// None, or more than 1000.
    pub fn new(n: usize) -> Result<Self, DistError> {
        if (1..=MOST).contains(&n) { Ok(Self { n }) } else { Err(DistError::Uniforms { n, limit: MOST }) }
    }

    /// n / 2.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.n as f64 / 2.0
    }

    /// n / 12.
    #[must_use]
    pub fn variance(&self) -> f64 {
        self.n as f64 / 12.0
    }

    /// The density at x; O(n^2).
    #[must_use]
    pub fn pdf(&self, x: f64) -> f64 {
        spline(self.n, x, |splines, cell| splines[cell])
    }

    /// Probability of a sum of at most x; O(n^2).
    #[must_use]
    pub fn cdf(&self, x: f64) -> f64 {
        if x >= self.n as f64 {
            return 1.0;
        }
        // The integral of a spline is the sum of the splines of one degree more, at x, x - 1, ...
        spline(self.n + 1, x, |splines, cell| splines[..=cell].iter().sum())
    }

    /// Probability of a sum above x, accurate in the tail: the distribution is symmetric.
    #[must_use]
    pub fn survival(&self, x: f64) -> f64 {
        self.cdf(self.n as f64 - x)
    }
}

/// Hands `read` the values b[j] = B_n(r + j) for j = 0..n, where r is the fraction of x, and the cell of x, its integer
/// part; 0 outside of [0, n).
fn spline(n: usize, x: f64, read: impl Fn(&[f64], usize) -> f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < 0.0 || x >= n as f64 {
        return 0.0;
    }
    let cell = libm::floor(x) as usize;
    let r = x - cell as f64;
    let mut b = vec![0.0; n];
    b[0] = 1.0;
    for m in 2..=n {
        let degree = (m - 1) as f64;
        for j in (0..m).rev() {
            let before = if j == 0 { 0.0 } else { b[j - 1] };
            let at = r + j as f64;
            b[j] = (at * b[j] + (m as f64 - at) * before) / degree;
        }
    }
    read(&b, cell)
}
