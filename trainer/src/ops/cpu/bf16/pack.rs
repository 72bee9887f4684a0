//! Rounding to pairs of bf16 and laying them out as the products want them.
#![allow(unsafe_code)] // Vector instructions and unaligned loads: each safe function here checks lengths first, and a `Bf16` value is the proof that the CPU has the instructions.
use super::{BLOCK, Bf16, PANEL, Plane, TAPS};
use std::arch::x86_64::*;

/// The first `n` lanes.
pub fn mask(n: usize) -> __mmask16 {
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

/// Interleaves a channel of two pictures (or of one and zeros) as pairs of bf16 into `out`, one every `stride`, with as many places
/// from row to row as in a plane.
pub fn pack_strided(_: Bf16, plane: &Plane, even: &[f32], odd: Option<&[f32]>, stride: usize, out: &mut [u32]) {
    let n = plane.h * plane.w;
    assert!(even.len() == n && odd.is_none_or(|o| o.len() == n));
    assert!(out.len() > ((plane.h - 1) * plane.row + plane.w - 1) * stride);
    // SAFETY: `Bf16` proves the instructions; the last pair lies where it was asserted to.
    unsafe { strided(plane, even.as_ptr(), odd.map(<[f32]>::as_ptr), stride, out.as_mut_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn strided(plane: &Plane, even: *const f32, odd: Option<*const f32>, stride: usize, out: *mut u32) {
    for y in 0..plane.h {
        for x in (0..plane.w).step_by(16) {
            let (from, n) = (y * plane.w + x, (plane.w - x).min(16));
            let mut pairs = [0u32; 16];
            // SAFETY: masked to the values that are left in the row; see the caller.
            unsafe {
                let both = pair(mask(n), even.add(from), odd.map(|o| o.add(from)));
                _mm512_storeu_si512(pairs.as_mut_ptr().cast(), both);
            }
            for (j, p) in pairs[..n].iter().enumerate() {
                // SAFETY: see the caller.
                unsafe { *out.add((y * plane.row + x + j) * stride) = *p };
            }
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

/// As [`pack_panel`], in blocks of [`BLOCK`] pairs: `[block][row][pair]`, from pair `first` on. What is missing is left as it is.
pub fn pack_blocks(
    _: Bf16,
    x: &[f32],
    rows: usize,
    columns: usize,
    strides: (usize, usize),
    first: usize,
    out: &mut [u32],
) {
    assert!((1..=PANEL).contains(&rows) && columns > 0);
    assert!(out.len() >= (first + columns.div_ceil(2)).div_ceil(BLOCK) * BLOCK * PANEL);
    assert!((rows - 1) * strides.0 + (columns - 1) * strides.1 < x.len());
    for k in (0..columns).step_by(2 * BLOCK) {
        let from = &x[k * strides.1..];
        // SAFETY: `Bf16` proves the instructions; all that is read lies inside `x`.
        let block = unsafe {
            match strides {
                (row, 1) => by_rows(from.as_ptr(), rows, columns - k, row),
                (1, column) => turned(by_pairs(from.as_ptr(), rows, columns - k, column)),
                _ => panic!("a panel's rows or columns are contiguous"),
            }
        };
        let n = (columns - k).div_ceil(2).min(BLOCK);
        for (row, pairs) in block.iter().enumerate().take(rows) {
            put(lanes(*pairs), n, row, first + k / 2, out);
        }
    }
}

fn lanes(x: __m512i) -> [u32; 16] {
    // SAFETY: both are 512 plain bits.
    unsafe { std::mem::transmute(x) }
}

/// Writes `n` pairs of a row from pair `first` on into blocks.
#[inline(always)]
fn put(pairs: [u32; 16], n: usize, row: usize, first: usize, out: &mut [u32]) {
    let (block, lane) = (first / BLOCK, first % BLOCK);
    let at = (block * PANEL + row) * BLOCK;
    if lane == 0 && n == BLOCK {
        out[at..at + BLOCK].copy_from_slice(&pairs);
        return;
    }
    let here = n.min(BLOCK - lane);
    out[at + lane..at + lane + here].copy_from_slice(&pairs[..here]);
    if here < n {
        let next = at + PANEL * BLOCK;
        out[next..next + n - here].copy_from_slice(&pairs[here..n]);
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

/// Up to 16 pairs of columns, a vector each, of rows that are neighbours in memory.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn by_pairs(x: *const f32, rows: usize, columns: usize, stride: usize) -> [__m512i; PANEL] {
    let mut pairs = [_mm512_setzero_si512(); PANEL];
    for (i, out) in pairs.iter_mut().enumerate().take(columns.div_ceil(2)) {
        // SAFETY: see `pack_blocks`.
        unsafe {
            let even = x.add(2 * i * stride);
            *out = pair(mask(rows), even, (2 * i + 1 < columns).then(|| even.add(stride)));
        }
    }
    pairs
}

/// Up to 16 pairs of columns that are neighbours in memory, a vector for each row.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn by_rows(x: *const f32, rows: usize, columns: usize, stride: usize) -> [__m512i; PANEL] {
    let (low, high) = (mask(columns), mask(columns.saturating_sub(16)));
    let mut r = [_mm512_setzero_si512(); PANEL];
    for (row, r) in r.iter_mut().enumerate().take(rows) {
        // SAFETY: masked to the columns that are left; nothing is formed beyond one past the row's end.
        unsafe {
            let from = x.add(row * stride);
            let second = if high == 0 { _mm512_setzero_ps() } else { _mm512_maskz_loadu_ps(high, from.add(16)) };
            let both = _mm512_cvtne2ps_pbh(second, _mm512_maskz_loadu_ps(low, from));
            *r = std::mem::transmute::<__m512bh, __m512i>(both);
        }
    }
    r
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
    for k in (0..columns).step_by(2 * BLOCK) {
        // SAFETY: see `pack_panel`.
        let t = turned(unsafe { by_rows(x.add(k), rows, columns - k, stride) });
        for (i, t) in t.iter().enumerate().take((columns - k).div_ceil(2)) {
            // SAFETY: pair `k / 2 + i` is one of the panel's.
            unsafe { _mm512_storeu_si512(out.add((k / 2 + i) * PANEL).cast(), *t) };
        }
    }
}

/// Packs up to [`PANEL`] rows of 3x3 kernels as pairs of bf16 of neighbouring inputs, in the blocks of [`pack_blocks`] over (pair of
/// inputs, tap). What is missing is left as it is. `strides` are from row to row and from input to input; the taps of a kernel are
/// contiguous.
pub fn pack_taps(_: Bf16, w: &[f32], rows: usize, inputs: usize, strides: (usize, usize), out: &mut [u32]) {
    assert!((1..=PANEL).contains(&rows) && inputs > 0);
    assert!(out.len() >= (inputs.div_ceil(2) * TAPS).div_ceil(BLOCK) * BLOCK * PANEL);
    assert!((rows - 1) * strides.0 + (inputs - 1) * strides.1 + TAPS <= w.len());
    // SAFETY: `Bf16` proves the instructions; all that is read lies inside `w`.
    unsafe { taps_of_rows(w.as_ptr(), rows, inputs, strides, out) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn taps_of_rows(w: *const f32, rows: usize, inputs: usize, strides: (usize, usize), out: &mut [u32]) {
    for row in 0..rows {
        for input in (0..inputs).step_by(2) {
            // SAFETY: masked to the kernel's taps; see `pack_taps`.
            let pairs = unsafe {
                let even = w.add(row * strides.0 + input * strides.1);
                pair(mask(TAPS), even, (input + 1 < inputs).then(|| even.add(strides.1)))
            };
            put(lanes(pairs), TAPS, row, input / 2 * TAPS, out);
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
