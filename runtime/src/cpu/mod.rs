//! TEMPORARY: naive kernels behind the agreed signatures; replaced on merge. Only `pub mod exec` stays.
#![allow(clippy::all)]
#![allow(missing_docs)]
pub mod exec;
mod to_u8;
mod epilogue {
    pub(crate) fn silu(v: f32) -> f32 {
        v / (1.0 + libm::expf(-v))
    }
}
pub use to_u8::{ToU8Error, to_u8};

use crate::quant::{self, DType};
use alloc::vec;
use alloc::vec::Vec;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    None,
    Relu,
    Silu,
}
impl Activation {
    fn go(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Self::Silu => epilogue::silu(x),
        }
    }
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    #[error("bad packed matrix: {0}")]
    Bad(usize),
}

pub struct Context {
    threads: usize,
}
impl Context {
    pub fn new(threads: usize) -> Self {
        Self { threads }
    }
    pub fn threads(&self) -> usize {
        self.threads
    }
}

pub struct PackedMatrix {
    data: Vec<f32>,
    dtype: DType,
    out: usize,
    taps: usize,
    inp: usize,
}
impl PackedMatrix {
    pub fn new(dtype: DType, data: &[u8], out: usize, taps: usize, inp: usize) -> Result<Self, KernelError> {
        let mut v = vec![0.0; out * taps * inp];
        quant::decode(dtype, data, &mut v).map_err(|_| KernelError::Bad(data.len()))?;
        Ok(Self { data: v, dtype, out, taps, inp })
    }
    pub fn bytes(&self) -> usize {
        self.data.len() * 4
    }
    pub fn out(&self) -> usize {
        self.out
    }
    pub fn taps(&self) -> usize {
        self.taps
    }
    pub fn inp(&self) -> usize {
        self.inp
    }
    pub fn dtype(&self) -> DType {
        self.dtype
    }
}

pub struct Epilogue<'a> {
    pub bias: &'a [f32],
    pub residual: Option<&'a [f32]>,
    pub activation: Activation,
}
impl Epilogue<'_> {
    fn go(&self, i: usize, o: usize, acc: f32) -> f32 {
        let mut v = acc;
        if !self.bias.is_empty() {
            v += self.bias[o];
        }
        if let Some(r) = self.residual {
            v += r[i];
        }
        self.activation.go(v)
    }
}

#[derive(Clone, Copy)]
pub struct Conv2dShape {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c_in: usize,
    pub c_out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
}
impl Conv2dShape {
    pub fn out_h(&self) -> usize {
        (self.h + 2 * self.pad - self.kernel) / self.stride + 1
    }
    pub fn out_w(&self) -> usize {
        (self.w + 2 * self.pad - self.kernel) / self.stride + 1
    }
}

pub fn conv2d(
    _: &Context,
    s: &Conv2dShape,
    x: &[f32],
    w: &PackedMatrix,
    e: &Epilogue<'_>,
    _: &mut [u8],
    y: &mut [f32],
) {
    let (oh, ow, k) = (s.out_h(), s.out_w(), s.kernel);
    for p in 0..s.n * oh * ow {
        let (n, oy, ox) = (p / (oh * ow), p / ow % oh, p % ow);
        for o in 0..s.c_out {
            let mut acc = 0.0f32;
            for tap in 0..k * k {
                let (iy, ix) = (oy * s.stride + tap / k, ox * s.stride + tap % k);
                if iy < s.pad || ix < s.pad || iy - s.pad >= s.h || ix - s.pad >= s.w {
                    continue;
                }
                let xi = ((n * s.h + iy - s.pad) * s.w + ix - s.pad) * s.c_in;
                let wi = (o * k * k + tap) * s.c_in;
                for c in 0..s.c_in {
                    acc = libm::fmaf(x[xi + c], w.data[wi + c], acc);
                }
            }
            y[p * s.c_out + o] = e.go(p * s.c_out + o, o, acc);
        }
    }
}
pub fn conv2d_scratch(_: &Context, s: &Conv2dShape, _: DType) -> usize {
    s.c_in * 4
}
pub fn linear(
    ctx: &Context,
    rows: usize,
    x: &[f32],
    w: &PackedMatrix,
    e: &Epilogue<'_>,
    scratch: &mut [u8],
    y: &mut [f32],
) {
    let s = Conv2dShape { n: rows, h: 1, w: 1, c_in: w.inp, c_out: w.out, kernel: 1, stride: 1, pad: 0 };
    conv2d(ctx, &s, x, w, e, scratch, y);
}
pub fn linear_scratch(_: &Context, _rows: usize, inp: usize, _: DType) -> usize {
    inp
}

#[derive(Clone, Copy)]
pub struct ImageShape {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
}
pub fn max_pool2(_: &Context, s: ImageShape, x: &[f32], add: Option<&[f32]>, y: &mut [f32]) {
    let (oh, ow) = (s.h / 2, s.w / 2);
    for i in 0..s.n * oh * ow * s.c {
        let (c, p) = (i % s.c, i / s.c);
        let (n, oy, ox) = (p / (oh * ow), p / ow % oh, p % ow);
        let at = |dy, dx| x[((n * s.h + 2 * oy + dy) * s.w + 2 * ox + dx) * s.c + c];
        y[i] = at(0, 0).max(at(0, 1)).max(at(1, 0).max(at(1, 1))) + add.map_or(0.0, |a| a[n * s.c + c]);
    }
}
fn up(s: ImageShape, y: &mut [f32], f: impl Fn(usize, usize, usize, usize) -> f32) {
    let (oh, ow) = (s.h * 2, s.w * 2);
    for (i, y) in y.iter_mut().enumerate() {
        let (c, p) = (i % s.c, i / s.c);
        *y = f(p / (oh * ow), p / ow % oh, p % ow, c);
    }
}
pub fn upsample_nearest2(_: &Context, s: ImageShape, x: &[f32], y: &mut [f32]) {
    up(s, y, |n, oy, ox, c| x[((n * s.h + oy / 2) * s.w + ox / 2) * s.c + c]);
}
pub fn upsample_bilinear2(_: &Context, s: ImageShape, x: &[f32], y: &mut [f32]) {
    let side = |o: usize, len: usize| {
        if o % 2 == 0 { ((o / 2).saturating_sub(1), o / 2, 0.25) } else { (o / 2, (o / 2 + 1).min(len - 1), 0.75) }
    };
    up(s, y, |n, oy, ox, c| {
        let ((y0, y1, fy), (x0, x1, fx)) = (side(oy, s.h), side(ox, s.w));
        let at = |iy, ix| x[((n * s.h + iy) * s.w + ix) * s.c + c];
        let row = |iy| at(iy, x0) * fx + at(iy, x1) * (1.0 - fx);
        row(y0) * fy + row(y1) * (1.0f32 - fy)
    });
}
pub fn concat(_: &Context, s: ImageShape, a: &[f32], c_b: usize, b: &[f32], add: Option<&[f32]>, y: &mut [f32]) {
    let c = s.c + c_b;
    for (i, y) in y.iter_mut().enumerate() {
        let (p, ch) = (i / c, i % c);
        let v = if ch < s.c { a[p * s.c + ch] } else { b[p * c_b + ch - s.c] };
        *y = v + add.map_or(0.0, |add| add[p / (s.h * s.w) * c + ch]);
    }
}
pub fn add_channels(_: &Context, s: ImageShape, x: &[f32], v: &[f32], y: &mut [f32]) {
    for (i, y) in y.iter_mut().enumerate() {
        *y = x[i] + v[i / (s.h * s.w * s.c) * s.c + i % s.c];
    }
}
pub fn embedding_add(dim: usize, table: &[f32], ids: &[Option<u32>], y: &mut [f32]) {
    for (row, id) in y.chunks_mut(dim).zip(ids) {
        if let Some(id) = id {
            row.iter_mut().zip(&table[*id as usize * dim..]).for_each(|(y, t)| *y += t);
        }
    }
}
pub fn position_encoding(t: f32, dim: usize, out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        let a = f64::from(t) / libm::pow(10000.0, i as f64 / dim as f64);
        *out = if i % 2 == 0 { libm::sin(a) } else { libm::cos(a) } as f32;
    }
}
