//! The kernels of the matrix product on a caller's memory: what attention is made of.

use super::pack::Format;
use super::{Acc, Isa, Kernel, MAX_ROWS, NR, Taps};

/// A row of 32 columns, as the kernels read and write it.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
pub(in crate::cpu) struct Lanes(pub [f32; NR]);

impl Lanes {
    pub const COUNT: usize = NR;
    pub const ZERO: Self = Lanes([0.0; NR]);
}

/// Products of a matrix and a panel of 32 columns.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct PanelProduct(Kernel);

impl PanelProduct {
    /// Rows that [`Self::add`] may change after the last one.
    pub const SLACK: usize = MAX_ROWS;

    /// For an instruction set that the machine has.
    pub fn new(isa: Isa) -> Self {
        Self(Kernel::of(isa, Format::F32))
    }

    /// `acc[i] += sum over t of a[i * stride + t] * b[t]` for `rows` rows, each element by fused multiply-adds in the
    /// order of t. `acc` has [`Self::SLACK`] rows more; what they hold afterwards is arbitrary.
    ///
    /// # Panics
    /// Where `a` or `acc` is too short.
    pub fn add(self, a: &[f32], stride: usize, rows: usize, b: &[Lanes], acc: &mut [Lanes]) {
        let Some(last) = rows.checked_sub(1) else { return };
        let end = last.checked_mul(stride).and_then(|n| n.checked_add(b.len()));
        assert!(end.is_some_and(|end| end <= a.len()), "panel product: length of a");
        assert!(rows + Self::SLACK <= acc.len(), "panel product: length of acc");
        for row in (0..rows).step_by(self.0.rows) {
            let count = self.0.rows.min(rows - row);
            let pointer = |i: usize| a.as_ptr().wrapping_add((row + i).min(last) * stride).cast();
            let table = [core::array::from_fn(pointer)];
            let taps = Taps { rows: &table, count, steps: b.len(), weights: b.as_ptr().cast(), together: None };
            let acc = acc[row..row + MAX_ROWS].as_mut_ptr().cast::<Acc>();
            // SAFETY: the instruction set is the machine's; behind each pointer lie `b.len()` values, as the first
            // assertion says; a Lanes is a row of weights with their alignment; and the slice of MAX_ROWS Lanes has
            // the layout of an Acc.
            unsafe { (self.0.accumulate)(&taps, &mut *acc) };
        }
    }
}
