//! A product of two matrices in either precision, on one thread.
use super::bf16::Bf16;
use super::bf16::panels::{Left, Panels, add_rows};
use super::storage::{Operand, as_uninit, gemm};

/// A matrix and its strides from row to row and from column to column.
pub type Matrix<'a> = (&'a [f32], (usize, usize));

/// Adds `a b^T` to `y` (m, n), `a` (m, k) and `b` (n, k); one of each one's strides is 1. The operands are rounded to bf16 where a CPU
/// for that is given.
pub fn add_product(bf16: Option<Bf16>, a: Matrix, b: Matrix, [m, n, k]: [usize; 3], y: &mut [f32]) {
    match bf16 {
        Some(cpu) => {
            let (left, right) = (Left::pack(cpu, a.0, m, k, a.1), Panels::pack(cpu, b.0, n, k, b.1));
            add_rows(cpu, &left, 0..m, &right, y, n);
        }
        None => {
            let (left, right) = (Operand(a.0, a.1.0, a.1.1), Operand(b.0, b.1.1, b.1.0));
            gemm(m, n, k, left, right, as_uninit(y), true);
        }
    }
}
