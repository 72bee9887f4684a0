//! Where there is no x86: a [`Bf16`] cannot be had, so nothing here is ever called.
use super::{Bf16, PANEL, Place, Plane, TAPS};

const NEVER: &str = "a Bf16 value exists only where the CPU has the instructions";

/// As for x86.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiles(());

/// As for x86.
pub fn pack_pairs(_: Bf16, _: &Plane, _: &[f32], _: Option<&[f32]>, _: &mut [u32]) {
    unreachable!("{NEVER}")
}
/// As for x86.
pub fn pack_strided(_: Bf16, _: &Plane, _: &[f32], _: Option<&[f32]>, _: usize, _: &mut [u32]) {
    unreachable!("{NEVER}")
}
/// As for x86.
pub fn product(_: Bf16, _: &Plane, _: usize, _: &[u32], _: &[u32], _: usize, _: &mut [f32]) {
    unreachable!("{NEVER}")
}
/// As for x86.
pub fn outer(_: Bf16, _: &Plane, _: usize, _: usize, _: usize, _: &[u32], _: usize, _: &[u32], _: &mut [f32]) {
    unreachable!("{NEVER}")
}
/// As for x86.
pub fn pack_panel(_: Bf16, _: &[f32], _: usize, _: usize, _: (usize, usize), _: &mut [u32]) {
    unreachable!("{NEVER}")
}
/// As for x86.
pub fn pack_blocks(_: Bf16, _: &[f32], _: usize, _: usize, _: (usize, usize), _: usize, _: &mut [u32]) {
    unreachable!("{NEVER}")
}
/// As for x86.
pub fn add_product(_: Bf16, _: (&[u32], usize, usize), _: &[&[u32]], _: &[Place], _: &mut [f32], _: usize) {
    unreachable!("{NEVER}")
}
/// As for x86.
pub fn pack_taps(_: Bf16, _: &[f32], _: usize, _: usize, _: (usize, usize), _: &mut [u32]) {
    unreachable!("{NEVER}")
}
/// As for x86.
pub fn add_taps(_: Bf16, _: &[[f32; PANEL]; TAPS], _: usize, _: usize, _: &mut [f32]) {
    unreachable!("{NEVER}")
}
