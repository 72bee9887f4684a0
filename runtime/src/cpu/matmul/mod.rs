//! The matrix product under convolutions and linear layers: an indirect GEMM.
//!
//! For output pixel m and channel n: `y[m][n] = sum over taps t, channels c of x[pixel(m, t)][c] * w[n][t][c]`, where
//! `pixel(m, t)` is the input pixel under tap t, or a row of zeros outside the picture. A kernel takes some rows of
//! pointers, one for each tap, and a packed panel of 32 output channels, so no picture is ever unfolded (after
//! Dukhan, The Indirect Convolution Algorithm, 2019).
//!
//! **The same bits everywhere.** One accumulator for each output element starts at +0 and takes its products in the
//! order (tap, channel): for float weights by fused multiply-add; for quantized ones an exact integer sum for each
//! block of 32 channels, then `acc + (d_w * d_x) * sum`, multiplied and added apart (blocks with minima, or with two
//! scales, add twice: `matmul/k`). A tap outside the picture
//! multiplies zeros and is never skipped: skipping could change no more than the sign of a zero, but so nothing depends
//! on the tiling.
#![allow(unsafe_code)] // rows of pointers, and threads that write disjoint parts of one output

#[cfg_attr(not(all(target_arch = "x86_64", feature = "std")), path = "no_amx.rs")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod k;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
mod pack;
mod panel;
mod quantize;
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
mod stored;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use pack::Matrix;
pub(super) use panel::{Lanes, PanelProduct};

use super::pool::Parts;
use super::{Activation, Context, Epilogue, Isa};
use crate::quant::DType;
use pack::Format;
use quantize::{ActBlock, quantize};

/// Output channels in a panel.
pub(crate) const NR: usize = 32;
/// Input channels in a quantization block.
const BLOCK: usize = 32;
/// Most rows in a tile; also the stride of a tile's table of pointers.
const MAX_ROWS: usize = 12;
/// Taps in one table of pointers; a larger kernel takes several.
const MAX_TAPS: usize = 16;
/// Bytes of weights that stay in a core's second-level cache while rows pass by.
const CACHED_WEIGHTS: usize = 640 << 10;
/// Multiply-adds below which waking another thread costs more than it brings.
const SERIAL: usize = 1 << 18;

/// Accumulators of a tile.
#[repr(C, align(64))]
struct Acc([[f32; NR]; MAX_ROWS]);

/// One step of a kernel: `acc[i] += rows[..][i] * weights` over some taps.
struct Taps<'a> {
    /// `[taps][MAX_ROWS]`: where each tap's input pixel begins; the first `count` of each tap are valid, and the rest
    /// repeat the last.
    rows: &'a [[*const u8; MAX_ROWS]],
    /// Rows of the tile, 1 to the kernel's `rows`.
    count: usize,
    /// Records in each tap: channels, or blocks of 32.
    steps: usize,
    /// The panel at the first of these taps, aligned to 64 bytes.
    weights: *const u8,
    /// Where the rows' records are together, if the kernel wants them so.
    #[cfg_attr(not(all(target_arch = "x86_64", feature = "std")), allow(dead_code, reason = "amx alone reads it"))]
    together: Option<amx::Together>,
}

/// Where a finished tile goes.
struct Target<'a> {
    epilogue: &'a Epilogue<'a>,
    y: *mut f32,
    /// Length of a row of y.
    c_out: usize,
    /// First row, number of rows.
    row: usize,
    count: usize,
    /// First channel, number of channels (32, or fewer in the last panel).
    channel: usize,
    channels: usize,
    /// With [`super::Activation::Geglu`], the gate's products.
    gate: Option<&'a Acc>,
}

/// The code for one instruction set and weight format.
#[derive(Clone, Copy)]
struct Kernel {
    /// Rows of a tile.
    rows: usize,
    /// Whether it wants the rows of a tile together ([`amx`]).
    together: bool,
    /// Safe to call where the machine has the instruction set, and the pointers are good for the sizes given.
    accumulate: unsafe fn(&Taps, &mut Acc),
    /// Applies the epilogue; safe to call where the target's elements of y are the caller's alone.
    finish: unsafe fn(&Target, &Acc),
}

impl Kernel {
    fn new(rows: usize, accumulate: unsafe fn(&Taps, &mut Acc), finish: unsafe fn(&Target, &Acc)) -> Self {
        Self { rows, together: false, accumulate, finish }
    }

    fn of(isa: Isa, format: Format) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx if format.is_quantized() => amx::kernel(format),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni if format.is_quantized() => vnni::kernel(format),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Vnni | Isa::Amx if !format.is_quantized() => avx512::kernel(format),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => avx2::kernel(format),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Isa::Neon => neon::kernel(format),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => simd128::kernel(format),
            _ => scalar::kernel(format),
        }
    }
}

impl Target<'_> {
    /// Asks for the output's lines while the sums are computed, so that the stores find them.
    fn prefetch(&self) {
        for i in 0..self.count {
            let index = (self.row + i) * self.c_out + self.channel;
            prefetch(self.y.wrapping_add(index).cast_const().cast(), self.channels * size_of::<f32>());
        }
    }

    /// Stores all rows of a tile; inlined into code compiled for each instruction set.
    ///
    /// # Safety
    /// Rows `row..row + count`, channels `channel..channel + channels` of y exist and are the caller's alone.
    #[inline(always)]
    unsafe fn store(&self, acc: &Acc) {
        for (i, acc) in acc.0.iter().enumerate().take(self.count) {
            let index = (self.row + i) * self.c_out + self.channel;
            // SAFETY: the caller's promise.
            let out = unsafe { core::slice::from_raw_parts_mut(self.y.add(index), self.channels) };
            match self.gate {
                None => self.epilogue.finish(acc, self.channel, index, out),
                Some(gate) => self.epilogue.finish_gated(acc, &gate.0[i], [self.channel, self.c_out], index, out),
            }
        }
    }
}

/// Which input pixels an output pixel sees.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    /// Input pixels are repeated `1 << shift` times along both axes.
    pub shift: u32,
    pub out_h: usize,
    pub out_w: usize,
    pub kernel: usize,
    pub stride: usize,
    /// Rows of zeros above the picture.
    pub top: usize,
    /// Columns of zeros left of it.
    pub left: usize,
}

/// Input pixels in memory.
#[derive(Clone, Copy)]
struct Source<'a> {
    /// Where a task gathers what it sees of them.
    room: &'a amx::Room,
    base: *const u8,
    /// Bytes of a pixel.
    pixel: usize,
    /// A pixel of zeros.
    zero: *const u8,
}
// SAFETY: only read, while `run` holds the borrows of what it points to.
unsafe impl Sync for Source<'_> {}

impl Window {
    fn rows(&self) -> usize {
        self.n * self.out_h * self.out_w
    }

    /// Fills the table for the output pixels from `row` and the taps from `tap`.
    fn point(&self, s: &Source, row: usize, count: usize, tap: usize, table: &mut [[*const u8; MAX_ROWS]]) {
        let (mut x, rest) = (row % self.out_w, row / self.out_w);
        let (mut y, mut image) = (rest % self.out_h, rest / self.out_h);
        for i in 0..count {
            // Wrapped below zero is outside, as is beyond the far edge.
            let top = (y * self.stride).wrapping_sub(self.top);
            let left = (x * self.stride).wrapping_sub(self.left);
            let (mut ky, mut kx) = (tap / self.kernel, tap % self.kernel);
            for t in table.iter_mut() {
                let (iy, ix) = (top.wrapping_add(ky), left.wrapping_add(kx));
                // A shift rounds down, and takes what wrapped no further than it was: still outside.
                let (iy, ix) = (iy >> self.shift, ix >> self.shift);
                let inside = iy < self.h && ix < self.w;
                let offset = (image * self.h).wrapping_add(iy).wrapping_mul(self.w).wrapping_add(ix);
                t[i] = if inside { s.base.wrapping_add(offset.wrapping_mul(s.pixel)) } else { s.zero };
                kx += 1;
                if kx == self.kernel {
                    (ky, kx) = (ky + 1, 0);
                }
            }
            x += 1;
            if x == self.out_w {
                (y, x) = (y + 1, 0);
                if y == self.out_h {
                    (image, y) = (image + 1, 0);
                }
            }
        }
        for t in table {
            let last = t[count - 1];
            t[count..].fill(last);
        }
    }
}

/// Bytes of scratch for `pixels` input pixels of `inp` channels that `taps` of a kernel see: quantized activations and a pixel of
/// zeros, and what a kernel gathers of them.
pub(super) fn scratch_bytes(ctx: &Context, [pixels, taps, inp]: [usize; 3], dtype: DType) -> usize {
    let format = Format::of(dtype);
    let pixel = pixel_bytes(format, inp);
    let pixels = if format.is_quantized() { pixels + 1 } else { 1 };
    pixels * pixel + room_bytes(ctx, format, [taps, inp]) + 63 // wherever the scratch begins, a cache line's start is within 63 bytes
}

/// Bytes in which a kernel gathers.
fn room_bytes(ctx: &Context, format: Format, sizes: [usize; 2]) -> usize {
    amx::Room::bytes(ctx.isa(), format, sizes, ctx.pool.threads())
}

fn pixel_bytes(format: Format, inp: usize) -> usize {
    if format.is_quantized() { inp.div_ceil(BLOCK) * size_of::<ActBlock>() } else { inp * size_of::<f32>() }
}

/// Lays a pixel of zeros, and for quantized weights all activations, into `scratch`.
fn prepare<'a>(
    ctx: &Context,
    [pixels, inp]: [usize; 2],
    format: Format,
    x: &[f32],
    scratch: &mut [u8],
    room: &'a amx::Room,
) -> Source<'a> {
    let pixel = pixel_bytes(format, inp);
    let start = scratch.as_ptr().align_offset(64);
    let used = if format.is_quantized() { (pixels + 1) * pixel } else { pixel };
    assert!(start.checked_add(used).is_some_and(|n| n <= scratch.len()), "matrix product: scratch is too short");
    let scratch = &mut scratch[start..][..used];
    if !format.is_quantized() {
        scratch.fill(0);
        return Source { room, base: x.as_ptr().cast(), pixel, zero: scratch.as_ptr() };
    }
    let blocks = inp / BLOCK;
    let all = scratch.as_mut_ptr().cast::<ActBlock>();
    let zero = all.wrapping_add(pixels * blocks);
    let parts = Parts(all);
    let chunk = 64;
    let task = |i: usize| {
        let (from, to) = (i * chunk, ((i + 1) * chunk).min(pixels));
        // SAFETY: the blocks of pixels from..to, aligned and within `scratch`, are this task's alone; any bytes are a
        // valid ActBlock.
        let out = unsafe { core::slice::from_raw_parts_mut(parts.get().add(from * blocks), (to - from) * blocks) };
        quantize(ctx.isa(), &x[from * inp..to * inp], format.start(), out);
    };
    spread(ctx, pixels.div_ceil(chunk), pixels * inp, &task);
    // SAFETY: the last pixel of the scratch.
    unsafe { core::slice::from_raw_parts_mut(zero, blocks) }.fill(ActBlock::ZERO);
    Source { room, base: all.cast_const().cast(), pixel, zero: zero.cast_const().cast() }
}

/// On all threads if `work` operations are worth it.
fn spread(ctx: &Context, tasks: usize, work: usize, f: &(dyn Fn(usize) + Sync)) {
    if work < SERIAL {
        (0..tasks).for_each(f);
    } else {
        ctx.pool.run(tasks, f);
    }
}

/// Whether there is memory that weights are read from in place.
const IN_PLACE: bool = cfg!(not(target_family = "wasm"));

/// The whole product; sizes are checked against the slices here, once.
pub(super) fn run(
    ctx: &Context,
    window: &Window,
    x: &[f32],
    w: &Matrix,
    e: &Epilogue,
    scratch: &mut [u8],
    y: &mut [f32],
) {
    let gated = e.activation == Activation::Geglu;
    let (rows, pixels, c_out) =
        (window.rows(), window.n * window.h * window.w, if gated { w.out() / 2 } else { w.out() });
    assert_eq!(x.len(), pixels * w.inp(), "matrix product: length of x");
    assert_eq!(y.len(), rows * c_out, "matrix product: length of y");
    assert!(e.bias.is_empty() || e.bias.len() == w.out(), "matrix product: length of the bias");
    assert!(e.residual.is_none_or(|r| r.len() == y.len()), "matrix product: length of the residual");
    assert!(!gated || w.out().is_multiple_of(2), "matrix product: a gated layer with an odd number of features");
    if rows == 0 {
        return;
    }
    if let Some(stored) = w.rows().filter(|_| IN_PLACE) {
        return stored::run(ctx, window, x, w, stored, e, y);
    }
    let room = room_bytes(ctx, w.format(), [w.taps(), w.inp()]);
    assert!(room <= scratch.len(), "matrix product: scratch is too short");
    let (room, scratch) = scratch.split_at_mut(room);
    let room = amx::Room::new(room, [w.taps(), w.inp()]);
    let source = prepare(ctx, [pixels, w.inp()], w.format(), x, scratch, &room);
    let kernel = Kernel::of(ctx.isa(), w.format());

    // A task: some tiles of rows by some panels. Four tasks a thread even out what else the machine is doing.
    let all = c_out.div_ceil(NR);
    let (tiles, threads) = (rows.div_ceil(kernel.rows), ctx.pool.threads());
    let chunk = tiles.div_ceil(4 * threads).clamp(1, 192 / kernel.rows);
    let down = tiles.div_ceil(chunk);
    let across = if threads == 1 { 1 } else { (2 * threads).div_ceil(down).min(all) };
    let panels = all.div_ceil(across);
    let across = all.div_ceil(panels);
    let y = Parts(y.as_mut_ptr());
    let task = |i: usize| {
        let (row, panel) = (i / across * chunk * kernel.rows, i % across * panels);
        let (to_row, to_panel) = ((row + chunk * kernel.rows).min(rows), (panel + panels).min(all));
        part(&kernel, window, &source, w, e, &y, c_out, row..to_row, panel..to_panel);
    };
    spread(ctx, down * across, rows * w.out() * w.taps() * w.inp(), &task);
}

/// Asks for the pixels that the next tile sees first: with stride 1, those after the last tap's. A wrong guess costs
/// only the asking.
fn ahead(last_tap: &[*const u8], pixel: usize) {
    for p in last_tap {
        prefetch(p.wrapping_add(last_tap.len() * pixel), pixel);
    }
}

/// Asks for `bytes` from `p`, which need not be memory at all.
#[inline(always)]
fn prefetch(p: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..bytes).step_by(64) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed, and changes nothing that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (p, bytes);
}

/// Computes `rows` of y, for the channels of `panels`.
fn part(
    kernel: &Kernel,
    window: &Window,
    source: &Source,
    w: &Matrix,
    e: &Epilogue,
    y: &Parts<f32>,
    c_out: usize,
    rows: core::ops::Range<usize>,
    panels: core::ops::Range<usize>,
) {
    let steps = w.inp() / w.format().step();
    let gated = e.activation == Activation::Geglu;
    let group = (CACHED_WEIGHTS / w.panel_bytes() / if gated { 2 } else { 1 }).max(1);
    let whole = w.taps() <= MAX_TAPS;
    let mut table = [[core::ptr::null(); MAX_ROWS]; MAX_TAPS];
    let mut tiles = kernel.together.then(|| amx::Tiles::new(source.room));
    for first in panels.clone().step_by(group) {
        for row in rows.clone().step_by(kernel.rows) {
            let count = kernel.rows.min(rows.end - row);
            if whole {
                window.point(source, row, count, 0, &mut table[..w.taps()]);
                ahead(&table[w.taps() - 1][..count], source.pixel);
            }
            let together = match &mut tiles {
                Some(tiles) if whole && count > kernel.rows / 2 && w.taps() * steps > 1 => {
                    // SAFETY: each pointer has a pixel behind it.
                    unsafe { tiles.together(&table[..w.taps()], steps) }
                }
                _ => None,
            };
            let mut product = |panel: usize| {
                let mut acc = Acc([[0.0; NR]; MAX_ROWS]);
                for tap in (0..w.taps()).step_by(MAX_TAPS) {
                    let taps = MAX_TAPS.min(w.taps() - tap);
                    if !whole {
                        window.point(source, row, count, tap, &mut table[..taps]);
                    }
                    let weights = &w.packed()[panel * w.panel_bytes() + tap * w.tap_bytes()..];
                    let taps = Taps { rows: &table[..taps], count, steps, weights: weights.as_ptr(), together };
                    // SAFETY: the context's instruction set is the machine's; each pointer has a pixel behind it, and
                    // the panel holds `steps` records for each tap.
                    unsafe { (kernel.accumulate)(&taps, &mut acc) };
                }
                acc
            };
            for panel in first..(first + group).min(panels.end) {
                let channel = panel * NR;
                let channels = NR.min(c_out - channel);
                let gate = gated.then(|| gate(c_out + channel, w.panels(), &mut product));
                let gate = gate.as_ref();
                let target = Target { epilogue: e, y: y.get(), c_out, row, count, channel, channels, gate };
                target.prefetch();
                let acc = product(panel);
                // SAFETY: no other task has these rows and panels, and both lie within y.
                unsafe { (kernel.finish)(&target, &acc) };
            }
        }
    }
}

/// The products of the features from `feature`, which begin inside a panel where a gated layer's channels are not
/// whole panels: then two panels are computed for one.
fn gate(feature: usize, panels: usize, product: &mut impl FnMut(usize) -> Acc) -> Acc {
    let (panel, skip) = (feature / NR, feature % NR);
    let mut gate = product(panel);
    if skip > 0 {
        gate.0.iter_mut().for_each(|row| row.copy_within(skip.., 0));
        if panel + 1 < panels {
            let next = product(panel + 1);
            for (row, next) in gate.0.iter_mut().zip(&next.0) {
                row[NR - skip..].copy_from_slice(&next[..skip]);
            }
        }
    }
    gate
}
