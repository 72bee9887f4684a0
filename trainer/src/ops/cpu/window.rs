//! Sliding windows over pictures: a strided convolution reads them (unfold), a transposed one writes them (fold).
use super::PARTS;
use super::parallel::prelude::*;
use std::ops::Range;

/// Pixels that a matrix product should at least span, so that packing the weights for it costs little.
const PIXELS: usize = 784;

/// Pictures `(c, h, w)` under windows of `k * k`, `stride` apart, with zeros around the picture.
#[derive(Clone, Copy)]
pub struct Windows {
    /// Channels of a picture.
    pub c: usize,
    /// Height of a picture.
    pub h: usize,
    /// Width of a picture.
    pub w: usize,
    /// Side of a window.
    pub k: usize,
    /// Step from window to window.
    pub stride: usize,
    /// Zeros above and left.
    pub pad: usize,
    /// Zeros below and right.
    pub trail: usize,
}

impl Windows {
    /// Windows down and across.
    pub fn count(&self) -> (usize, usize) {
        let along = |n: usize| (n + self.pad + self.trail - self.k) / self.stride + 1;
        (along(self.h), along(self.w))
    }
    /// Windows in a picture.
    pub fn total(&self) -> usize {
        let (h, w) = self.count();
        h * w
    }
    /// Values under a window.
    pub fn depth(&self) -> usize {
        self.c * self.k * self.k
    }
    /// Values of a picture.
    pub fn picture(&self) -> usize {
        self.c * self.h * self.w
    }
    /// Pictures of `n` to put into one product.
    pub fn group(&self, n: usize) -> usize {
        (PIXELS / self.total().max(1)).clamp(1, n.div_ceil(PARTS).max(1))
    }

    /// For each row of windows of each (channel, tap), where it lies in `columns`, which row of the picture it reads
    /// (none if it lies in the padding), and the range of windows inside the picture with the first one's column.
    #[inline(always)]
    fn each(&self, row: usize, at: usize, mut f: impl FnMut(Range<usize>, Option<usize>, Range<usize>, usize)) {
        let (oh, ow) = self.count();
        let (k, s, p) = (self.k, self.stride, self.pad);
        for c in 0..self.c {
            for tap in 0..k * k {
                let (ky, kx) = (tap / k, tap % k);
                let first = p.saturating_sub(kx).div_ceil(s).min(ow);
                let end = if self.w + p > kx { ((self.w + p - kx - 1) / s + 1).min(ow) } else { 0 };
                for oy in 0..oh {
                    let from = (c * k * k + tap) * row + at + oy * ow;
                    let y = (oy * s + ky).checked_sub(p).filter(|y| *y < self.h && first < end);
                    let x = (first * s + kx).saturating_sub(p);
                    f(from..from + ow, y.map(|y| (c * self.h + y) * self.w), first..end.max(first), x);
                }
            }
        }
    }

    /// `columns[(channel, ky, kx), (g, oy, ox)] = pictures[g, channel, oy s + ky - p, ox s + kx - p]`, zero outside.
    pub fn unfold(&self, pictures: &[f32], columns: &mut [f32]) {
        let row = columns.len() / self.depth();
        for (g, picture) in pictures.chunks_exact(self.picture()).enumerate() {
            self.each(row, g * self.total(), |to, line, inside, x| {
                let out = &mut columns[to];
                let Some(line) = line else {
                    out.fill(0.0);
                    return;
                };
                out[..inside.start].fill(0.0);
                out[inside.end..].fill(0.0);
                let from = &picture[line + x..];
                let out = &mut out[inside];
                // The strides in use, spelled out: a general step is several times slower.
                match self.stride {
                    1 => out.iter_mut().zip(from).for_each(|(o, x)| *o = *x),
                    2 => out.iter_mut().zip(from.chunks(2)).for_each(|(o, x)| *o = x[0]),
                    s => out.iter_mut().zip(from.iter().step_by(s)).for_each(|(o, x)| *o = *x),
                }
            });
        }
    }

    /// The adjoint of [`Self::unfold`]: adds every column to where it came from.
    pub fn fold(&self, columns: &[f32], pictures: &mut [f32]) {
        let row = columns.len() / self.depth();
        for (g, picture) in pictures.chunks_exact_mut(self.picture()).enumerate() {
            self.each(row, g * self.total(), |from, line, inside, x| {
                if let Some(line) = line {
                    let (to, columns) = (&mut picture[line + x..], &columns[from][inside]);
                    match self.stride {
                        1 => to.iter_mut().zip(columns).for_each(|(p, c)| *p += c),
                        2 => to.chunks_mut(2).zip(columns).for_each(|(p, c)| p[0] += c),
                        s => to.iter_mut().step_by(s).zip(columns).for_each(|(p, c)| *p += c),
                    }
                }
            });
        }
    }
}

/// `(g, rows, pixels)` to `(rows, g, pixels)`.
pub fn gather(pictures: &[f32], rows: usize, pixels: usize, out: &mut [f32]) {
    let group = pictures.len() / (rows * pixels);
    for (g, picture) in pictures.chunks_exact(rows * pixels).enumerate() {
        for (r, plane) in picture.chunks_exact(pixels).enumerate() {
            out[(r * group + g) * pixels..][..pixels].copy_from_slice(plane);
        }
    }
}

/// Adds `(rows, g, pixels)` to `(g, rows, pixels)`.
pub fn scatter_add(product: &[f32], rows: usize, pixels: usize, pictures: &mut [f32]) {
    let group = pictures.len() / (rows * pixels);
    for (g, picture) in pictures.chunks_exact_mut(rows * pixels).enumerate() {
        for (r, plane) in picture.chunks_exact_mut(pixels).enumerate() {
            plane.iter_mut().zip(&product[(r * group + g) * pixels..][..pixels]).for_each(|(a, b)| *a += b);
        }
    }
}

/// Cuts `v` (pictures of `size` values) at the parts of a batch of `n`, so that each part owns its slice.
pub fn owned_parts(mut v: &mut [f32], n: usize, size: usize) -> Vec<(Range<usize>, &mut [f32])> {
    let mut out = Vec::with_capacity(PARTS);
    for range in super::parts(n) {
        let (mine, rest) = v.split_at_mut(range.len() * size);
        v = rest;
        out.push((range, mine));
    }
    out
}

/// Values from which a sum is shared by the threads.
const SHARED: usize = 1 << 14;

/// Adds a part's sums to the total, in order.
pub fn add_all(total: &mut [f32], part: &[f32]) {
    let add = |(total, part): (&mut [f32], &[f32])| total.iter_mut().zip(part).for_each(|(a, b)| *a += b);
    if total.len() < SHARED {
        return add((total, part));
    }
    total.par_chunks_mut(SHARED / 4).zip(part.par_chunks(SHARED / 4)).for_each(add);
}
