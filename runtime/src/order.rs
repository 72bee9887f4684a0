//! Sorting, once for all that is sorted: each kind of value with a sort of its own is 4 KB more of a browser's program.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// The numbers below `len` in the order that `compare` says; equal ones as they were.
pub(crate) fn order(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len as u32).collect();
    order.sort_unstable_by(|&a, &b| compare(a as usize, b as usize).then(a.cmp(&b)));
    order
}
