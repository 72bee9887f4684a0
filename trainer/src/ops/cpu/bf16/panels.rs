//! Matrix products in mixed precision. Both operands are packed in panels of 16 rows as pairs along what is summed over; the
//! product of two packed matrices is `a b^T`.
use super::kernels::{PANEL, Place, add_product, pack_panel};
use super::{Bf16, TILE};
use crate::ops::cpu::parallel::prelude::*;
use std::ops::Range;

/// Pairs in one pass: panels of both operands stay in the caches.
const PASS: usize = 256;

/// Where the values of a matrix lie: `(row, column)` strides, one of them 1.
pub type Strides = (usize, usize);

/// A matrix packed in panels: `[panel][pair of columns][row]`.
pub struct Panels {
    rows: usize,
    pairs: usize,
    values: Vec<u32>,
}

impl Panels {
    /// A matrix (rows, columns) of one piece.
    pub fn pack(cpu: Bf16, x: &[f32], rows: usize, columns: usize, strides: Strides) -> Self {
        Self::join(cpu, x, rows, columns, strides, 1, 0)
    }
    /// Matrices (rows, columns), `step` values apart, joined side by side. A row of each begins a new pair.
    pub fn join(
        cpu: Bf16,
        x: &[f32],
        rows: usize,
        columns: usize,
        strides: Strides,
        pieces: usize,
        step: usize,
    ) -> Self {
        let each = columns.div_ceil(2);
        Self::fill(rows, pieces * each, |first, lanes, out| {
            for (i, out) in out.chunks_exact_mut(each * PANEL).enumerate() {
                pack_panel(cpu, &x[i * step + first * strides.0..], lanes, columns, strides, out);
            }
        })
    }
    /// Panels that `pack(first row, rows, panel)` fills in parallel; they are zero before.
    pub fn fill(rows: usize, pairs: usize, pack: impl Fn(usize, usize, &mut [u32]) + Sync) -> Self {
        let mut values = vec![0u32; rows.div_ceil(PANEL) * pairs * PANEL];
        values.par_chunks_mut((pairs * PANEL).max(1)).enumerate().for_each(|(i, out)| {
            pack(i * PANEL, PANEL.min(rows - i * PANEL), out);
        });
        Self { rows, pairs, values }
    }
    /// Pairs `range` of a panel.
    fn panel(&self, i: usize, range: Range<usize>) -> &[u32] {
        &self.values[(i * self.pairs + range.start) * PANEL..(i * self.pairs + range.end) * PANEL]
    }
    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Pairs of columns.
    pub fn pairs(&self) -> usize {
        self.pairs
    }
    /// Panels as one slice each, with where their columns of a product go in a row of contiguous values.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        (0..self.rows.div_ceil(PANEL)).map(|i| (i * PANEL, PANEL.min(self.rows - i * PANEL)))
    }
}

/// Adds rows `rows` of `a b^T` to `out`, whose rows are `stride` apart.
pub fn add_rows(cpu: Bf16, a: &Panels, rows: Range<usize>, b: &Panels, out: &mut [f32], stride: usize) {
    let panels: Vec<&[u32]> = (0..b.rows.div_ceil(PANEL)).map(|i| b.panel(i, 0..b.pairs)).collect();
    add_to(cpu, a, rows, &panels, &b.places().collect::<Vec<_>>(), out, stride);
}

/// As [`add_rows`] with the right operand's panels one by one, and where the columns of each go.
pub fn add_to(
    cpu: Bf16,
    a: &Panels,
    rows: Range<usize>,
    b: &[&[u32]],
    places: &[Place],
    out: &mut [f32],
    stride: usize,
) {
    for start in (0..a.pairs).step_by(PASS) {
        let pass = start..(start + PASS).min(a.pairs);
        for (b, places) in b.chunks(TILE).zip(places.chunks(TILE)) {
            let mut tile: [&[u32]; TILE] = [&[]; TILE];
            for (to, b) in tile.iter_mut().zip(b) {
                *to = &b[pass.start * PANEL..pass.end * PANEL];
            }
            let mut row = rows.start;
            while row < rows.end {
                let n = (PANEL - row % PANEL).min(rows.end - row);
                let left = (a.panel(row / PANEL, pass.clone()), row % PANEL, n);
                add_product(cpu, left, &tile[..b.len()], places, &mut out[(row - rows.start) * stride..], stride);
                row += n;
            }
        }
    }
}
