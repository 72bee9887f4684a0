//! Reaching the storage of dfdx tensors, and output buffers that are written once.
#![allow(unsafe_code)] // dfdx shows single elements only; copying each operand instead costs 14 % of a training step.
use super::parallel::prelude::*;
use dfdx::prelude::*;
use std::mem::MaybeUninit;

/// The row-major values of a contiguous CPU tensor.
///
/// # Panics
/// If the tensor is a strided view (permuted or broadcast): a mistake in the calling operation.
pub fn data<S: Shape, T>(t: &Tensor<S, f32, Cpu, T>) -> &[f32] {
    let shape = t.shape().concrete();
    let n = t.shape().num_elements();
    if n == 0 {
        return &[];
    }
    let first = std::ptr::from_ref(&t[S::Concrete::default()]);
    let strides = t.shape().strides();
    for i in 0..S::NUM_DIMS {
        if shape[i] > 1 {
            let mut index = S::Concrete::default();
            index[i] = 1;
            let stride = (std::ptr::from_ref(&t[index]) as usize - first as usize) / size_of::<f32>();
            assert_eq!(stride, strides[i], "operation needs a contiguous tensor");
        }
    }
    // SAFETY: dfdx keeps a tensor's elements in one Vec; the strides just checked are those of a row-major tensor, so all n
    // elements lie after the first, and the borrow of `t` keeps the Vec alive and unchanged.
    unsafe { std::slice::from_raw_parts(first, n) }
}

/// As [`data`], to be written. Values that another tensor shares are copied first.
///
/// # Panics
/// As [`data`].
pub fn data_mut<S: Shape>(t: &mut Tensor<S, f32, Cpu>) -> &mut [f32] {
    let n = data(t).len();
    if n == 0 {
        return &mut [];
    }
    let first = std::ptr::from_mut(&mut t[S::Concrete::default()]);
    // SAFETY: as in `data`; the values belong to `t` alone since the line above, and `t` is borrowed for as long.
    unsafe { std::slice::from_raw_parts_mut(first, n) }
}

/// A new buffer of `n` values, written in chunks of `chunk` (the last may be shorter) by `write(scratch, index, chunk)` in
/// parallel; `init` makes the scratch of each run of chunks.
///
/// # Safety
/// `write` must initialize every element of its chunk.
pub unsafe fn written<W>(
    n: usize,
    chunk: usize,
    init: impl Fn() -> W + Sync + Send,
    write: impl Fn(&mut W, usize, &mut [MaybeUninit<f32>]) + Sync + Send,
) -> Vec<f32> {
    let mut v: Vec<f32> = Vec::with_capacity(n);
    let out = &mut v.spare_capacity_mut()[..n];
    out.par_chunks_mut(chunk.max(1)).enumerate().for_each_init(init, |w, (i, part)| write(w, i, part));
    // SAFETY: the capacity is at least n, and the caller promises that every element was written.
    unsafe { v.set_len(n) };
    v
}

/// Row-major or column-major operand of [`gemm`]: values and its (row, column) strides.
#[derive(Clone, Copy)]
pub struct Operand<'a>(pub &'a [f32], pub usize, pub usize);

fn covers(len: usize, rows: usize, cols: usize, rs: usize, cs: usize) -> bool {
    rows == 0 || cols == 0 || (rows - 1) * rs + (cols - 1) * cs < len
}

/// `c = a b`, or `c += a b` if `accumulate`, on one thread; `c` is `(m, n)` row-major.
///
/// # Panics
/// If an operand is shorter than its shape and strides say.
pub fn gemm(m: usize, n: usize, k: usize, a: Operand, b: Operand, c: &mut [MaybeUninit<f32>], accumulate: bool) {
    strided(m, n, k, a, b, c, n, accumulate, 1.0);
}

/// `c = factor a b`, as [`gemm`].
pub fn gemm_scaled(m: usize, n: usize, k: usize, a: Operand, b: Operand, c: &mut [f32], factor: f32) {
    strided(m, n, k, a, b, as_uninit(c), n, false, factor);
}

/// As [`gemm`] with rows of `c` `stride` apart; what lies between them is left as it is.
pub fn gemm_rows(m: usize, n: usize, k: usize, a: Operand, b: Operand, c: &mut [f32], stride: usize, accumulate: bool) {
    strided(m, n, k, a, b, as_uninit(c), stride, accumulate, 1.0);
}

fn strided(
    m: usize,
    n: usize,
    k: usize,
    a: Operand,
    b: Operand,
    c: &mut [MaybeUninit<f32>],
    stride: usize,
    accumulate: bool,
    factor: f32,
) {
    assert!(covers(a.0.len(), m, k, a.1, a.2) && covers(b.0.len(), k, n, b.1, b.2));
    assert!(stride >= n && covers(c.len(), m, n, stride, 1));
    let (ars, acs, brs, bcs) = (a.1 as isize, a.2 as isize, b.1 as isize, b.2 as isize);
    let alpha = if accumulate { 1.0f32 } else { 0.0 };
    // SAFETY: the shapes and strides lie inside the slices (asserted above), and `c` does not alias `a` or `b` (exclusive
    // borrow). With `accumulate` false gemm only writes `c`; with it true the callers pass initialized memory.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr().cast::<f32>(),
            1,
            stride as isize,
            accumulate,
            a.0.as_ptr(),
            acs,
            ars,
            b.0.as_ptr(),
            bcs,
            brs,
            alpha,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// An initialized slice as one that may be written without being read.
pub fn as_uninit(v: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: same layout; every user of this module only ever stores initialized values through it.
    unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast(), v.len()) }
}

/// Fills an output buffer with whole copies of `row`, or with zeros, and gives it back as written.
///
/// # Panics
/// If the buffer is not a multiple of the row.
pub fn filled_with_rows<'a>(v: &'a mut [MaybeUninit<f32>], row: Option<&[f32]>) -> &'a mut [f32] {
    match row {
        Some(row) => {
            assert!(v.len().is_multiple_of(row.len()), "whole rows");
            v.chunks_exact_mut(row.len()).for_each(|v| _ = v.write_copy_of_slice(row));
        }
        None => v.fill(MaybeUninit::new(0.0)),
    }
    // SAFETY: every element was just written; same layout.
    unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast(), v.len()) }
}

/// Fills an output buffer of pictures (channels, pixels) with one value a channel, and gives it back as written.
///
/// # Panics
/// If the buffer is not a multiple of `pixels`.
pub fn filled_with_planes<'a>(v: &'a mut [MaybeUninit<f32>], values: &[f32], pixels: usize) -> &'a mut [f32] {
    assert!(v.len().is_multiple_of(pixels), "whole planes");
    v.chunks_exact_mut(pixels).zip(values.iter().cycle()).for_each(|(v, b)| v.fill(MaybeUninit::new(*b)));
    // SAFETY: every element was just written; same layout.
    unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast(), v.len()) }
}

/// Takes the finished gradient of an output (a ghost or tensor) out of the store: nothing is copied, and its memory is free
/// when it drops. A macro because dfdx's bound for "has an id and a shape" cannot be named outside of it.
macro_rules! take_gradient {
    ($gradients:expr, $output:expr) => {
        std::mem::take(&mut **$gradients.get_or_alloc_mut(&$output)?)
    };
}
pub(crate) use take_gradient;
