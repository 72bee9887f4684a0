//! A function on a rectangular grid, and the lines of equal value on it.

/// Values over a grid of points.
#[derive(Clone, PartialEq, Debug)]
pub struct Grid {
    /// Coordinates of the columns, rising.
    pub x: Vec<f64>,
    /// Coordinates of the rows, rising.
    pub y: Vec<f64>,
    /// The value at `(x[i], y[j])` is `z[j * x.len() + i]`.
    pub z: Vec<f64>,
}

/// numpy's `linspace`: `n` numbers from `from` to `to`, both ends among them.
pub fn linspace(from: f64, to: f64, n: usize) -> Vec<f64> {
    let step = (to - from) / n.saturating_sub(1).max(1) as f64;
    let mut v: Vec<f64> = (0..n).map(|i| from + i as f64 * step).collect();
    if n > 1 {
        v[n - 1] = to;
    }
    v
}

/// numpy's `arange`: `from`, `from + step`, ... below `to`.
pub fn arange(from: f64, to: f64, step: f64) -> Vec<f64> {
    let n = ((to - from) / step).ceil().clamp(0.0, 1e7) as usize;
    (0..n).map(|i| from + i as f64 * step).collect()
}

impl Grid {
    /// `f` at all points of the grid.
    pub fn of(x: Vec<f64>, y: Vec<f64>, mut f: impl FnMut(f64, f64) -> f64) -> Self {
        let mut z = Vec::with_capacity(x.len() * y.len());
        for &b in &y {
            z.extend(x.iter().map(|&a| f(a, b)));
        }
        Self { x, y, z }
    }

    /// The value at column `i`, row `j`.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.z[j * self.x.len() + i]
    }

    /// The least and the greatest finite value, if there is any.
    pub fn range(&self) -> Option<(f64, f64)> {
        let finite = self.z.iter().copied().filter(|v| v.is_finite());
        finite.fold(None, |r, v| Some(r.map_or((v, v), |(a, b): (f64, f64)| (a.min(v), b.max(v)))))
    }

    /// The lines on which the values, interpolated linearly along the edges of each cell, equal `level`: marching
    /// squares (Lorensen and Cline 1987, in two dimensions). The pieces are in no order. A saddle is resolved by the
    /// mean of its four corners; cells with a value that is not finite have no line.
    pub fn contour(&self, level: f64) -> Vec<[(f64, f64); 2]> {
        let mut pieces = Vec::new();
        for j in 1..self.y.len() {
            for i in 1..self.x.len() {
                self.cell(i - 1, j - 1, level, &mut pieces);
            }
        }
        pieces
    }

    fn cell(&self, i: usize, j: usize, level: f64, pieces: &mut Vec<[(f64, f64); 2]>) {
        // Corners in turn, so that edge k lies between corner k and the next.
        let corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)];
        let z = corners.map(|(i, j)| self.at(i, j) - level);
        if !z.iter().all(|v| v.is_finite()) {
            return;
        }
        let above = z.map(|v| v > 0.0);
        let mut crossings = Vec::with_capacity(4);
        for k in 0..4 {
            let next = (k + 1) % 4;
            if above[k] != above[next] {
                let s = z[k] / (z[k] - z[next]);
                let (a, b) = (corners[k], corners[next]);
                let between = |p: f64, q: f64| p + s * (q - p);
                crossings.push((between(self.x[a.0], self.x[b.0]), between(self.y[a.1], self.y[b.1])));
            }
        }
        match crossings[..] {
            [a, b] => pieces.push([a, b]),
            // A saddle: edges 0 to 3 are all crossed. The line cuts off corners 0 and 2, or 1 and 3.
            [a, b, c, d] => {
                let centre = z.iter().sum::<f64>() > 0.0;
                if centre == above[0] {
                    pieces.extend([[a, b], [c, d]]);
                } else {
                    pieces.extend([[d, a], [b, c]]);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A circle: every piece lies on it, and together they are as long as it. Seen red with the interpolation replaced
    /// by the edges' middles.
    #[test]
    fn a_cone_has_circles() {
        let grid = Grid::of(linspace(-2.0, 2.0, 81), linspace(-3.0, 3.0, 121), |x, y| x.hypot(y));
        let pieces = grid.contour(1.5);
        let length: f64 = pieces.iter().map(|[a, b]| (a.0 - b.0).hypot(a.1 - b.1)).sum();
        let off = pieces.iter().flatten().map(|p| (p.0.hypot(p.1) - 1.5).abs()).fold(0.0, f64::max);
        let expected = 2.0 * std::f64::consts::PI * 1.5;
        assert!((length / expected - 1.0).abs() < 1e-3 && off < 1e-3, "{length} of {expected}, {off} off");
    }

    /// Every end of a piece that is not on the border meets another: lines are closed, through saddles too. Seen red
    /// with one piece of each saddle left out.
    #[test]
    fn lines_are_closed() {
        let grid = Grid::of(linspace(-1.0, 1.0, 14), linspace(-1.0, 1.0, 16), |x, y| (7.0 * x).sin() * (6.0 * y).sin());
        let pieces = grid.contour(0.02);
        let key = |p: &(f64, f64)| ((p.0 * 1e9).round() as i64, (p.1 * 1e9).round() as i64);
        let mut ends = std::collections::HashMap::new();
        pieces.iter().flatten().for_each(|p| *ends.entry(key(p)).or_insert(0) += 1);
        let border = |p: &(i64, i64)| p.0.abs() == 1_000_000_000 || p.1.abs() == 1_000_000_000;
        assert!(pieces.len() > 50 && ends.iter().all(|(p, n)| *n == if border(p) { 1 } else { 2 }), "{ends:?}");
    }

    /// Of two ways through a saddle, the one that keeps the centre's side together.
    #[test]
    fn a_saddle_follows_its_centre() {
        let saddle = |z: [f64; 4]| Grid { x: vec![0.0, 1.0], y: vec![0.0, 1.0], z: z.to_vec() }.contour(0.0);
        // The centre is above, as the corners at (0, 0) and (1, 1): those at (1, 0) and (0, 1) are cut off.
        let pieces = saddle([3.0, -1.0, -1.0, 3.0]);
        assert!(pieces.iter().any(|p| p.iter().all(|q| q.0 - q.1 >= 0.5)), "{pieces:?}");
        // The centre is below: (0, 0) and (1, 1) are cut off.
        let pieces = saddle([1.0, -3.0, -3.0, 1.0]);
        assert!(pieces.iter().any(|p| p.iter().all(|q| q.0 + q.1 <= 0.5)), "{pieces:?}");
    }

    #[test]
    fn gaps_have_no_lines() {
        let grid = Grid { x: vec![0.0, 1.0], y: vec![0.0, 1.0], z: vec![0.0, 1.0, f64::NAN, 1.0] };
        assert!(grid.contour(0.5).is_empty());
        assert_eq!(grid.range(), Some((0.0, 1.0)));
    }

    #[test]
    fn grids_are_numpys() {
        assert_eq!((linspace(-5.0, 5.0, 100)[1] - -5.0), 0.10101010101010122);
        assert_eq!(arange(-2.0, 2.0, 0.1).len(), 40);
        assert_eq!(arange(40.0, 100.0, 0.1).len(), 600);
    }
}
