//! Matrix products in mixed precision. Both operands are packed in panels of 16 rows as pairs along what is summed over, the left
//! one in blocks of 16 pairs; the product of two packed matrices is `a b^T`.
use super::kernels::{add_product, pack_blocks, pack_panel};
use super::{BLOCK, Bf16, PAIRS, PANEL, Pairs, Place, TILE};
use crate::ops::cpu::parallel::prelude::*;
use std::ops::Range;

/// Where the values of a matrix lie: `(row, column)` strides, one of them 1.
pub type Strides = (usize, usize);

/// The left matrix of a product: `[panel][block of pairs of columns][row][pair]`.
pub struct Left {
    rows: usize,
    /// Pairs of all blocks.
    pairs: usize,
    values: Pairs,
}

impl Left {
    /// A matrix (rows, columns) of one piece.
    pub fn pack(cpu: Bf16, x: &[f32], rows: usize, columns: usize, strides: Strides) -> Self {
        Self::join(cpu, x, rows, columns, strides, 1, 0)
    }
    /// As [`Panels::join`].
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
            for i in 0..pieces {
                pack_blocks(cpu, &x[i * step + first * strides.0..], lanes, columns, strides, i * each, out);
            }
        })
    }
    /// Panels that `pack(first row, rows, panel)` fills in parallel; they are zero before.
    pub fn fill(rows: usize, pairs: usize, pack: impl Fn(usize, usize, &mut [u32]) + Sync) -> Self {
        let pairs = pairs.next_multiple_of(BLOCK);
        Self { rows, pairs, values: filled(rows, pairs, pack) }
    }
    /// Pairs `range` of a panel; it begins with a block.
    fn panel(&self, i: usize, range: Range<usize>) -> &[u32] {
        &self.values
            [(i * self.pairs + range.start) * PANEL..(i * self.pairs + range.end.next_multiple_of(BLOCK)) * PANEL]
    }
    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

fn filled(rows: usize, pairs: usize, pack: impl Fn(usize, usize, &mut [u32]) + Sync) -> Pairs {
    let mut values = Pairs::new(rows.div_ceil(PANEL) * pairs * PANEL);
    values.par_chunks_mut((pairs * PANEL).max(1)).enumerate().for_each(|(i, out)| {
        pack(i * PANEL, PANEL.min(rows - i * PANEL), out);
    });
    values
}

/// The right matrix of a product, each of whose rows is a column of what comes out: `[panel][pair of columns][row]`.
pub struct Panels {
    rows: usize,
    pairs: usize,
    values: Pairs,
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
        let pack = |first: usize, lanes, out: &mut [u32]| {
            for (i, out) in out.chunks_exact_mut(each * PANEL).enumerate() {
                pack_panel(cpu, &x[i * step + first * strides.0..], lanes, columns, strides, out);
            }
        };
        Self { rows, pairs: pieces * each, values: filled(rows, pieces * each, pack) }
    }
    /// Pairs `range` of a panel.
    fn panel(&self, i: usize, range: Range<usize>) -> &[u32] {
        &self.values[(i * self.pairs + range.start) * PANEL..(i * self.pairs + range.end) * PANEL]
    }
    /// Panels as one slice each, with where their columns of a product go in a row of contiguous values.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        (0..self.rows.div_ceil(PANEL)).map(|i| (i * PANEL, PANEL.min(self.rows - i * PANEL)))
    }
}

/// Adds rows `rows` of `a b^T` to `out`, whose rows are `stride` apart.
pub fn add_rows(cpu: Bf16, a: &Left, rows: Range<usize>, b: &Panels, out: &mut [f32], stride: usize) {
    let panels: Vec<&[u32]> = (0..b.rows.div_ceil(PANEL)).map(|i| b.panel(i, 0..b.pairs)).collect();
    add_to(cpu, a, rows, &panels, &b.places().collect::<Vec<_>>(), out, stride);
}

/// As [`add_rows`] with the right operand's panels one by one, and where the columns of each go.
pub fn add_to(cpu: Bf16, a: &Left, rows: Range<usize>, b: &[&[u32]], places: &[Place], out: &mut [f32], stride: usize) {
    let pairs = b.first().map_or(0, |b| b.len() / PANEL);
    for start in (0..pairs).step_by(PAIRS) {
        let pass = start..(start + PAIRS).min(pairs);
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
