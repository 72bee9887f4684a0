//! The instructions behind mixed precision: AVX-512 BF16. Zen 4 and later, Sapphire Rapids and later.
#![allow(unsafe_code)] // Vector instructions and unaligned loads: each safe function here checks lengths first, and a `Bf16` value is the proof that the CPU has the instructions.
use super::{Bf16, Plane, TAPS};
use std::arch::x86_64::*;

/// Rows of the product that one tile holds.
pub const TILE_ROWS: usize = 8;
/// Vectors of 16 pixels that one tile holds: with the rows, 24 accumulators; 3 operands more fill the 32 registers.
const TILE_VECTORS: usize = 3;
/// Input channels in one tile of the weight's gradient, each at three neighbouring taps.
pub const GRAD_CHANNELS: usize = 4;
/// Output channels in one tile of the weight's gradient: two vectors, so 24 accumulators.
pub const GRAD_OUTPUTS: usize = 32;
/// Values in one tile of the weight's gradient.
pub const GRAD_TILE: usize = GRAD_CHANNELS * 3 * GRAD_OUTPUTS;

fn mask(n: usize) -> __mmask16 {
    if n >= 16 { !0 } else { (1 << n) - 1 }
}

/// Interleaves two channels (or one and zeros) as pairs of bf16 into a padded plane; its padding is left as it is.
pub fn pack_pairs(_: Bf16, plane: &Plane, even: &[f32], odd: Option<&[f32]>, out: &mut [u32]) {
    let n = plane.h * plane.w;
    assert!(even.len() == n && odd.is_none_or(|o| o.len() == n) && out.len() >= plane.pixels_end());
    // SAFETY: `Bf16` proves the instructions; row `y` reads `w` values from `y * w`, inside `n`, and writes `w` pairs at the
    // plane's place for that row, which ends before `pixels_end`.
    unsafe { pairs(plane, even.as_ptr(), odd.map(<[f32]>::as_ptr), out.as_mut_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn pairs(plane: &Plane, even: *const f32, odd: Option<*const f32>, out: *mut u32) {
    for y in 0..plane.h {
        for x in (0..plane.w).step_by(16) {
            let (from, m) = (y * plane.w + x, mask(plane.w - x));
            // SAFETY: masked to the `w - x` values that are left in the row; see the caller.
            unsafe {
                let pairs = pair(m, even.add(from), odd.map(|o| o.add(from)));
                _mm512_mask_storeu_epi32(out.add(plane.at(y, x)).cast(), m, pairs);
            }
        }
    }
}

/// Rounds to bf16 (nearest, ties to even) in the low half of each lane.
#[target_feature(enable = "avx512f,avx512bf16")]
fn widen(x: __m512) -> __m512i {
    _mm512_cvtepu16_epi32(bits(_mm512_cvtneps_pbh(x)))
}

fn bits(x: __m256bh) -> __m256i {
    // SAFETY: both are 256 plain bits.
    unsafe { std::mem::transmute(x) }
}

/// Interleaves a channel of two pictures (or of one and zeros) as pairs of bf16 into `out`, one every `stride`.
pub fn pack_strided(_: Bf16, even: &[f32], odd: Option<&[f32]>, stride: usize, out: &mut [u32]) {
    let n = even.len();
    assert!(n > 0 && odd.is_none_or(|o| o.len() == n) && out.len() > (n - 1) * stride);
    // SAFETY: `Bf16` proves the instructions; the last pair lies at `(n - 1) * stride`.
    unsafe { strided(n, even.as_ptr(), odd.map(<[f32]>::as_ptr), stride, out.as_mut_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn strided(n: usize, even: *const f32, odd: Option<*const f32>, stride: usize, out: *mut u32) {
    for i in (0..n).step_by(16) {
        let m = mask(n - i);
        let mut pairs = [0u32; 16];
        // SAFETY: masked to the values that are left; see the caller.
        unsafe { _mm512_storeu_si512(pairs.as_mut_ptr().cast(), pair(m, even.add(i), odd.map(|o| o.add(i)))) };
        for (j, p) in pairs[..(n - i).min(16)].iter().enumerate() {
            // SAFETY: see the caller.
            unsafe { *out.add((i + j) * stride) = *p };
        }
    }
}

/// Pairs of bf16 from the lanes in `m` of two runs of values; zeros elsewhere.
///
/// # Safety
/// The lanes in `m` can be read.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn pair(m: __mmask16, even: *const f32, odd: Option<*const f32>) -> __m512i {
    // SAFETY: the caller's word.
    let load = |from: *const f32| unsafe { widen(_mm512_maskz_loadu_ps(m, from)) };
    let high = odd.map_or(_mm512_setzero_si512(), load);
    _mm512_or_si512(load(even), _mm512_slli_epi32::<16>(high))
}

/// `out[row][q] = start[row] + sum over (pair of channels, tap) of weights . planes`, for [`TILE_ROWS`] rows and all `q` of
/// [`Plane::vectors`] vectors. `weights` is `[pair][tap][row]`, `planes` is `[pair][plane]`, `out` is `[row][16 * vectors]`.
/// `vectors` is the range of vectors to compute.
pub fn product(
    _: Bf16,
    plane: &Plane,
    pairs: usize,
    weights: &[u32],
    planes: &[u32],
    start: &[f32; TILE_ROWS],
    vectors: std::ops::Range<usize>,
    out: &mut [f32],
) {
    let stride = plane.vectors() * 16;
    assert!(weights.len() >= pairs * TAPS * TILE_ROWS && planes.len() >= pairs * plane.len);
    assert!(vectors.end <= plane.vectors() && out.len() >= TILE_ROWS * stride);
    let (taps, w) = (plane.taps(), weights.as_ptr());
    // SAFETY: `Bf16` proves the instructions. A vector ends at or before `stride`, and `stride` plus the last tap lies inside
    // a plane (`Plane::new`); the rest is asserted above.
    unsafe {
        let (p, o) = (planes.as_ptr().add(vectors.start * 16), out.as_mut_ptr().add(vectors.start * 16));
        match vectors.len() {
            1 => tile::<1>(pairs, w, p, plane.len, &taps, start, o, stride),
            2 => tile::<2>(pairs, w, p, plane.len, &taps, start, o, stride),
            TILE_VECTORS => tile::<TILE_VECTORS>(pairs, w, p, plane.len, &taps, start, o, stride),
            n => panic!("a tile has 1 to 3 vectors, not {n}"),
        }
    }
}

/// The vectors of a plane, a tile at a time.
pub fn tiles(plane: &Plane) -> impl Iterator<Item = std::ops::Range<usize>> {
    let n = plane.vectors();
    (0..n).step_by(TILE_VECTORS).map(move |v| v..(v + TILE_VECTORS).min(n))
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn tile<const V: usize>(
    pairs: usize,
    mut weights: *const u32,
    mut planes: *const u32,
    plane: usize,
    taps: &[usize; TAPS],
    start: &[f32; TILE_ROWS],
    out: *mut f32,
    stride: usize,
) {
    let mut acc = [[_mm512_setzero_ps(); V]; TILE_ROWS];
    for (acc, b) in acc.iter_mut().zip(start) {
        *acc = [_mm512_set1_ps(*b); V];
    }
    for _ in 0..pairs {
        for tap in taps {
            // SAFETY: see `product`.
            unsafe {
                let x: [__m512bh; V] = std::array::from_fn(|v| load(planes.add(tap + 16 * v).cast()));
                for (r, acc) in acc.iter_mut().enumerate() {
                    let w = broadcast(*weights.add(r));
                    for (acc, x) in acc.iter_mut().zip(x) {
                        *acc = _mm512_dpbf16_ps(*acc, w, x);
                    }
                }
                weights = weights.add(TILE_ROWS);
            }
        }
        // SAFETY: at most one past the end.
        planes = unsafe { planes.add(plane) };
    }
    for (r, acc) in acc.iter().enumerate() {
        for (v, acc) in acc.iter().enumerate() {
            // SAFETY: see `product`.
            unsafe { _mm512_storeu_ps(out.add(r * stride + 16 * v), *acc) };
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

/// Adds to a tile of the weight's gradient, `[channel][dx][output]` for [`GRAD_CHANNELS`] inputs at one row of taps and
/// [`GRAD_OUTPUTS`] outputs, the sums over pairs of pictures and pixels of `x * go`. `x` is `[pair][channel][plane]`, with
/// the pairs `pair_stride` apart, `go` is `[pair][pixel][output]`.
pub fn outer(
    _: Bf16,
    plane: &Plane,
    pairs: usize,
    dy: usize,
    x: &[u32],
    pair_stride: usize,
    go: &[u32],
    tile: &mut [f32],
) {
    let pixels = plane.h * plane.w;
    assert!(dy < 3 && tile.len() >= GRAD_TILE && go.len() >= pairs * pixels * GRAD_OUTPUTS);
    assert!(pairs == 0 || x.len() >= (pairs - 1) * pair_stride + GRAD_CHANNELS * plane.len);
    // SAFETY: `Bf16` proves the instructions; a pixel plus the last tap lies inside a plane (`Plane::new`), the rest is
    // asserted above.
    unsafe { grad(plane, pairs, x.as_ptr().add(dy * plane.row), pair_stride, go.as_ptr(), tile.as_mut_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn grad(plane: &Plane, pairs: usize, x: *const u32, pair_stride: usize, mut go: *const u32, tile: *mut f32) {
    const V: usize = GRAD_OUTPUTS / 16;
    // SAFETY: the tile holds as many vectors as there are accumulators; see `outer`.
    let mut acc: [[__m512; V]; 3 * GRAD_CHANNELS] =
        std::array::from_fn(|r| std::array::from_fn(|v| unsafe { _mm512_loadu_ps(tile.add((r * V + v) * 16)) }));
    for pair in 0..pairs {
        for y in 0..plane.h {
            // SAFETY: see `outer`.
            let mut x = unsafe { x.add(pair * pair_stride + y * plane.row) };
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

/// Rows of a panel: see [`pack_panel`].
pub const PANEL: usize = 16;

/// Packs up to [`PANEL`] rows of a matrix as pairs of bf16 of neighbouring columns, `[pair][row]`; what is missing is zero.
/// `strides` are from row to row and from column to column; one of them is 1.
pub fn pack_panel(_: Bf16, x: &[f32], rows: usize, columns: usize, strides: (usize, usize), out: &mut [u32]) {
    assert!((1..=PANEL).contains(&rows) && columns > 0 && out.len() >= columns.div_ceil(2) * PANEL);
    assert!((rows - 1) * strides.0 + (columns - 1) * strides.1 < x.len());
    let (x, out) = (x.as_ptr(), out.as_mut_ptr());
    // SAFETY: `Bf16` proves the instructions; all that is read lies inside `x`, all that is written inside `out`.
    unsafe {
        match strides {
            (row, 1) => transposed(x, rows, columns, row, out),
            (1, column) => interleaved(x, rows, columns, column, out),
            _ => panic!("a panel's rows or columns are contiguous"),
        }
    }
}

/// Rows are neighbours in memory: two columns interleave to a vector.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn interleaved(x: *const f32, rows: usize, columns: usize, stride: usize, out: *mut u32) {
    let m = mask(rows);
    for k in (0..columns).step_by(2) {
        // SAFETY: see `pack_panel`.
        unsafe {
            let even = x.add(k * stride);
            let pairs = pair(m, even, (k + 1 < columns).then(|| even.add(stride)));
            _mm512_storeu_si512(out.add(k / 2 * PANEL).cast(), pairs);
        }
    }
}

/// The transpose of 16 rows of 16.
#[target_feature(enable = "avx512f")]
fn turned(mut r: [__m512i; PANEL]) -> [__m512i; PANEL] {
    let mut t = r;
    for i in (0..PANEL).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for i in (0..PANEL).step_by(4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for j in 0..4 {
        // Quarter L of these four holds pair 4 L + j of four rows each.
        let even = (_mm512_shuffle_i32x4::<0x88>(r[j], r[4 + j]), _mm512_shuffle_i32x4::<0x88>(r[8 + j], r[12 + j]));
        let odd = (_mm512_shuffle_i32x4::<0xdd>(r[j], r[4 + j]), _mm512_shuffle_i32x4::<0xdd>(r[8 + j], r[12 + j]));
        t[j] = _mm512_shuffle_i32x4::<0x88>(even.0, even.1);
        t[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even.0, even.1);
        t[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd.0, odd.1);
        t[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd.0, odd.1);
    }
    t
}

/// Columns are neighbours in memory: the pairs of each row lie side by side, and 16 by 16 of them are transposed.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn transposed(x: *const f32, rows: usize, columns: usize, stride: usize, out: *mut u32) {
    for k in (0..columns).step_by(32) {
        let (low, high) = (mask(columns - k), mask((columns - k).saturating_sub(16)));
        let mut r = [_mm512_setzero_si512(); PANEL];
        for (row, r) in r.iter_mut().enumerate().take(rows) {
            // SAFETY: masked to the columns that are left; nothing is formed beyond one past the row's end.
            unsafe {
                let from = x.add(row * stride + k);
                let second = if high == 0 { _mm512_setzero_ps() } else { _mm512_maskz_loadu_ps(high, from.add(16)) };
                let both = _mm512_cvtne2ps_pbh(second, _mm512_maskz_loadu_ps(low, from));
                *r = std::mem::transmute::<__m512bh, __m512i>(both);
            }
        }
        let t = turned(r);
        for (i, t) in t.iter().enumerate().take((columns - k).div_ceil(2)) {
            // SAFETY: pair `k / 2 + i` is one of the panel's.
            unsafe { _mm512_storeu_si512(out.add((k / 2 + i) * PANEL).cast(), *t) };
        }
    }
}

/// Packs up to [`PANEL`] rows of 3x3 kernels as pairs of bf16 of neighbouring inputs, `[pair of inputs][tap][row]`; what is missing
/// is zero. `strides` are from row to row and from input to input; the taps of a kernel are contiguous.
pub fn pack_taps(_: Bf16, w: &[f32], rows: usize, inputs: usize, strides: (usize, usize), out: &mut [u32]) {
    assert!((1..=PANEL).contains(&rows) && inputs > 0 && out.len() >= inputs.div_ceil(2) * TAPS * PANEL);
    assert!((rows - 1) * strides.0 + (inputs - 1) * strides.1 + TAPS <= w.len());
    // SAFETY: `Bf16` proves the instructions; all that is read lies inside `w`, all that is written inside `out`.
    unsafe { taps_of_rows(w.as_ptr(), rows, inputs, strides, out.as_mut_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn taps_of_rows(w: *const f32, rows: usize, inputs: usize, strides: (usize, usize), out: *mut u32) {
    for pair in 0..inputs.div_ceil(2) {
        let kernels = |input: usize| {
            let mut r = [_mm512_setzero_si512(); PANEL];
            if input < inputs {
                for (row, r) in r.iter_mut().enumerate().take(rows) {
                    // SAFETY: masked to the kernel's taps; see `pack_taps`.
                    let taps = unsafe { _mm512_maskz_loadu_ps(mask(TAPS), w.add(row * strides.0 + input * strides.1)) };
                    *r = _mm512_castps_si512(taps);
                }
            }
            turned(r)
        };
        let (even, odd) = (kernels(2 * pair), kernels(2 * pair + 1));
        for (tap, (even, odd)) in even.into_iter().zip(odd).enumerate().take(TAPS) {
            let high = _mm512_slli_epi32::<16>(widen(_mm512_castsi512_ps(odd)));
            let pairs = _mm512_or_si512(widen(_mm512_castsi512_ps(even)), high);
            // SAFETY: one vector of `out` for each pair and tap.
            unsafe { _mm512_storeu_si512(out.add((pair * TAPS + tap) * PANEL).cast(), pairs) };
        }
    }
}

/// Adds the taps of up to [`PANEL`] kernels, each a vector with a value a kernel, to the kernels `stride` values apart.
pub fn add_taps(_: Bf16, taps: &[[f32; PANEL]; TAPS], rows: usize, stride: usize, out: &mut [f32]) {
    assert!((1..=PANEL).contains(&rows) && (rows - 1) * stride + TAPS <= out.len());
    // SAFETY: `Bf16` proves the instructions; each kernel lies inside `out`.
    unsafe { taps_to_rows(taps, rows, stride, out.as_mut_ptr()) }
}

#[target_feature(enable = "avx512f")]
unsafe fn taps_to_rows(taps: &[[f32; PANEL]; TAPS], rows: usize, stride: usize, out: *mut f32) {
    let mut r = [_mm512_setzero_si512(); PANEL];
    for (r, tap) in r.iter_mut().zip(taps) {
        // SAFETY: 16 values.
        *r = unsafe { _mm512_loadu_si512(tap.as_ptr().cast()) };
    }
    for (row, kernel) in turned(r).iter().enumerate().take(rows) {
        // SAFETY: masked to the kernel's taps; see `add_taps`.
        unsafe {
            let (to, m) = (out.add(row * stride), mask(TAPS));
            let sum = _mm512_add_ps(_mm512_maskz_loadu_ps(m, to), _mm512_castsi512_ps(*kernel));
            _mm512_mask_storeu_ps(to, m, sum);
        }
    }
}

/// Where the columns of a product's panel go: offset in the output, and how many there are.
pub type Place = (usize, usize);

/// Adds `a b^T` to `out`: `rows` rows of the panel `a` from `first` on, and one to three panels `b`, whose rows are the
/// columns of the product. Rows of `out` are `stride` apart; `places` says where each panel's columns begin.
pub fn add_product(
    _: Bf16,
    (a, first, rows): (&[u32], usize, usize),
    b: &[&[u32]],
    places: &[Place],
    out: &mut [f32],
    stride: usize,
) {
    let pairs = a.len() / PANEL;
    assert!(first + rows <= PANEL && b.len() == places.len() && b.iter().all(|b| b.len() == a.len()));
    let inside = |(at, n): &Place| rows == 0 || *n <= PANEL && at + (rows - 1) * stride + n <= out.len();
    assert!(places.iter().all(inside));
    let (mut row, a) = (0, a.as_ptr());
    while row < rows {
        // SAFETY: `Bf16` proves the instructions; what is read and written was asserted above to lie inside.
        unsafe {
            let (a, out) = (a.add(first + row), out.as_mut_ptr().add(row * stride));
            row += match (rows - row, b.len()) {
                (8.., 3) => panels::<8, 3>(pairs, a, b, places, out, stride),
                (8.., 2) => panels::<8, 2>(pairs, a, b, places, out, stride),
                (8.., 1) => panels::<8, 1>(pairs, a, b, places, out, stride),
                (4.., 3) => panels::<4, 3>(pairs, a, b, places, out, stride),
                (4.., 2) => panels::<4, 2>(pairs, a, b, places, out, stride),
                (4.., 1) => panels::<4, 1>(pairs, a, b, places, out, stride),
                (_, 3) => panels::<1, 3>(pairs, a, b, places, out, stride),
                (_, 2) => panels::<1, 2>(pairs, a, b, places, out, stride),
                (_, 1) => panels::<1, 1>(pairs, a, b, places, out, stride),
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
    b: &[&[u32]],
    places: &[Place],
    out: *mut f32,
    stride: usize,
) -> usize {
    let from: [*const u32; V] = std::array::from_fn(|v| b[v].as_ptr());
    let mut acc = [[_mm512_setzero_ps(); V]; R];
    for p in 0..pairs {
        // SAFETY: see `add_product`.
        unsafe {
            let x: [__m512bh; V] = std::array::from_fn(|v| load(from[v].add(p * PANEL).cast()));
            for (r, acc) in acc.iter_mut().enumerate() {
                let w = broadcast(*a.add(p * PANEL + r));
                for (acc, x) in acc.iter_mut().zip(x) {
                    *acc = _mm512_dpbf16_ps(*acc, w, x);
                }
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
