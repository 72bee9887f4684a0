//! 3x3 convolution in mixed precision: the operands of the products are rounded to bf16, sums and all else stay f32.
//!
//! Pictures are laid out with zeros around them, so that the pixels under one tap of the kernel are one contiguous run and
//! nothing is unfolded. One column of zeros serves as the right border of a row and the left border of the next: of each row
//! of `w + 1` results the last is thrown away.
use super::storage::written;
use super::{PARTS, parts, split_parts};
use crate::ops::cpu::parallel::prelude::*;
use half::bf16;
use std::mem::MaybeUninit;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
mod kernels;
#[cfg(not(target_arch = "x86_64"))]
#[path = "elsewhere.rs"]
mod kernels;
#[cfg(target_arch = "x86_64")]
mod pack;
pub mod panels;
pub mod pointwise;
mod small;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiles;

#[cfg(not(target_arch = "x86_64"))]
use kernels::Tiles;
#[cfg(target_arch = "x86_64")]
use tiles::Tiles;

/// Rows of a panel, or columns: what one vector or the side of one tile holds.
const PANEL: usize = 16;
/// Pairs along what is summed over, of one tile.
const BLOCK: usize = 16;
/// Pairs in one pass of a product: panels of both operands stay in the caches.
const PAIRS: usize = 256;
/// Where the columns of a product's panel go: offset in the output, and how many there are.
type Place = (usize, usize);
/// Input channels in one piece of the weight's gradient, each at three neighbouring taps.
const GRAD_CHANNELS: usize = 16;
/// Output channels in one piece of the weight's gradient.
const GRAD_OUTPUTS: usize = 32;
/// Values in one piece of the weight's gradient.
const GRAD_TILE: usize = GRAD_CHANNELS * 3 * GRAD_OUTPUTS;
/// Panels of pixels in one tile of a product.
const TILE: usize = 3;
/// Small pictures that share tiles.
const GROUP: usize = 3;
/// Taps of the kernel.
const TAPS: usize = 9;
/// Pixels that the sums of one tile of the weight's gradient should span: below this, loading and storing the tile shows.
const PASS: usize = 392;

/// Proof that this CPU multiplies bf16 and sums in f32 in one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bf16 {
    /// Where it multiplies whole tiles, too.
    tiles: Option<Tiles>,
}

impl Bf16 {
    /// Asks the CPU.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
        {
            return Some(Self { tiles: Tiles::detect() });
        }
        None
    }
    /// This CPU without its tiles, and with them where it has them.
    #[cfg(test)]
    fn each() -> Vec<Self> {
        let full = Self::detect();
        full.filter(|cpu| cpu.tiles.is_some()).map(|_| Self { tiles: None }).into_iter().chain(full).collect()
    }
}

/// A cache line, so that what tiles and vectors read begins with one.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Zeroed pairs that begin with a cache line.
struct Pairs(Vec<Line>);

impl Pairs {
    fn new(n: usize) -> Self {
        Self(vec![bytemuck::Zeroable::zeroed(); n.div_ceil(16)])
    }
}

impl std::ops::Deref for Pairs {
    type Target = [u32];
    fn deref(&self) -> &[u32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl std::ops::DerefMut for Pairs {
    fn deref_mut(&mut self) -> &mut [u32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Sizes of a convolution: pictures, input channels, height, width, output channels.
#[derive(Clone, Copy)]
pub struct Size {
    /// Pictures.
    pub n: usize,
    /// Input channels.
    pub c: usize,
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
    /// Output channels.
    pub o: usize,
}

/// A picture's channel with zeros around it.
struct Plane {
    h: usize,
    w: usize,
    /// From one row to the next.
    row: usize,
    /// Elements in memory; what a vector may read past the picture included.
    len: usize,
}

impl Plane {
    fn new(h: usize, w: usize) -> Self {
        let row = w + 1;
        let span = ((h - 1) * row + w).next_multiple_of(16);
        // An odd number of cache lines, so that the channels of one pixel do not fall into the same few sets of the cache.
        let lines = (span + 2 * row + 2).div_ceil(16) | 1;
        Self { h, w, row, len: lines * 16 }
    }
    /// Vectors of 16 results.
    fn vectors(&self) -> usize {
        ((self.h - 1) * self.row + self.w).div_ceil(16)
    }
    /// Where pixel (y, x) lies.
    fn at(&self, y: usize, x: usize) -> usize {
        (y + 1) * self.row + x + 1
    }
    /// One past the last pixel.
    fn pixels_end(&self) -> usize {
        self.at(self.h - 1, self.w)
    }
    /// From a result's index to the pixel under each tap.
    fn taps(&self) -> [usize; TAPS] {
        std::array::from_fn(|t| t / 3 * self.row + t % 3)
    }
}

/// Weights as bf16 pairs of neighbouring inputs, `[panel of rows][block of pairs][tap][row][pair]`; what is missing is zero.
fn pack_weights(rows: usize, inputs: usize, at: impl Fn(usize, usize, usize) -> f32 + Sync) -> Pairs {
    let panel = inputs.div_ceil(2 * BLOCK) * TAPS * PANEL * BLOCK;
    let mut packed = Pairs::new(rows.div_ceil(PANEL) * panel);
    packed.par_chunks_mut(panel).enumerate().for_each(|(first, out)| {
        for (i, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let (row, tap, block) = (first * PANEL + i % PANEL, i / PANEL % TAPS, i / PANEL / TAPS);
            for (pair, out) in out.iter_mut().enumerate() {
                let one = |input| {
                    if row < rows && input < inputs { bf16::from_f32(at(row, input, tap)).to_bits() } else { 0 }
                };
                let even = 2 * (block * BLOCK + pair);
                *out = u32::from(one(even)) | u32::from(one(even + 1)) << 16;
            }
        }
    });
    packed
}

/// What one thread needs to convolve pictures one after the other.
struct Convolver<'a> {
    cpu: Bf16,
    plane: &'a Plane,
    inputs: usize,
    rows: usize,
    weights: &'a [u32],
    planes: Pairs,
    product: Pairs,
}

impl<'a> Convolver<'a> {
    fn new(cpu: Bf16, plane: &'a Plane, inputs: usize, rows: usize, weights: &'a [u32]) -> Self {
        let planes = Pairs::new(inputs.div_ceil(2) * plane.len);
        let product = Pairs::new(rows.next_multiple_of(PANEL) * plane.vectors() * 16);
        Self { cpu, plane, inputs, rows, weights, planes, product }
    }

    /// Convolves one picture; `take(row, y, line)` is given each line of the result.
    fn run(&mut self, picture: &[f32], bias: &[f32], mut take: impl FnMut(usize, usize, &[f32])) {
        let (plane, pairs, hw) = (self.plane, self.inputs.div_ceil(2), self.plane.h * self.plane.w);
        for (pair, out) in picture.chunks(2 * hw).zip(self.planes.chunks_exact_mut(plane.len)) {
            let (even, odd) = pair.split_at(hw);
            kernels::pack_pairs(self.cpu, plane, even, Some(odd).filter(|o| !o.is_empty()), out);
        }
        let stride = plane.vectors() * 16;
        let product: &mut [f32] = bytemuck::cast_slice_mut(&mut self.product);
        for (row, product) in product.chunks_exact_mut(stride).enumerate() {
            product.fill(bias.get(row).copied().unwrap_or(0.0));
        }
        kernels::product(self.cpu, plane, pairs, self.weights, &self.planes, self.rows, product);
        for (row, product) in product.chunks_exact(stride).take(self.rows).enumerate() {
            for y in 0..plane.h {
                take(row, y, &product[y * plane.row..][..plane.w]);
            }
        }
    }
}

/// The convolution of `x` (n, c, h, w) with `w` (o, c, 3, 3), plus `b`.
pub fn forward(cpu: Bf16, x: &[f32], w: &[f32], b: &[f32], s: Size) -> Vec<f32> {
    if small::serves(s.h, s.w) {
        return small::forward(cpu, x, w, b, s);
    }
    let (hw, plane) = (s.h * s.w, Plane::new(s.h, s.w));
    let weights = pack_weights(s.o, s.c, |o, c, tap| w[(o * s.c + c) * TAPS + tap]);
    let init = || Convolver::new(cpu, &plane, s.c, s.o, &weights);
    let each = s.n.div_ceil(PARTS);
    let work = |convolver: &mut Convolver, i: usize, out: &mut [MaybeUninit<f32>]| {
        let pictures = x[i * each * s.c * hw..].chunks_exact(s.c * hw);
        for (picture, out) in pictures.zip(out.chunks_exact_mut(s.o * hw)) {
            convolver.run(picture, b, |o, y, line| {
                out[o * hw + y * s.w..][..s.w].iter_mut().zip(line).for_each(|(y, v)| _ = y.write(*v));
            });
        }
    };
    // SAFETY: `run` gives every line of every picture, and a chunk is whole pictures.
    #[allow(unsafe_code)]
    unsafe {
        written(s.n * s.o * hw, each * s.o * hw, init, work)
    }
}

/// Adds the gradient of the input to `gx`: a convolution of the output's with the flipped kernel.
pub fn input_gradient(cpu: Bf16, w: &[f32], go: &[f32], gx: &mut [f32], s: Size) {
    if small::serves(s.h, s.w) {
        return small::input_gradient(cpu, w, go, gx, s);
    }
    let (hw, plane) = (s.h * s.w, Plane::new(s.h, s.w));
    let flipped = pack_weights(s.c, s.o, |c, o, tap| w[(o * s.c + c) * TAPS + TAPS - 1 - tap]);
    split_parts(gx, s.n, s.c * hw).into_par_iter().for_each(|(range, gx)| {
        let go = &go[range.start * s.o * hw..range.end * s.o * hw];
        let mut convolver = Convolver::new(cpu, &plane, s.o, s.c, &flipped);
        for (go, gx) in go.chunks_exact(s.o * hw).zip(gx.chunks_exact_mut(s.c * hw)) {
            convolver.run(go, &[], |c, y, line| {
                gx[c * hw + y * s.w..][..s.w].iter_mut().zip(line).for_each(|(d, v)| *d += v);
            });
        }
    });
}

/// Adds the gradient of the weight to `gw`.
pub fn weight_gradient(cpu: Bf16, x: &[f32], go: &[f32], gw: &mut [f32], s: Size) {
    let (hw, plane) = (s.h * s.w, Plane::new(s.h, s.w));
    if small::fits(&plane, s) {
        return gather(cpu, &[small::weight_gradient(cpu, &plane, x, go, s)], gw, s);
    }
    let part = |range: Range<usize>| {
        let (x, go) =
            (&x[range.start * s.c * hw..range.end * s.c * hw], &go[range.start * s.o * hw..range.end * s.o * hw]);
        part_gradient(cpu, &plane, x, go, s)
    };
    let partial: Vec<Vec<f32>> = parts(s.n).into_par_iter().map(part).collect();
    gather(cpu, &partial, gw, s);
}

/// The places of a convolution's tiles in its weight's gradient: `[block of outputs][dy][block of inputs][tile]`.
fn tiles(s: Size) -> impl Fn(usize) -> (usize, usize, usize) {
    let blocks = s.c.div_ceil(GRAD_CHANNELS);
    move |i| (i / (3 * blocks), i / blocks % 3, i % blocks * GRAD_CHANNELS)
}

/// The gradient of the weight over some pictures, in [`tiles`].
///
/// Two pictures are a pair of bf16, so that a pair is the same whichever tap shifts it.
fn part_gradient(cpu: Bf16, plane: &Plane, x: &[f32], go: &[f32], s: Size) -> Vec<f32> {
    let (hw, each) = (s.h * s.w, plane.vectors() * 16);
    let pictures = x.len() / (s.c * hw);
    let group = (PASS / hw).clamp(1, pictures.div_ceil(2).max(1));
    let (blocks_o, blocks_c) = (s.o.div_ceil(GRAD_OUTPUTS), s.c.div_ceil(GRAD_CHANNELS));
    let pair_stride = s.c.next_multiple_of(4) * plane.len;
    let block = group * each * GRAD_OUTPUTS;
    let (mut xs, mut gs) = (Pairs::new(group * pair_stride), Pairs::new(blocks_o * block));
    let mut gw = vec![0f32; blocks_o * blocks_c * 3 * GRAD_TILE];
    let at = tiles(s);
    for (x, go) in x.chunks(2 * group * s.c * hw).zip(go.chunks(2 * group * s.o * hw)) {
        let pairs = x.len().div_ceil(2 * s.c * hw);
        for (x, out) in x.chunks(2 * s.c * hw).zip(xs.chunks_exact_mut(pair_stride)) {
            pack_channels(cpu, plane, x, s, out);
        }
        for (p, go) in go.chunks(2 * s.o * hw).enumerate() {
            for (i, out) in gs.chunks_exact_mut(block).enumerate() {
                pack_outputs(cpu, plane, go, i * GRAD_OUTPUTS, s, &mut out[p * each * GRAD_OUTPUTS..]);
            }
        }
        for (i, tile) in gw.chunks_exact_mut(GRAD_TILE).enumerate() {
            let (o, dy, c) = at(i);
            let channels = GRAD_CHANNELS.min(s.c - c);
            let (x, go) = (&xs[c * plane.len..], &gs[o * block..]);
            kernels::outer(cpu, plane, pairs, channels, dy, x, pair_stride, go, tile);
        }
    }
    gw
}

/// The channels of one or two pictures as planes of pairs.
fn pack_channels(cpu: Bf16, plane: &Plane, x: &[f32], s: Size, out: &mut [u32]) {
    let hw = s.h * s.w;
    let (even, odd) = x.split_at(s.c * hw);
    for (c, (even, out)) in even.chunks_exact(hw).zip(out.chunks_exact_mut(plane.len)).enumerate() {
        kernels::pack_pairs(cpu, plane, even, odd.get(c * hw..(c + 1) * hw), out);
    }
}

/// [`GRAD_OUTPUTS`] channels of one or two pictures of outputs, from `first` on, as pairs `[result of the plane][output]`.
fn pack_outputs(cpu: Bf16, plane: &Plane, go: &[f32], first: usize, s: Size, out: &mut [u32]) {
    let hw = s.h * s.w;
    let (even, odd) = go.split_at(s.o * hw);
    for o in first..s.o.min(first + GRAD_OUTPUTS) {
        let channel = o * hw..(o + 1) * hw;
        let out = &mut out[o - first..];
        kernels::pack_strided(cpu, plane, &even[channel.clone()], odd.get(channel), GRAD_OUTPUTS, out);
    }
}

/// Adds up the parts' gradients, in order, and adds them to `gw` in the weight's own order.
fn gather(cpu: Bf16, partial: &[Vec<f32>], gw: &mut [f32], s: Size) {
    let blocks_c = s.c.div_ceil(GRAD_CHANNELS);
    gw.par_chunks_mut(PANEL * s.c * TAPS).enumerate().for_each(|(i, gw)| {
        let (block, from) = (i * PANEL / GRAD_OUTPUTS * 3, i * PANEL % GRAD_OUTPUTS);
        for c in 0..s.c {
            let mut taps = [[0f32; PANEL]; TAPS];
            for (tap, sum) in taps.iter_mut().enumerate() {
                let tile = (block + tap / 3) * blocks_c + c / GRAD_CHANNELS;
                let at = tile * GRAD_TILE + (c % GRAD_CHANNELS * 3 + tap % 3) * GRAD_OUTPUTS + from;
                for p in partial {
                    sum.iter_mut().zip(&p[at..at + PANEL]).for_each(|(sum, v)| *sum += v);
                }
            }
            let rows = gw.len() / (s.c * TAPS);
            kernels::add_taps(cpu, &taps, rows, s.c * TAPS, &mut gw[c * TAPS..]);
        }
    });
}
