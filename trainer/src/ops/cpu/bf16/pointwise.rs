//! 1x1 convolution in mixed precision: per picture a product of the weights with a matrix (channels, pixels).
use super::kernels::pack_panel;
use super::panels::{Left, Panels, add_rows, add_to};
use super::{Bf16, GROUP, PANEL, Pairs, Size, TILE};
use crate::ops::cpu::parallel::prelude::*;
use crate::ops::cpu::storage::{filled_with_planes, written};
use std::mem::MaybeUninit;

/// Outputs whose weights' gradient is one piece of work.
const OUTPUTS: usize = 32;

/// Pictures that share tiles: small ones do not fill them alone.
fn group(hw: usize) -> usize {
    if hw < 256 { GROUP } else { 1 }
}

/// Adds `weights` times each picture (inputs, pixels) to its output (rows, pixels).
fn convolve(cpu: Bf16, weights: &Left, pictures: &[f32], inputs: usize, hw: usize, out: &mut [f32]) {
    let (rows, length) = (weights.rows(), inputs.div_ceil(2) * PANEL);
    let vectors = hw.div_ceil(PANEL);
    let total = out.len() / (rows * hw) * vectors;
    let mut tile = Pairs::new(TILE * length);
    for first in (0..total).step_by(TILE) {
        let n = TILE.min(total - first);
        let mut places = [(0, 0); TILE];
        for (i, panel) in tile.chunks_exact_mut(length).take(n).enumerate() {
            let (g, at) = ((first + i) / vectors, (first + i) % vectors * PANEL);
            let lanes = PANEL.min(hw - at);
            pack_panel(cpu, &pictures[g * inputs * hw + at..], lanes, inputs, (1, hw), panel);
            places[i] = (g * rows * hw + at, lanes);
        }
        let panels: [&[u32]; TILE] = std::array::from_fn(|i| &tile[i * length..(i + 1) * length]);
        add_to(cpu, weights, 0..rows, &panels[..n], &places[..n], out, hw);
    }
}

/// The convolution of `x` (n, c, h, w) with `w` (o, c, 1, 1), plus `b`.
pub fn forward(cpu: Bf16, x: &[f32], w: &[f32], b: &[f32], s: Size) -> Vec<f32> {
    let hw = s.h * s.w;
    let (weights, each) = (Left::pack(cpu, w, s.o, s.c, (s.c, 1)), group(hw));
    let work = |(): &mut (), i: usize, out: &mut [MaybeUninit<f32>]| {
        let out = filled_with_planes(out, b, hw);
        convolve(cpu, &weights, &x[i * each * s.c * hw..], s.c, hw, out);
    };
    // SAFETY: `filled_with_planes` writes every element.
    #[allow(unsafe_code)]
    unsafe {
        written(s.n * s.o * hw, each * s.o * hw, || (), work)
    }
}

/// Adds the gradient of the input to `gx`.
pub fn input_gradient(cpu: Bf16, w: &[f32], go: &[f32], gx: &mut [f32], s: Size) {
    let hw = s.h * s.w;
    let (weights, each) = (Left::pack(cpu, w, s.c, s.o, (1, s.c)), group(hw));
    let pictures = gx.par_chunks_mut(each * s.c * hw).zip(go.par_chunks(each * s.o * hw));
    pictures.for_each(|(gx, go)| convolve(cpu, &weights, go, s.o, hw, gx));
}

/// Adds the gradient of the weight to `gw`: it sums over the pixels of all pictures.
pub fn weight_gradient(cpu: Bf16, x: &[f32], go: &[f32], gw: &mut [f32], s: Size) {
    let hw = s.h * s.w;
    let x = Panels::join(cpu, x, s.c, hw, (hw, 1), s.n, s.c * hw);
    let go = Left::join(cpu, go, s.o, hw, (hw, 1), s.n, s.o * hw);
    gw.par_chunks_mut(OUTPUTS * s.c).enumerate().for_each(|(i, gw)| {
        let first = i * OUTPUTS;
        add_rows(cpu, &go, first..first + gw.len() / s.c, &x, gw, s.c);
    });
}
