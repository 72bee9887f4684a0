//! Convolution as matrix products over unfolded pictures, a group of pictures at a time so that small ones fill the product.
use super::parallel::prelude::*;
use super::storage::{Operand, as_uninit, data, gemm, take_gradient, written};
use super::window::add_all;
use super::{PARTS, bf16, split_parts};
use crate::ops::Precision;
use crate::tensor::{T1, T4, Tp};
use dfdx::prelude::*;
use std::mem::MaybeUninit;

/// Pixels that a product should at least span: below this, packing the weights anew for each product costs as much as the
/// product itself.
const PIXELS: usize = 784;

#[derive(Clone, Copy)]
struct Size {
    n: usize,
    c: usize,
    h: usize,
    w: usize,
    o: usize,
    k: usize,
}

impl Size {
    fn pixels(&self) -> usize {
        self.h * self.w
    }
    /// Pictures in one product.
    fn group(&self) -> usize {
        (PIXELS / self.pixels().max(1)).clamp(1, self.n.div_ceil(PARTS).max(1))
    }
}

/// `columns[(channel, ky, kx), (g, y, x)] = picture[g, channel, y + s (ky - p), x + s (kx - p)]`, zero outside; `s` is -1 if
/// `flip`, else 1. `row` is the length of a row of `columns`: pictures times pixels.
fn unfold(pictures: &[f32], channels: usize, size: Size, flip: bool, columns: &mut [f32]) {
    let (h, w, k, hw) = (size.h, size.w, size.k, size.pixels());
    let group = pictures.len() / (channels * hw);
    let row = group * hw;
    let pad = (k / 2) as isize;
    for (g, picture) in pictures.chunks_exact(channels * hw).enumerate() {
        for (c, plane) in picture.chunks_exact(hw).enumerate() {
            for tap in 0..k * k {
                let (dy, dx) = ((tap / k) as isize - pad, (tap % k) as isize - pad);
                let (dy, dx) = if flip { (-dy, -dx) } else { (dy, dx) };
                let start = (c * k * k + tap) * row + g * hw;
                let out = &mut columns[start..start + hw];
                let (x0, x1) = ((-dx).max(0) as usize, (w as isize - dx.max(0)).max(0) as usize);
                for (y, out) in out.chunks_exact_mut(w).enumerate() {
                    let sy = y as isize + dy;
                    if sy < 0 || sy >= h as isize || x0 >= x1 {
                        out.fill(0.0);
                        continue;
                    }
                    let from = sy as usize * w + (x0 as isize + dx) as usize;
                    out[..x0].fill(0.0);
                    out[x0..x1].copy_from_slice(&plane[from..from + x1 - x0]);
                    out[x1..].fill(0.0);
                }
            }
        }
    }
}

/// `(g, rows, pixels)` to `(rows, g, pixels)`.
fn gather(pictures: &[f32], rows: usize, hw: usize, out: &mut [f32]) {
    let group = pictures.len() / (rows * hw);
    for (g, picture) in pictures.chunks_exact(rows * hw).enumerate() {
        for (r, plane) in picture.chunks_exact(hw).enumerate() {
            out[(r * group + g) * hw..][..hw].copy_from_slice(plane);
        }
    }
}

fn forward(x: &[f32], w: &[f32], b: &[f32], s: Size) -> Vec<f32> {
    let (hw, depth, group) = (s.pixels(), s.c * s.k * s.k, s.group());
    // Each group of pictures is one piece of work; the last may be smaller.
    let init = || (vec![0f32; if s.k > 1 || group > 1 { depth * group * hw } else { 0 }], vec![0f32; s.o * group * hw]);
    let work = |scratch: &mut (Vec<f32>, Vec<f32>), i: usize, out: &mut [MaybeUninit<f32>]| {
        let (columns, product) = scratch;
        let g = group.min(s.n - i * group);
        let (row, pictures) = (g * hw, &x[i * group * s.c * hw..][..g * s.c * hw]);
        let columns: &[f32] = if s.k > 1 {
            unfold(pictures, s.c, s, false, &mut columns[..depth * row]);
            &columns[..depth * row]
        } else if g > 1 {
            gather(pictures, s.c, hw, &mut columns[..depth * row]);
            &columns[..depth * row]
        } else {
            pictures
        };
        let product = &mut product[..s.o * row];
        gemm(s.o, row, depth, Operand(w, depth, 1), Operand(columns, row, 1), as_uninit(product), false);
        for (g, out) in out[..s.o * row].chunks_exact_mut(s.o * hw).enumerate() {
            for (o, out) in out.chunks_exact_mut(hw).enumerate() {
                for (y, p) in out.iter_mut().zip(&product[o * row + g * hw..][..hw]) {
                    y.write(p + b[o]);
                }
            }
        }
    };
    // SAFETY: `work` writes all `g` pictures of its group; `written` cuts the last chunk to the pictures that are left.
    #[allow(unsafe_code)]
    unsafe {
        written(s.n * s.o * hw, group * s.o * hw, init, work)
    }
}

/// Adds the gradient of the input to `gx` and returns that of the weight.
fn backward(x: &[f32], w: &[f32], go: &[f32], gx: &mut [f32], s: Size) -> Vec<f32> {
    let (hw, taps, group) = (s.pixels(), s.k * s.k, s.group());
    let depth = s.o * taps;
    // The weight as (c, o, k, k): the input's gradient is a convolution of the output's with the flipped kernel.
    let mut wt = vec![0f32; s.c * depth];
    for o in 0..s.o {
        for c in 0..s.c {
            wt[c * depth + o * taps..][..taps].copy_from_slice(&w[(o * s.c + c) * taps..][..taps]);
        }
    }
    // Parts begin at whole pictures; each owns its slice of gx and its own partial sums.
    let partial: Vec<Vec<f32>> = split_parts(gx, s.n, s.c * hw)
        .into_par_iter()
        .map(|(range, gx)| {
            let mut columns = vec![0f32; depth * group * hw];
            let mut inputs = vec![0f32; s.c * group * hw];
            let mut gw = vec![0f32; s.c * depth];
            let (x, go) =
                (&x[range.start * s.c * hw..range.end * s.c * hw], &go[range.start * s.o * hw..range.end * s.o * hw]);
            let groups =
                x.chunks(group * s.c * hw).zip(go.chunks(group * s.o * hw)).zip(gx.chunks_mut(group * s.c * hw));
            for ((x, go), gx) in groups {
                let row = x.len() / s.c;
                let columns = &mut columns[..depth * row];
                unfold(go, s.o, s, true, columns);
                let inputs = &mut inputs[..s.c * row];
                gather(x, s.c, hw, inputs);
                gemm(s.c, depth, row, Operand(inputs, row, 1), Operand(columns, 1, row), as_uninit(&mut gw), true);
                // The inputs are done with: their buffer takes the gradient.
                gemm(s.c, row, depth, Operand(&wt, depth, 1), Operand(columns, row, 1), as_uninit(inputs), false);
                for (g, gx) in gx.chunks_exact_mut(s.c * hw).enumerate() {
                    for (c, gx) in gx.chunks_exact_mut(hw).enumerate() {
                        for (d, p) in gx.iter_mut().zip(&inputs[c * row + g * hw..][..hw]) {
                            *d += p;
                        }
                    }
                }
            }
            gw
        })
        .collect();
    let mut gw = vec![0f32; s.o * s.c * taps];
    gw.par_chunks_mut((s.c * taps).max(1)).enumerate().for_each(|(o, gw)| {
        for p in &partial {
            for (c, gw) in gw.chunks_exact_mut(taps).enumerate() {
                gw.iter_mut().zip(&p[c * depth + o * taps..]).for_each(|(a, b)| *a += b);
            }
        }
    });
    gw
}

/// The sum of the output's gradient per channel, by lanes and then in f64.
fn bias_gradient(go: &[f32], s: Size) -> Vec<f32> {
    let hw = s.pixels();
    let channel = |o| (0..s.n).map(|n| super::sum::sum_by(&go[(n * s.o + o) * hw..][..hw], |g| g)).sum::<f64>() as f32;
    (0..s.o).into_par_iter().map(channel).collect()
}

/// Input and output channels from which bf16 gains: below, most of a tile would be padding, and such layers (a network's first
/// and last) are the ones that need their precision most.
pub(super) const BF16_CHANNELS: usize = 16;

/// See [`crate::ops::Kit::conv2d_in`].
pub fn conv2d<T: Tp<Cpu>>(x: T4<Cpu, T>, w: &T4<Cpu>, b: &T1<Cpu>, precision: Precision) -> T4<Cpu, T> {
    let (n, c, h, wd) = *x.shape();
    let (o, _, k, _) = *w.shape();
    let size = Size { n, c, h, w: wd, o, k };
    let (x, mut tape) = x.split_tape();
    let (w, b) = (w.clone(), b.clone());
    let mixed = match precision {
        Precision::Bf16(cpu) if (k == 3 || k == 1) && c.min(o) >= BF16_CHANNELS && n * h * wd > 0 => {
            Some((cpu, bf16::Size { n, c, h, w: wd, o }))
        }
        _ => None,
    };
    let y = match mixed {
        Some((cpu, size)) if k == 1 => bf16::pointwise::forward(cpu, data(&x), data(&w), data(&b), size),
        Some((cpu, size)) => bf16::forward(cpu, data(&x), data(&w), data(&b), size),
        None => forward(data(&x), data(&w), data(&b), size),
    };
    let out = x.device().tensor_from_vec(y, (n, o, h, wd));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        match mixed {
            Some((cpu, size)) if k == 1 => {
                bf16::pointwise::input_gradient(cpu, data(&w), &go, g.get_or_alloc_mut(&x)?, size);
                bf16::pointwise::weight_gradient(cpu, data(&x), &go, g.get_or_alloc_mut(&w)?, size);
            }
            Some((cpu, size)) => {
                bf16::input_gradient(cpu, data(&w), &go, g.get_or_alloc_mut(&x)?, size);
                bf16::weight_gradient(cpu, data(&x), &go, g.get_or_alloc_mut(&w)?, size);
            }
            None => {
                let gw = backward(data(&x), data(&w), &go, g.get_or_alloc_mut(&x)?, size);
                add_all(g.get_or_alloc_mut(&w)?, &gw);
            }
        }
        add_all(g.get_or_alloc_mut(&b)?, &bias_gradient(&go, size));
        Ok(())
    });
    out.put_tape(tape)
}
