//! Muon's direction: of a momentum the nearest semi-orthogonal matrix, by Newton and Schulz's iteration. Jordan et al. 2024, "Muon: an
//! optimizer for hidden layers in neural networks".
use super::bf16::Bf16;
use super::product::add_product;
use super::sum::sum_squares;
use super::wide;

/// Iterations, and the coefficients of `a X + b (X X^T) X + c (X X^T)^2 X`: chosen to lift small singular values fast; after five all
/// lie between 0.7 and 1.2.
const ITERATIONS: usize = 5;
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];

/// Replaces `x`, a matrix (rows, columns), by the nearly orthogonal one, on one thread; the products' operands are rounded to
/// bf16 where a CPU for that is given.
pub fn orthogonalize(bf16: Option<Bf16>, x: &mut Vec<f32>, rows: usize, columns: usize) {
    let norm = sum_squares(x).sqrt();
    let scale = (1.0 / (norm + 1e-7)) as f32;
    x.iter_mut().for_each(|x| *x *= scale);
    // The Gram matrix is that of the shorter side.
    let (across, m) = (rows <= columns, rows.min(columns));
    let n = rows.max(columns);
    let [a, b, c] = COEFFICIENTS;
    let (mut gram, mut mixed, mut next) = (vec![0f32; m * m], vec![0f32; m * m], vec![0f32; m * n]);
    for _ in 0..ITERATIONS {
        gram.fill(0.0);
        mixed.fill(0.0);
        let short = if across { (columns, 1) } else { (1, columns) };
        add_product(bf16, (&*x, short), (&*x, short), [m, m, n], &mut gram);
        // Symmetric, so that its own transpose is as good.
        add_product(bf16, (&gram, (m, 1)), (&gram, (m, 1)), [m, m, m], &mut mixed);
        wide(|| mixed.iter_mut().zip(&gram).for_each(|(y, g)| *y = b * g + c * *y));
        wide(|| next.iter_mut().zip(&*x).for_each(|(y, x)| *y = a * x));
        if across {
            add_product(bf16, (&mixed, (m, 1)), (&*x, (1, columns)), [m, n, m], &mut next);
        } else {
            add_product(bf16, (&*x, (columns, 1)), (&mixed, (m, 1)), [n, m, m], &mut next);
        }
        std::mem::swap(x, &mut next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nijimi_runtime::raw::rng::Stream;

    /// All singular values come near 1, whatever they were: seen by the Gram matrix of the shorter side. Seen red with the sides
    /// exchanged, and with one iteration.
    #[test]
    fn rows_or_columns_become_orthogonal() {
        for bf16 in [None, Bf16::detect()] {
            for (rows, columns) in [(16, 16), (24, 100), (90, 17), (1, 5)] {
                let mut draw = Stream::new(3, "momentum", 0);
                // Directions of very different lengths.
                let x: Vec<f32> = (0..rows * columns).map(|i| draw.normal() / (1 + i / columns) as f32).collect();
                let mut y = x.clone();
                orthogonalize(bf16, &mut y, rows, columns);
                let m = rows.min(columns);
                let at = |i: usize, j: usize| if rows <= columns { y[i * columns + j] } else { y[j * columns + i] };
                for i in 0..m {
                    for j in 0..m {
                        let dot: f32 = (0..rows.max(columns)).map(|k| at(i, k) * at(j, k)).sum();
                        let (low, high) = if i == j { (0.3, 1.6) } else { (-0.45, 0.45) };
                        assert!((low..high).contains(&dot), "{rows}x{columns}, ({i}, {j}): {dot}");
                    }
                }
                let along: f32 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
                assert!(along > 0.0, "it points along the momentum");
            }
        }
    }
}
