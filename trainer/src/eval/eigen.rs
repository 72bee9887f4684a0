//! Square matrices in f64, row-major: as much as the Frechet distance needs, at a size (128) where plain loops take a
//! second.

/// A square matrix.
#[derive(Clone, PartialEq, Debug)]
pub struct Matrix {
    /// Rows, and columns.
    pub n: usize,
    /// `n * n` values, row-major.
    pub values: Vec<f64>,
}

impl Matrix {
    /// The matrix with `f(row, column)`.
    pub fn from_fn(n: usize, mut f: impl FnMut(usize, usize) -> f64) -> Self {
        Self { n, values: (0..n * n).map(|i| f(i / n, i % n)).collect() }
    }
    /// One value.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.n + column]
    }
    /// `self * other`, both `n` x `n`.
    pub fn times(&self, other: &Self) -> Self {
        let n = self.n;
        let mut out = Self { n, values: vec![0.0; n * n] };
        for (out, row) in out.values.chunks_exact_mut(n).zip(self.values.chunks_exact(n)) {
            for (a, other) in row.iter().zip(other.values.chunks_exact(n)) {
                out.iter_mut().zip(other).for_each(|(o, b)| *o += a * b);
            }
        }
        out
    }
    /// Rows as columns.
    pub fn transposed(&self) -> Self {
        Self::from_fn(self.n, |i, j| self.at(j, i))
    }
    /// Sum of the diagonal.
    pub fn trace(&self) -> f64 {
        (0..self.n).map(|i| self.at(i, i)).sum()
    }
}

/// More than any matrix of this size has been seen to need (about 10).
const MAX_SWEEPS: usize = 60;

/// Eigenvalues and eigenvectors (row `i` belongs to value `i`; no order) of a symmetric matrix, by cyclic Jacobi
/// rotations (Golub and Van Loan, Matrix Computations, "Jacobi Methods"). Chosen for its small code and small errors.
pub fn symmetric_eigen(a: &Matrix) -> (Vec<f64>, Matrix) {
    let n = a.n;
    let mut a = a.clone();
    let mut vectors = Matrix::from_fn(n, |i, j| f64::from(u8::from(i == j)));
    let total: f64 = a.values.iter().map(|v| v * v).sum();
    for _ in 0..MAX_SWEEPS {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a.at(i, j).powi(2)).sum();
        // Beyond this the rotations no longer change the eigenvalues.
        if off <= total * f64::EPSILON * f64::EPSILON {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let pq = a.at(p, q);
                if pq == 0.0 {
                    continue;
                }
                // The smaller of the two angles that make (p, q) zero.
                let theta = (a.at(q, q) - a.at(p, p)) / (2.0 * pq);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                rotate_rows(&mut a.values, n, p, q, c, s);
                for row in a.values.chunks_exact_mut(n) {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                rotate_rows(&mut vectors.values, n, p, q, c, s);
            }
        }
    }
    ((0..n).map(|i| a.at(i, i)).collect(), vectors)
}

/// Rows `p` < `q` become `c p - s q` and `s p + c q`.
fn rotate_rows(values: &mut [f64], n: usize, p: usize, q: usize, c: f64, s: f64) {
    let (upper, lower) = values.split_at_mut(q * n);
    for (x, y) in upper[p * n..(p + 1) * n].iter_mut().zip(&mut lower[..n]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nijimi_runtime::raw::rng::Stream;

    /// Seen red: the sign of `s` changed in the columns only; the vectors rotated by columns; stopping at 1e-6 of the
    /// total.
    #[test]
    fn decomposition_gives_the_matrix_back_with_orthonormal_vectors() {
        for (n, rank) in [(1, 1), (2, 2), (37, 37), (128, 60)] {
            let mut draw = Stream::new(2, "eigen", n as u64);
            let half = Matrix::from_fn(n, |_, j| if j < rank { f64::from(draw.normal()) } else { 0.0 });
            let a = half.times(&half.transposed());
            let (values, v) = symmetric_eigen(&a);
            let unit = v.times(&v.transposed());
            let back = v.transposed().times(&Matrix::from_fn(n, |i, j| values[i] * v.at(i, j)));
            for i in 0..n {
                for j in 0..n {
                    assert!((unit.at(i, j) - f64::from(u8::from(i == j))).abs() < 1e-12, "{n}: {i} {j}");
                    assert!((back.at(i, j) - a.at(i, j)).abs() < 1e-12 * a.trace(), "{n}: {i} {j}");
                }
            }
            assert_eq!(values.iter().filter(|v| v.abs() > 1e-12 * a.trace()).count(), rank);
        }
    }

    /// Seen red: the sign of `s` changed in the columns only; stopping at 1e-6 of the total.
    #[test]
    fn known_eigenvalues() {
        // The second difference matrix of size n has 2 - 2 cos(k pi / (n + 1)).
        let n = 9;
        let a = Matrix::from_fn(n, |i, j| match i.abs_diff(j) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        });
        let (mut values, _) = symmetric_eigen(&a);
        values.sort_by(f64::total_cmp);
        for (k, v) in values.iter().enumerate() {
            let expected = 2.0 - 2.0 * ((k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
            assert!((v - expected).abs() < 1e-13, "{v} {expected}");
        }
    }
}
