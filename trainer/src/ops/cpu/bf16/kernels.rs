//! The products of mixed precision: AVX-512 BF16 (Zen 4 and later, Sapphire Rapids and later), and tiles where the CPU has them.
#![allow(unsafe_code)] // Vector instructions and unaligned loads: each safe function here checks lengths first, and a `Bf16` value is the proof that the CPU has the instructions.
use super::pack::mask;
use super::tiles::{Tiles, multiply};
use super::{BLOCK, Bf16, GRAD_CHANNELS, GRAD_OUTPUTS, GRAD_TILE, PAIRS, PANEL, Place, Plane, TAPS};
use std::arch::x86_64::*;

pub use super::pack::{add_taps, pack_blocks, pack_pairs, pack_panel, pack_strided, pack_taps};

/// Rows of the product that the registers hold.
const ROWS: usize = 8;
/// Vectors of 16 pixels that they hold: with the rows, 24 accumulators; 3 operands more fill the 32 registers.
const VECTORS: usize = 3;
/// Input channels in the registers for the weight's gradient, each at three neighbouring taps; with two vectors of outputs, 24
/// accumulators.
const CHANNELS: usize = 4;
/// Values of a panel's block.
const VALUES: usize = PANEL * BLOCK;

/// `out[row][q] += sum over (pair of channels, tap) of weights . planes`, for `rows` rows and all `q` of [`Plane::vectors`] vectors.
/// `weights` is `[panel][block of pairs][tap][row][pair]`, `planes` is `[pair][plane]`, `out` is `[row][16 * vectors]`.
pub fn product(cpu: Bf16, plane: &Plane, pairs: usize, weights: &[u32], planes: &[u32], rows: usize, out: &mut [f32]) {
    let (stride, panel) = (plane.vectors() * 16, pairs.div_ceil(BLOCK) * TAPS * VALUES);
    assert!(weights.len() >= rows.div_ceil(PANEL) * panel && planes.len() >= pairs * plane.len);
    assert!(out.len() >= rows.next_multiple_of(ROWS) * stride);
    let taps = plane.taps();
    let mut done = 0;
    if let Some(tiles) = cpu.tiles.filter(|_| pairs.is_multiple_of(BLOCK)) {
        done = rows - rows % PANEL;
        product_in_tiles(tiles, plane, pairs, weights, planes, done, out);
    }
    for first in (0..plane.vectors()).step_by(VECTORS) {
        for row in (done..rows).step_by(ROWS) {
            // SAFETY: `Bf16` proves the instructions. A vector ends at or before `stride`, and `stride` plus the last tap lies
            // inside a plane (`Plane::new`); the rest is asserted above.
            unsafe {
                let w = weights.as_ptr().add(row / PANEL * panel + row % PANEL * BLOCK);
                let (p, o) = (planes.as_ptr().add(first * 16), out.as_mut_ptr().add(row * stride + first * 16));
                match plane.vectors() - first {
                    1 => tile::<1>(pairs, w, p, plane.len, &taps, o, stride),
                    2 => tile::<2>(pairs, w, p, plane.len, &taps, o, stride),
                    _ => tile::<VECTORS>(pairs, w, p, plane.len, &taps, o, stride),
                }
            }
        }
    }
}

/// As [`product`], of whole panels and blocks.
fn product_in_tiles(
    tiles: Tiles,
    plane: &Plane,
    pairs: usize,
    weights: &[u32],
    planes: &[u32],
    rows: usize,
    out: &mut [f32],
) {
    let (stride, panel) = (plane.vectors() * 16, pairs / BLOCK * TAPS * VALUES);
    let taps = plane.taps();
    let steps: Vec<_> = (0..pairs / BLOCK * TAPS)
        .map(|i| [4 * (i / TAPS * BLOCK * plane.len + taps[i % TAPS]), 4 * i * VALUES])
        .collect();
    for row in (0..rows).step_by(4 * PANEL) {
        for q in (0..stride).step_by(16) {
            // SAFETY: as for `product`, whose assertions hold for whole panels and blocks.
            unsafe {
                let w = |i: usize| weights.as_ptr().add((row / PANEL + i) * panel);
                let (p, o) = (planes.as_ptr().add(q), out.as_mut_ptr().add(row * stride + q));
                let to = |i: usize| o.add(i * PANEL * stride);
                let (one, many, c) = ((p, 4 * plane.len), 4 * BLOCK, 4 * stride);
                match (rows - row) / PANEL {
                    1 => multiply::<1, true>(tiles, one, [w(0)], many, [to(0)], c, &steps),
                    2 => multiply::<2, true>(tiles, one, [w(0), w(1)], many, [to(0), to(1)], c, &steps),
                    3 => multiply::<3, true>(
                        tiles,
                        one,
                        std::array::from_fn(w),
                        many,
                        std::array::from_fn(to),
                        c,
                        &steps,
                    ),
                    _ => multiply::<4, true>(
                        tiles,
                        one,
                        std::array::from_fn(w),
                        many,
                        std::array::from_fn(to),
                        c,
                        &steps,
                    ),
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn tile<const V: usize>(
    pairs: usize,
    mut weights: *const u32,
    mut planes: *const u32,
    plane: usize,
    taps: &[usize; TAPS],
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: see `product`.
    let mut acc: [[__m512; V]; ROWS] =
        std::array::from_fn(|r| std::array::from_fn(|v| unsafe { _mm512_loadu_ps(out.add(r * stride + 16 * v)) }));
    for first in (0..pairs).step_by(BLOCK) {
        let n = (pairs - first).min(BLOCK);
        for tap in taps {
            for pair in 0..n {
                // SAFETY: see `product`.
                unsafe {
                    let x = std::array::from_fn(|v| load(planes.add(pair * plane + tap + 16 * v).cast()));
                    add_pair(&mut acc, weights.add(pair), x);
                }
            }
            // SAFETY: at most one past the end.
            weights = weights.wrapping_add(VALUES);
        }
        planes = planes.wrapping_add(n * plane);
    }
    for (r, acc) in acc.iter().enumerate() {
        for (v, acc) in acc.iter().enumerate() {
            // SAFETY: see `product`.
            unsafe { _mm512_storeu_ps(out.add(r * stride + 16 * v), *acc) };
        }
    }
}

/// Adds the products of a pair of `R` rows of a block, the first of which is at `rows`, with `V` vectors.
///
/// # Safety
/// The rows can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn add_pair<const R: usize, const V: usize>(acc: &mut [[__m512; V]; R], rows: *const u32, x: [__m512bh; V]) {
    for (r, acc) in acc.iter_mut().enumerate() {
        // SAFETY: the caller's word.
        let w = broadcast(unsafe { *rows.add(r * BLOCK) });
        for (acc, x) in acc.iter_mut().zip(x) {
            *acc = _mm512_dpbf16_ps(*acc, w, x);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn broadcast(pair: u32) -> __m512bh {
    // SAFETY: both are 512 plain bits.
    unsafe { std::mem::transmute(_mm512_set1_epi32(pair as i32)) }
}

/// # Safety
/// 64 bytes can be read at `from`.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn load(from: *const i32) -> __m512bh {
    // SAFETY: the caller's word; both types are 512 plain bits.
    unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
}

/// Adds to a tile of the weight's gradient, `[channel][dx][output]` for up to [`GRAD_CHANNELS`] inputs at one row of taps and
/// [`GRAD_OUTPUTS`] outputs, the sums over pairs of pictures and pixels of `x * go`. `x` is `[pair][channel][plane]`, with
/// the pairs `pair_stride` apart, `go` is `[pair][result of the plane][output]`, zero where a result is no pixel.
pub fn outer(
    cpu: Bf16,
    plane: &Plane,
    pairs: usize,
    channels: usize,
    dy: usize,
    x: &[u32],
    pair_stride: usize,
    go: &[u32],
    tile: &mut [f32],
) {
    let each = plane.vectors() * 16;
    assert!(dy < 3 && (1..=GRAD_CHANNELS).contains(&channels) && tile.len() >= GRAD_TILE);
    assert!(go.len() >= pairs * each * GRAD_OUTPUTS);
    let channels = channels.next_multiple_of(CHANNELS);
    assert!(pairs == 0 || x.len() >= (pairs - 1) * pair_stride + channels * plane.len);
    // SAFETY: `Bf16` proves the instructions; a result plus the last tap lies inside a plane (`Plane::new`), the rest is
    // asserted above.
    unsafe {
        let (x, go, tile) = (x.as_ptr().add(dy * plane.row), go.as_ptr(), tile.as_mut_ptr());
        if let Some(tiles) = cpu.tiles.filter(|_| channels == GRAD_CHANNELS && pairs > 0) {
            let steps: Vec<_> = (0..pairs * plane.vectors())
                .map(|i| {
                    let (pair, q) = (i / plane.vectors(), i % plane.vectors() * 16);
                    [4 * (pair * pair_stride + q), 4 * i * 16 * GRAD_OUTPUTS]
                })
                .collect();
            for dx in 0..3 {
                let (one, to) = ((x.add(dx), 4 * plane.len), tile.add(dx * GRAD_OUTPUTS));
                let many = [go, go.add(16)];
                multiply::<2, false>(tiles, one, many, 4 * GRAD_OUTPUTS, [to, to.add(16)], 12 * GRAD_OUTPUTS, &steps);
            }
            return;
        }
        for c in (0..channels).step_by(CHANNELS) {
            grad(plane, pairs, x.add(c * plane.len), pair_stride, go, tile.add(c * 3 * GRAD_OUTPUTS));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn grad(plane: &Plane, pairs: usize, x: *const u32, pair_stride: usize, go: *const u32, tile: *mut f32) {
    const V: usize = GRAD_OUTPUTS / 16;
    // SAFETY: the tile holds as many vectors as there are accumulators; see `outer`.
    let mut acc: [[__m512; V]; 3 * CHANNELS] =
        std::array::from_fn(|r| std::array::from_fn(|v| unsafe { _mm512_loadu_ps(tile.add((r * V + v) * 16)) }));
    for pair in 0..pairs {
        for y in 0..plane.h {
            let q = pair * plane.vectors() * 16 + y * plane.row;
            // SAFETY: see `outer`.
            let (mut x, mut go) = unsafe { (x.add(pair * pair_stride + y * plane.row), go.add(q * GRAD_OUTPUTS)) };
            for _ in 0..plane.w {
                // SAFETY: see `outer`.
                unsafe {
                    let g: [__m512bh; V] = std::array::from_fn(|v| load(go.add(16 * v).cast()));
                    for (r, acc) in acc.iter_mut().enumerate() {
                        let x = broadcast(*x.add(r / 3 * plane.len + r % 3));
                        for (acc, g) in acc.iter_mut().zip(g) {
                            *acc = _mm512_dpbf16_ps(*acc, x, g);
                        }
                    }
                    (x, go) = (x.add(1), go.add(GRAD_OUTPUTS));
                }
            }
        }
    }
    for (i, acc) in acc.as_flattened().iter().enumerate() {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(tile.add(i * 16), *acc) };
    }
}

/// Where the blocks of a panel's pairs lie, in bytes.
const STEPS: [[usize; 2]; PAIRS / BLOCK] = {
    let mut steps = [[0; 2]; PAIRS / BLOCK];
    let mut i = 0;
    while i < steps.len() {
        steps[i] = [4 * i * VALUES; 2];
        i += 1;
    }
    steps
};

/// Adds `a b^T` to `out`: `rows` rows of the panel `a`, in blocks, from `first` on, and one to three panels `b` of at most [`PAIRS`] pairs,
/// whose rows are the columns of the product. Rows of `out` are `stride` apart; `places` says where each panel's columns begin.
pub fn add_product(
    cpu: Bf16,
    (a, first, rows): (&[u32], usize, usize),
    b: &[&[u32]],
    places: &[Place],
    out: &mut [f32],
    stride: usize,
) {
    let pairs = b.first().map_or(0, |b| b.len() / PANEL);
    assert!(pairs <= PAIRS && first + rows <= PANEL && a.len() >= pairs.div_ceil(BLOCK) * VALUES);
    assert!(b.len() == places.len() && b.iter().all(|b| b.len() == pairs * PANEL));
    let inside = |(at, n): &Place| rows == 0 || *n <= PANEL && at + (rows - 1) * stride + n <= out.len();
    assert!(places.iter().all(inside));
    let (a, out) = (a.as_ptr(), out.as_mut_ptr());
    let from = |v: usize| b[v].as_ptr();
    // SAFETY: `Bf16` proves the instructions; what is read and written was asserted above to lie inside.
    unsafe {
        let mut done = 0;
        if let Some(tiles) =
            cpu.tiles.filter(|_| pairs >= BLOCK && rows == PANEL && places.iter().all(|p| p.1 == PANEL))
        {
            done = pairs - pairs % BLOCK;
            let steps = &STEPS[..done / BLOCK];
            let to = |v: usize| out.add(places[v].0);
            let (one, many, c) = ((a, 4 * BLOCK), 4 * PANEL, 4 * stride);
            match b.len() {
                1 => multiply::<1, false>(tiles, one, [from(0)], many, [to(0)], c, steps),
                2 => multiply::<2, false>(tiles, one, [from(0), from(1)], many, [to(0), to(1)], c, steps),
                3 => {
                    multiply::<3, false>(tiles, one, std::array::from_fn(from), many, std::array::from_fn(to), c, steps)
                }
                n => panic!("a product takes 1 to 3 panels, not {n}"),
            }
        }
        if done == pairs {
            return;
        }
        let a = a.add(done / BLOCK * VALUES + first * BLOCK);
        let from = |v: usize| from(v).add(done * PANEL);
        let (pairs, mut row) = (pairs - done, 0);
        while row < rows {
            let (a, out) = (a.add(row * BLOCK), out.add(row * stride));
            row += match (rows - row, b.len()) {
                (8.., 3) => panels::<8, 3>(pairs, a, std::array::from_fn(from), places, out, stride),
                (8.., 2) => panels::<8, 2>(pairs, a, std::array::from_fn(from), places, out, stride),
                (8.., 1) => panels::<8, 1>(pairs, a, std::array::from_fn(from), places, out, stride),
                (4.., 3) => panels::<4, 3>(pairs, a, std::array::from_fn(from), places, out, stride),
                (4.., 2) => panels::<4, 2>(pairs, a, std::array::from_fn(from), places, out, stride),
                (4.., 1) => panels::<4, 1>(pairs, a, std::array::from_fn(from), places, out, stride),
                (_, 3) => panels::<1, 3>(pairs, a, std::array::from_fn(from), places, out, stride),
                (_, 2) => panels::<1, 2>(pairs, a, std::array::from_fn(from), places, out, stride),
                (_, 1) => panels::<1, 1>(pairs, a, std::array::from_fn(from), places, out, stride),
                (_, n) => panic!("a product takes 1 to 3 panels, not {n}"),
            };
        }
    }
}

/// Returns `R`.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn panels<const R: usize, const V: usize>(
    pairs: usize,
    a: *const u32,
    from: [*const u32; V],
    places: &[Place],
    out: *mut f32,
    stride: usize,
) -> usize {
    let mut acc = [[_mm512_setzero_ps(); V]; R];
    for first in (0..pairs).step_by(BLOCK) {
        for p in first..(first + BLOCK).min(pairs) {
            // SAFETY: see `add_product`.
            unsafe {
                let x = std::array::from_fn(|v| load(from[v].add(p * PANEL).cast()));
                add_pair(&mut acc, a.add(first * PANEL + p - first), x);
            }
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        for (acc, (at, n)) in acc.iter().zip(places) {
            // SAFETY: masked to the panel's columns; see `add_product`.
            unsafe {
                let (to, m) = (out.add(r * stride + at), mask(*n));
                _mm512_mask_storeu_ps(to, m, _mm512_add_ps(*acc, _mm512_maskz_loadu_ps(m, to)));
            }
        }
    }
    R
}
