//! How fast this machine is at what networks are made of, measured in a moment: from which follows how long a plan takes.

use super::{AttentionShape, Context, Conv2dShape, Epilogue, Matrix};
use crate::plan::KernelError;
use crate::quant::{self, DType};
use core::hint::black_box;
use std::time::{Duration, Instant};
use std::vec;
use std::vec::Vec;

/// What a thread pool does in a second.
#[derive(Clone, PartialEq, Debug)]
pub struct Rates {
    /// Of each format that was asked for.
    pub matrices: Vec<MatrixRate>,
    /// Multiply-accumulates of attention.
    pub attention: f64,
    /// Bytes read from memory.
    pub bytes: f64,
}

/// Multiply-accumulates with weights of a format.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MatrixRate {
    /// The format.
    pub dtype: DType,
    /// In convolutions of 3 x 3.
    pub conv: f64,
    /// In linear layers.
    pub linear: f64,
}

/// Sizes as in Stable Diffusion, but for the outputs: an execution shall be over before a busy machine turns to something
/// else, some milliseconds.
const SIDE: usize = 32;
const CHANNELS: usize = 320;
/// In place of these for blocks of 256, of which 320 has none.
const WHOLE: usize = 512;
const OUT: usize = 96;
/// Tokens and heads of attention, the same.
const TOKENS: usize = 640;
const HEADS: usize = 8;
const HEAD: usize = 40;
/// Weights that no cache holds, and the rows that read them.
const MANY: usize = 4096;
const ROWS: usize = 4;

impl Rates {
    /// Measures: about a third of a second for one format. These are the rates of a machine that does nothing else.
    ///
    /// # Errors
    /// None that this machine could cause: the sizes are fixed.
    pub fn measure(context: &Context, dtypes: &[DType]) -> Result<Self, KernelError> {
        let mut matrices = Vec::new();
        for &dtype in dtypes {
            matrices.push(matrix(context, dtype)?);
        }
        Ok(Self { matrices, attention: attention(context), bytes: bytes(context)? })
    }

    /// The rates of a format; those of another one if it was not measured.
    pub fn of(&self, dtype: DType) -> MatrixRate {
        let own = self.matrices.iter().find(|rate| rate.dtype == dtype).or(self.matrices.first());
        own.copied().unwrap_or(MatrixRate { dtype, conv: self.attention, linear: self.attention })
    }
}

/// Amounts in a second: of some executions after the first, that which a fifth surpass. A median would be that of whatever
/// else the machine does.
fn rate(amount: usize, mut f: impl FnMut()) -> f64 {
    f();
    let begin = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < 5 || begin.elapsed() < Duration::from_millis(60) && seconds.len() < 200 {
        let start = Instant::now();
        f();
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    amount as f64 / seconds[seconds.len() / 5].max(1e-9)
}

/// Numbers of about the size of a network's, quickly.
fn numbers(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn packed(dtype: DType, out: usize, taps: usize, inp: usize) -> Result<Matrix, KernelError> {
    let mut data = Vec::new();
    // Cannot fail: finite, and rows of whole blocks. An empty matrix would be refused below.
    let _ = quant::encode(dtype, &numbers(out * taps * inp), &mut data);
    Matrix::pack(dtype, &data, out, taps, inp)
}

const PLAIN: Epilogue<'static> = Epilogue { bias: &[], residual: None, activation: super::Activation::None };

fn matrix(context: &Context, dtype: DType) -> Result<MatrixRate, KernelError> {
    let pixels = SIDE * SIDE;
    let channels = if CHANNELS.is_multiple_of(dtype.block_len()) { CHANNELS } else { WHOLE };
    let (x, mut y) = (numbers(pixels * channels), vec![0.0; pixels * channels]);
    let shape = Conv2dShape {
        n: 1,
        h: SIDE,
        w: SIDE,
        upsample: false,
        c_in: channels,
        c_out: OUT,
        kernel: 3,
        stride: 1,
        pad: 1,
        pad_end: 1,
    };
    let weights = packed(dtype, OUT, 9, channels)?;
    let mut scratch = vec![0; super::conv2d_scratch(context, &shape, dtype)];
    let conv = rate(pixels * OUT * 9 * channels, || {
        super::conv2d(context, &shape, black_box(&x), &weights, &PLAIN, &mut scratch, &mut y[..pixels * OUT]);
    });
    let weights = packed(dtype, channels, 1, channels)?;
    let mut scratch = vec![0; super::linear_scratch(context, pixels, channels, dtype)];
    let linear = rate(pixels * channels * channels, || {
        super::linear(context, pixels, black_box(&x), &weights, &PLAIN, &mut scratch, &mut y);
    });
    Ok(MatrixRate { dtype, conv, linear })
}

fn attention(context: &Context) -> f64 {
    let c = HEADS * HEAD;
    let (heads, kv_heads) = (HEADS, HEADS);
    let shape = AttentionShape { n: 1, queries: TOKENS, keys: TOKENS, c, heads, kv_heads, causal: false, scale: None };
    let (x, mut y) = (numbers(TOKENS * c), vec![0.0; TOKENS * c]);
    let mut scratch = vec![0; super::attention_scratch(context, &shape)];
    rate(2 * TOKENS * TOKENS * c, || {
        super::attention(context, &shape, [black_box(&x); 3], None, None, &mut scratch, &mut y);
    })
}

/// Few rows, so that the time is that of the weights' way from memory.
fn bytes(context: &Context) -> Result<f64, KernelError> {
    let weights = packed(DType::F32, MANY, 1, MANY)?;
    let (x, mut y) = (numbers(ROWS * MANY), vec![0.0; ROWS * MANY]);
    let mut scratch = vec![0; super::linear_scratch(context, ROWS, MANY, DType::F32)];
    Ok(rate(weights.bytes(), || super::linear(context, ROWS, black_box(&x), &weights, &PLAIN, &mut scratch, &mut y)))
}
