//! 3x3 convolution of small pictures in mixed precision. Their rows would leave much of a vector empty, so here they are
//! unfolded: 16 pixels under each tap are one vector, and the convolution is a product of panels.
use super::panels::{Left, add_to};
use super::{
    Bf16, GRAD_CHANNELS, GRAD_OUTPUTS, GRAD_TILE, GROUP, PANEL, Pairs, Plane, Size, TAPS, TILE, kernels, pack_channels,
    pack_outputs, tiles,
};
use crate::ops::cpu::parallel::prelude::*;
use crate::ops::cpu::storage::{filled_with_planes, written};
use std::mem::MaybeUninit;

/// Bytes up to which all pictures are packed before the weight's gradient begins.
const PACKED: usize = 8 << 20;

/// Whether pictures of this size are unfolded.
pub fn serves(h: usize, w: usize) -> bool {
    (w == 4 || w == 8) && (h * w).is_multiple_of(PANEL) && h * w <= 64
}

/// Weights (`rows`, inputs, 3, 3), with strides from row to row and from input to input, as panels over (pair of inputs, tap).
fn pack_weights(cpu: Bf16, w: &[f32], rows: usize, inputs: usize, strides: (usize, usize)) -> Left {
    let pairs = inputs.div_ceil(2) * TAPS;
    Left::fill(rows, pairs, |first, lanes, out| {
        kernels::pack_taps(cpu, &w[first * strides.0..], lanes, inputs, strides, out);
    })
}

/// 16 pixels from row `y` on under each tap of each plane: `[plane][tap][pixel]`.
#[inline(always)]
fn unfold<const W: usize>(planes: &[u32], plane: &Plane, y: usize, flip: bool, out: &mut [u32]) {
    let mut taps = plane.taps();
    if flip {
        taps.reverse();
    }
    for (plane_values, out) in planes.chunks_exact(plane.len).zip(out.chunks_exact_mut(TAPS * PANEL)) {
        for (tap, out) in taps.iter().zip(out.chunks_exact_mut(PANEL)) {
            for (i, out) in out.chunks_exact_mut(W).enumerate() {
                let from = tap + (y + i) * plane.row;
                out.copy_from_slice(&plane_values[from..from + W]);
            }
        }
    }
}

/// Adds the convolution of each picture (inputs, h, w) to its output (rows, h, w).
fn convolve(
    cpu: Bf16,
    weights: &Left,
    pictures: &[f32],
    inputs: usize,
    plane: &Plane,
    flip: bool,
    planes: &mut [u32],
    out: &mut [f32],
) {
    let (hw, rows, length) = (plane.h * plane.w, weights.rows(), inputs.div_ceil(2) * TAPS * PANEL);
    let each = inputs.div_ceil(2) * plane.len;
    for (picture, planes) in pictures.chunks_exact(inputs * hw).zip(planes.chunks_exact_mut(each)) {
        for (pair, out) in picture.chunks(2 * hw).zip(planes.chunks_exact_mut(plane.len)) {
            let (even, odd) = pair.split_at(hw);
            kernels::pack_pairs(cpu, plane, even, Some(odd).filter(|o| !o.is_empty()), out);
        }
    }
    let vectors = hw / PANEL;
    let total = out.len() / (rows * hw) * vectors;
    let mut tile = Pairs::new(TILE * length);
    for first in (0..total).step_by(TILE) {
        let n = TILE.min(total - first);
        let mut places = [(0, PANEL); TILE];
        for (i, panel) in tile.chunks_exact_mut(length).take(n).enumerate() {
            let (g, at) = ((first + i) / vectors, (first + i) % vectors * PANEL);
            let planes = &planes[g * each..(g + 1) * each];
            match plane.w {
                4 => unfold::<4>(planes, plane, at / 4, flip, panel),
                _ => unfold::<8>(planes, plane, at / 8, flip, panel),
            }
            places[i].0 = g * rows * hw + at;
        }
        let panels: [&[u32]; TILE] = std::array::from_fn(|i| &tile[i * length..(i + 1) * length]);
        add_to(cpu, weights, 0..rows, &panels[..n], &places[..n], out, hw);
    }
}

/// As [`super::forward`], for the pictures that [`serves`] names.
pub fn forward(cpu: Bf16, x: &[f32], w: &[f32], b: &[f32], s: Size) -> Vec<f32> {
    let (hw, plane) = (s.h * s.w, Plane::new(s.h, s.w));
    let weights = pack_weights(cpu, w, s.o, s.c, (s.c * TAPS, TAPS));
    let init = || vec![0u32; GROUP * s.c.div_ceil(2) * plane.len];
    let work = |planes: &mut Vec<u32>, i: usize, out: &mut [MaybeUninit<f32>]| {
        let out = filled_with_planes(out, b, hw);
        let x = &x[i * GROUP * s.c * hw..][..out.len() / s.o * s.c];
        convolve(cpu, &weights, x, s.c, &plane, false, planes, out);
    };
    // SAFETY: `filled_with_planes` writes every element.
    #[allow(unsafe_code)]
    unsafe {
        written(s.n * s.o * hw, GROUP * s.o * hw, init, work)
    }
}

/// Adds the gradient of the input to `gx`: a convolution of the output's with the flipped kernel.
pub fn input_gradient(cpu: Bf16, w: &[f32], go: &[f32], gx: &mut [f32], s: Size) {
    let (hw, plane) = (s.h * s.w, Plane::new(s.h, s.w));
    let weights = pack_weights(cpu, w, s.c, s.o, (TAPS, s.c * TAPS));
    let init = || vec![0u32; GROUP * s.o.div_ceil(2) * plane.len];
    let pictures = gx.par_chunks_mut(GROUP * s.c * hw).zip(go.par_chunks(GROUP * s.o * hw));
    pictures.for_each_init(init, |planes, (gx, go)| convolve(cpu, &weights, go, s.o, &plane, true, planes, gx));
}

/// Whether the packed pictures of a batch are few enough for [`weight_gradient`].
pub fn fits(plane: &Plane, s: Size) -> bool {
    s.n.div_ceil(2) * (s.c * plane.len + s.o * s.h * s.w) * size_of::<u32>() <= PACKED
}

/// The gradient of the weight over all pictures, in [`tiles`]: all are packed first, and then each tile is one piece of work, so
/// that no partial sums are made.
pub fn weight_gradient(cpu: Bf16, plane: &Plane, x: &[f32], go: &[f32], s: Size) -> Vec<f32> {
    let (hw, each, pairs) = (s.h * s.w, plane.vectors() * 16, s.n.div_ceil(2));
    let (blocks_o, blocks_c) = (s.o.div_ceil(GRAD_OUTPUTS), s.c.div_ceil(GRAD_CHANNELS));
    let (pair_stride, block) = (s.c.next_multiple_of(4) * plane.len, pairs * each * GRAD_OUTPUTS);
    let (mut xs, mut gs) = (Pairs::new(pairs * pair_stride), Pairs::new(blocks_o * block));
    xs.par_chunks_mut(pair_stride)
        .zip(x.par_chunks(2 * s.c * hw))
        .for_each(|(xs, x)| pack_channels(cpu, plane, x, s, xs));
    gs.par_chunks_mut(block).enumerate().for_each(|(i, gs)| {
        for (go, gs) in go.chunks(2 * s.o * hw).zip(gs.chunks_exact_mut(each * GRAD_OUTPUTS)) {
            pack_outputs(cpu, plane, go, i * GRAD_OUTPUTS, s, gs);
        }
    });
    let mut gw = vec![0f32; blocks_o * blocks_c * 3 * GRAD_TILE];
    let at = tiles(s);
    gw.par_chunks_mut(GRAD_TILE).enumerate().for_each(|(i, tile)| {
        let (o, dy, c) = at(i);
        let (x, go) = (&xs[c * plane.len..], &gs[o * block..]);
        kernels::outer(cpu, plane, pairs, GRAD_CHANNELS.min(s.c - c), dy, x, pair_stride, go, tile);
    });
    gw
}
