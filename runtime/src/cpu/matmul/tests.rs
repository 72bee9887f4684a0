//! Every instruction set against the definition of a convolution in f64, and against each other bit for bit.

mod stored;

use super::*;
use crate::cpu::{Activation, Conv2dShape, conv2d, conv2d_scratch, definition, linear, linear_scratch};
use crate::quant::{decode, encode};
use alloc::vec;
use alloc::vec::Vec;

const FORMATS: [DType; 8] =
    [DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4K, DType::Q5K, DType::Q6K];

/// Input channels of whole blocks: so many, or 256.
fn whole(dtype: DType, channels: usize) -> usize {
    if dtype.row_bytes(channels).is_some() { channels } else { 256 }
}

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed.wrapping_mul(747_796_405).wrapping_add(1);
    let mut next = || {
        s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (s >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

struct Case {
    shape: Conv2dShape,
    dtype: DType,
    x: Vec<f32>,
    stored: Vec<u8>,
    bias: Vec<f32>,
    residual: Vec<f32>,
    activation: Activation,
}

impl Case {
    fn new(shape: Conv2dShape, dtype: DType) -> Self {
        let s = &shape;
        let weights = noise(s.c_out * s.kernel * s.kernel * s.c_in, 1);
        let mut stored = Vec::new();
        encode(dtype, &weights, &mut stored).unwrap();
        let activation = Activation::OF_ONE[(s.c_out + s.h) % Activation::OF_ONE.len()];
        let y = s.n * s.out_h() * s.out_w() * s.c_out;
        let residual = if s.kernel == 3 { noise(y, 4) } else { Vec::new() };
        let bias = if s.c_in == 33 { Vec::new() } else { noise(s.c_out, 3) };
        Self { dtype, x: noise(s.n * s.h * s.w * s.c_in, 2), stored, bias, residual, activation, shape }
    }

    fn packed(&self) -> Matrix {
        let s = &self.shape;
        Matrix::pack(self.dtype, &self.stored, s.c_out, s.kernel * s.kernel, s.c_in).unwrap()
    }

    fn run(&self, ctx: &Context) -> Vec<f32> {
        self.product(ctx, &self.packed())
    }

    fn product(&self, ctx: &Context, w: &Matrix) -> Vec<f32> {
        let s = &self.shape;
        let residual = (!self.residual.is_empty()).then_some(&self.residual[..]);
        let e = Epilogue { bias: &self.bias, residual, activation: self.activation };
        // Stale scratch must not show.
        let mut scratch = vec![0xff; conv2d_scratch(ctx, s, self.dtype)];
        let mut y = vec![f32::NAN; s.n * s.out_h() * s.out_w() * s.c_out];
        conv2d(ctx, s, &self.x, w, &e, &mut scratch, &mut y);
        y
    }

    /// The definition, in f64, with the weights as stored; and for each element the sum of magnitudes, 2 for bias and
    /// residual.
    fn reference(&self) -> Vec<(f64, f64)> {
        let s = &self.shape;
        let mut w = vec![0.0; s.c_out * s.kernel * s.kernel * s.c_in];
        decode(self.dtype, &self.stored, &mut w).unwrap();
        let (oh, ow, mut y) = (s.out_h(), s.out_w(), Vec::new());
        for m in 0..s.n * oh * ow {
            let (image, oy, ox) = (m / (oh * ow), m / ow % oh, m % ow);
            for n in 0..s.c_out {
                let (mut sum, mut size) = (self.bias.get(n).copied().unwrap_or(0.0) as f64, 2.0);
                for t in 0..s.kernel * s.kernel {
                    let iy = (oy * s.stride + t / s.kernel) as isize - s.pad as isize;
                    let ix = (ox * s.stride + t % s.kernel) as isize - s.pad as isize;
                    let (h, w_) = if s.upsample { (2 * s.h, 2 * s.w) } else { (s.h, s.w) };
                    if iy < 0 || ix < 0 || iy >= h as isize || ix >= w_ as isize {
                        continue;
                    }
                    let (iy, ix) = if s.upsample { (iy / 2, ix / 2) } else { (iy, ix) };
                    for c in 0..s.c_in {
                        let x = self.x[((image * s.h + iy as usize) * s.w + ix as usize) * s.c_in + c] as f64;
                        let p = x * w[(n * s.kernel * s.kernel + t) * s.c_in + c] as f64;
                        sum += p;
                        size += p.abs();
                    }
                }
                sum += self.residual.get(m * s.c_out + n).copied().unwrap_or(0.0) as f64;
                y.push((definition::activate(self.activation, sum), size));
            }
        }
        y
    }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |n, (h, w), c_in: usize, c_out, kernel, stride, pad| {
        for dtype in FORMATS {
            if dtype.row_bytes(c_in).is_some() {
                all.push(Case::new(
                    Conv2dShape { n, h, w, c_in, c_out, kernel, stride, upsample: false, pad, pad_end: pad },
                    dtype,
                ));
            }
        }
    };
    for (c_in, c_out) in [(1, 7), (3, 64), (33, 1), (33, 100), (64, 7), (64, 64), (32, 100)] {
        add(1, (5, 7), c_in, c_out, 3, 1, 1);
        add(2, (7, 5), c_in, c_out, 3, 2, 1);
        add(1, (3, 9), c_in, c_out, 3, 1, 0);
        add(3, (3, 5), c_in, c_out, 1, 1, 0);
        add(1, (5, 5), c_in, c_out, 1, 2, 1);
    }
    add(2, (9, 11), 32, 33, 5, 1, 2); // more taps than one table holds
    add(1, (1, 1), 64, 40, 3, 1, 1); // one row, mostly outside
    add(1, (3, 4), 256, 33, 3, 1, 1);
    add(1, (3, 3), 512, 40, 1, 1, 0);
    // Each number of blocks that a pipeline of tiles may end with.
    for blocks in [3, 5, 6] {
        add(1, (5, 5), 32 * blocks, 33, 1, 1, 0);
    }
    let upsampled: Vec<Case> = all
        .iter()
        .filter(|case| case.shape.kernel > 1 && [DType::F32, DType::Q4_0].contains(&case.dtype))
        .filter(|case| [7, 33].contains(&case.shape.c_out))
        .map(|case| Case::new(Conv2dShape { upsample: true, ..case.shape }, case.dtype))
        .collect();
    all.extend(upsampled);
    all
}

fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|v| v.to_bits()).collect()
}

/// Seen red with the taps' order of the pointer table transposed, with the first pixel in place of padding, and with
/// columns of an upsampled picture not halved.
#[test]
fn every_instruction_set_matches_the_definition() {
    for isa in Isa::available() {
        let ctx = Context::with_isa(1, isa).unwrap();
        for case in cases() {
            // f32 sums err by some 1e-7 of their magnitudes; int8 activations by up to 0.5 / 127 of a block's largest.
            let tolerance = if case.dtype.is_quantized() { 1e-2 } else { 1e-6 };
            for (i, (y, (want, size))) in case.run(&ctx).iter().zip(case.reference()).enumerate() {
                let ok = (*y as f64 - want).abs() <= tolerance * size;
                assert!(ok, "{isa}, {:?}, {:?}: y[{i}] = {y}, not {want}", case.shape, case.dtype);
            }
        }
    }
}

/// `value * gelu(gate) + residual` by its definition in f64, the channels whole panels or not; the same bits on every
/// instruction set and any threads. Seen red with the residual before the gate, with the bias of the value for the gate,
/// with the second of two panels under one gate left out, and with tasks that count the gate's panels as the value's.
#[test]
fn gated_layers_match_the_definition() {
    for (rows, inp, out) in [(1, 1, 1), (5, 64, 7), (13, 33, 32), (29, 32, 33), (7, 96, 64), (2, 64, 100), (5, 256, 33)]
    {
        for dtype in FORMATS.into_iter().filter(|dtype| dtype.row_bytes(inp).is_some()) {
            let mut stored = Vec::new();
            encode(dtype, &noise(2 * out * inp, 1), &mut stored).unwrap();
            let packed = Matrix::pack(dtype, &stored, 2 * out, 1, inp).unwrap();
            let mut w = vec![0.0; 2 * out * inp];
            decode(dtype, &stored, &mut w).unwrap();
            let (x, bias, residual) = (noise(rows * inp, 2), noise(2 * out, 3), noise(rows * out, 4));
            for (bias, residual) in [(&bias[..], Some(&residual[..])), (&[], None)] {
                let e = Epilogue { bias, residual, activation: Activation::Geglu };
                let run = |ctx: &Context| {
                    let mut scratch = vec![0xff; linear_scratch(ctx, rows, inp, dtype)];
                    let mut y = vec![f32::NAN; rows * out];
                    linear(ctx, rows, &x, &packed, &e, &mut scratch, &mut y);
                    y
                };
                let first = run(&Context::with_isa(1, Isa::Scalar).unwrap());
                for (i, y) in first.iter().enumerate() {
                    // The feature, and the sum of magnitudes.
                    let feature = |f: usize| {
                        let terms = x[i / out * inp..][..inp].iter().zip(&w[f * inp..]);
                        let terms = terms.map(|(x, w)| f64::from(*x) * f64::from(*w));
                        let bias = f64::from(bias.get(f).copied().unwrap_or(0.0));
                        terms.fold((bias, 1.0), |(sum, size), t| (sum + t, size + t.abs()))
                    };
                    let ((value, a), (gate, b)) = (feature(i % out), feature(out + i % out));
                    let want = value * definition::activate(Activation::Gelu, gate);
                    let want = want + f64::from(residual.map_or(0.0, |r| r[i]));
                    let tolerance = if dtype.is_quantized() { 1e-2 } else { 1e-6 };
                    let ok = (f64::from(*y) - want).abs() <= tolerance * (a * (1.0 + gate.abs()) + b * value.abs());
                    assert!(ok, "{dtype:?}, {rows} x {inp} -> {out}: y[{i}] = {y}, not {want}");
                }
                for isa in Isa::available() {
                    let y = run(&Context::with_isa(3, isa).unwrap());
                    assert!(bits(&y) == bits(&first), "{isa}, {dtype:?}, {rows} x {inp} -> {out}");
                }
            }
        }
    }
}

/// Seen red with separate multiply and add in the scalar kernel, and with a fused one in the quantized AVX-512 kernel.
#[test]
fn every_instruction_set_gives_the_same_bits() {
    for case in cases() {
        let scalar = bits(&case.run(&Context::with_isa(1, Isa::Scalar).unwrap()));
        for isa in Isa::available() {
            let same = bits(&case.run(&Context::with_isa(1, isa).unwrap())) == scalar;
            assert!(same, "{isa}, {:?}, {:?}", case.shape, case.dtype);
        }
    }
}

/// Seen red with tasks that begin one panel after another, and with chunks of one row too few.
#[test]
fn threads_do_not_change_bits() {
    let one = Context::new(1);
    for shape in [
        Conv2dShape {
            n: 3,
            h: 13,
            w: 11,
            c_in: 64,
            c_out: 100,
            kernel: 3,
            stride: 1,
            upsample: false,
            pad: 1,
            pad_end: 1,
        },
        Conv2dShape {
            n: 1,
            h: 7,
            w: 7,
            c_in: 96,
            c_out: 260,
            kernel: 3,
            stride: 1,
            upsample: false,
            pad: 1,
            pad_end: 1,
        },
        Conv2dShape {
            n: 1,
            h: 1,
            w: 1,
            c_in: 640,
            c_out: 1100,
            kernel: 1,
            stride: 1,
            upsample: false,
            pad: 0,
            pad_end: 0,
        },
    ] {
        for dtype in FORMATS {
            let case = Case::new(Conv2dShape { c_in: whole(dtype, shape.c_in), ..shape }, dtype);
            let want = bits(&case.run(&one));
            for threads in [2, 3] {
                assert!(bits(&case.run(&Context::new(threads))) == want, "{threads} threads, {shape:?}, {dtype:?}");
            }
        }
    }
}

/// Seen red with tiles that stay in the picture where they began.
#[test]
fn a_batch_is_its_pictures() {
    let ctx = Context::new(2);
    for dtype in FORMATS {
        let shape = Conv2dShape {
            n: 3,
            h: 9,
            w: 7,
            c_in: whole(dtype, 64),
            c_out: 70,
            kernel: 3,
            stride: 1,
            upsample: false,
            pad: 1,
            pad_end: 1,
        };
        let case = Case::new(shape, dtype);
        let all = case.run(&ctx);
        for (i, want) in all.chunks_exact(all.len() / 3).enumerate() {
            let part = |v: &[f32]| v[i * v.len() / 3..(i + 1) * v.len() / 3].to_vec();
            let mut single = Case::new(Conv2dShape { n: 1, ..shape }, dtype);
            (single.x, single.residual) = (part(&case.x), part(&case.residual));
            assert!(bits(&single.run(&ctx)) == bits(want), "picture {i}, {dtype:?}");
        }
    }
}

/// f16 and bf16 weights are their values: the same bits as f32 weights of those values. Seen red with f16 panels'
/// halves exchanged in the AVX-512 kernel.
#[test]
fn half_weights_are_their_values() {
    let shape = Conv2dShape {
        n: 1,
        h: 5,
        w: 5,
        c_in: 33,
        c_out: 50,
        kernel: 3,
        stride: 1,
        upsample: false,
        pad: 1,
        pad_end: 1,
    };
    for isa in Isa::available() {
        let ctx = Context::with_isa(1, isa).unwrap();
        for dtype in [DType::F16, DType::BF16] {
            let case = Case::new(shape, dtype);
            let mut w = vec![0.0; 50 * 9 * 33];
            decode(dtype, &case.stored, &mut w).unwrap();
            let mut wide = Case::new(shape, DType::F32);
            wide.stored.clear();
            encode(DType::F32, &w, &mut wide.stored).unwrap();
            assert!(bits(&case.run(&ctx)) == bits(&wide.run(&ctx)), "{isa}, {dtype:?}");
        }
    }
}

/// Codes at their limits: weights of -128 and 127 (4 bits: 0 and 15), activations of -127 and 127, where saturating
/// instructions would err. Seen red with the sign moved from the activations to the weights in the AVX2 kernel.
#[test]
fn extreme_codes_are_exact() {
    for dtype in [DType::Q8_0, DType::Q4_0] {
        for (fill, sign) in [(0x80, 1.0), (0x80, -1.0), (0x7f, 1.0), (0x00, 1.0), (0xff, -1.0)] {
            let mut stored = vec![fill; dtype.row_bytes(64).unwrap() * 40];
            for b in stored.chunks_exact_mut(dtype.block_bytes()) {
                b[..2].copy_from_slice(&half::f16::ONE.to_le_bytes());
            }
            let w = Matrix::pack(dtype, &stored, 40, 1, 64).unwrap();
            let mut decoded = vec![0.0; 64 * 40];
            decode(dtype, &stored, &mut decoded).unwrap();
            let x = vec![127.0 * sign; 64 * 5];
            let want: f32 = decoded[..64].iter().map(|w| w * 127.0 * sign).sum();
            for isa in Isa::available() {
                let ctx = Context::with_isa(1, isa).unwrap();
                let mut scratch = vec![0; linear_scratch(&ctx, 5, 64, dtype)];
                let mut y = vec![0.0; 5 * 40];
                linear(&ctx, 5, &x, &w, &Epilogue::NONE, &mut scratch, &mut y);
                assert!(y.iter().all(|y| *y == want), "{isa}, {dtype:?}, {fill:#x}: {} not {want}", y[0]);
            }
        }
    }
}

/// As above for blocks of 256: codes of all ones and of zeros, scales and minima at their limits. Every sum is exact here.
/// Seen red with four pairs of q6_K's products in an i16.
#[test]
fn extreme_codes_of_blocks_of_256_are_exact() {
    for dtype in [DType::Q4K, DType::Q5K, DType::Q6K] {
        for (fill, sign) in [(0xff, 1.0), (0xff, -1.0), (0x00, 1.0), (0x80, -1.0), (0x7f, 1.0)] {
            let mut stored = vec![fill; dtype.block_bytes() * 40];
            for b in stored.chunks_exact_mut(dtype.block_bytes()) {
                let at = if dtype == DType::Q6K { 208 } else { 0 };
                b[at..at + 2].copy_from_slice(&half::f16::ONE.to_le_bytes());
                if at == 0 {
                    b[2..4].copy_from_slice(&half::f16::ONE.to_le_bytes());
                }
            }
            let w = Matrix::pack(dtype, &stored, 40, 1, 256).unwrap();
            let mut decoded = vec![0.0; 256 * 40];
            decode(dtype, &stored, &mut decoded).unwrap();
            let x = vec![127.0 * sign; 256 * 5];
            let want: f64 = decoded[..256].iter().map(|w| f64::from(*w) * 127.0 * f64::from(sign)).sum();
            for isa in Isa::available() {
                let ctx = Context::with_isa(1, isa).unwrap();
                let mut scratch = vec![0; linear_scratch(&ctx, 5, 256, dtype)];
                let mut y = vec![0.0; 5 * 40];
                linear(&ctx, 5, &x, &w, &Epilogue::NONE, &mut scratch, &mut y);
                let near = |y: &f32| (f64::from(*y) - want).abs() <= 1e-6 * (1.0 + want.abs());
                assert!(y.iter().all(near), "{isa}, {dtype:?}, {fill:#x}: {} not {want}", y[0]);
            }
        }
    }
}

/// What is not a number must reach the output, whatever the format. Seen red with the check for a finite maximum
/// left out of the quantization.
#[test]
fn nan_and_infinity_are_not_hidden() {
    for isa in Isa::available() {
        let ctx = Context::with_isa(1, isa).unwrap();
        for dtype in FORMATS {
            for bad in [f32::NAN, f32::INFINITY] {
                let shape = Conv2dShape {
                    n: 1,
                    h: 1,
                    w: 2,
                    c_in: whole(dtype, 32),
                    c_out: 3,
                    kernel: 1,
                    stride: 1,
                    upsample: false,
                    pad: 0,
                    pad_end: 0,
                };
                let mut case = Case::new(shape, dtype);
                case.x[whole(dtype, 32) + 5] = bad;
                let y = case.run(&ctx);
                assert!(y[..3].iter().all(|v| v.is_finite()), "{isa}, {dtype:?}");
                assert!(y[3..].iter().any(|v| !v.is_finite()), "{isa}, {dtype:?}");
            }
        }
    }
}

/// Seen red with the f64 sum always rounded again.
#[test]
fn scalar_fma_rounds_once() {
    // a b = 2^-24 - 2^-64: a little less than half a unit in the last place of c, which f64 rounds to exactly half.
    let e = f32::from_bits((127 - 20) << 23);
    let (a, b, c) = ((1.0 + e) / 4096.0, (1.0 - e) / 4096.0, 1.0 + f32::EPSILON);
    assert_eq!(scalar::fma(a, b, c), c);
    let values = noise(4096, 9);
    for v in values.windows(3) {
        assert_eq!(scalar::fma(v[0], v[1], v[2]), libm::fmaf(v[0], v[1], v[2]));
    }
}

/// Seen red with the length checked from above only.
#[test]
fn wrong_weights_are_refused() {
    use crate::plan::KernelError as E;
    let new = Matrix::pack;
    assert!(matches!(new(DType::F32, &[], 0, 1, 1), Err(E::EmptyMatrix { out: 0, .. })));
    assert!(matches!(new(DType::Q8_0, &[0; 34], 1, 1, 33), Err(E::PartialBlock { inp: 33, block: 32, .. })));
    assert!(matches!(new(DType::F16, &[0; 5], 1, 1, 3), Err(E::WeightBytes { expected: 6, got: 5, .. })));
    let huge = usize::MAX / 2;
    assert!(matches!(new(DType::F32, &[], huge, 2, 2), Err(E::TooLarge { .. })));
    assert!(matches!(new(DType::F32, &[], 2, 2, huge), Err(E::TooLarge { .. })));
    let m = new(DType::Q4_0, &[0; 18 * 9 * 33], 33, 9, 32).unwrap();
    assert_eq!((m.out(), m.taps(), m.inp(), m.dtype(), m.bytes()), (33, 9, 32, DType::Q4_0, 2 * 9 * 576));
}

/// What is packed into memory that had something else, by several threads, is what is packed into fresh memory.
///
/// Seen red with panels that are not cleared before.
#[test]
fn memory_that_is_used_again() {
    for dtype in FORMATS {
        let inp = whole(dtype, 64);
        let sizes = |out, taps| {
            let mut stored = Vec::new();
            encode(dtype, &noise(out * taps * inp, out as u32), &mut stored).unwrap();
            let packed = Matrix::pack(dtype, &stored, out, taps, inp).unwrap();
            (Matrix::unfilled(dtype, stored.len(), [out, taps, inp]).unwrap(), stored, packed)
        };
        let [large, small, odd] = [(96, 9), (64, 1), (41, 9)].map(|(out, taps)| sizes(out, taps));
        assert_eq!(large.0.packed_bytes(), large.2.bytes());
        for threads in [1, 3] {
            let mut slot = Matrix::room(large.0.packed_bytes());
            for (sizes, stored, packed) in [&large, &odd, &small, &large] {
                slot.refill(&Context::new(threads), sizes, stored);
                assert_eq!((slot.out(), slot.taps(), slot.inp()), (packed.out(), packed.taps(), packed.inp()));
                assert!(slot.packed()[..packed.bytes()] == *packed.packed(), "{dtype} {packed:?}");
                assert_eq!(slot.bytes(), large.2.bytes());
            }
        }
        assert!(Matrix::unfilled(dtype, 3, [41, 9, inp]).is_err());
    }
}

/// The bits themselves, so that another machine or architecture is compared with this one. The weights' bytes are made
/// here, not encoded, so that only the kernels are tested. Seen red with the bias added in two halves.
#[test]
fn the_bits_of_a_known_product() {
    let shape = Conv2dShape {
        n: 2,
        h: 7,
        w: 6,
        c_in: 64,
        c_out: 41,
        kernel: 3,
        stride: 1,
        upsample: false,
        pad: 1,
        pad_end: 1,
    };
    let mut sums = Vec::new();
    for dtype in FORMATS {
        let mut case = Case::new(Conv2dShape { c_in: whole(dtype, 64), ..shape }, dtype);
        case.activation = Activation::Silu;
        case.stored.clear();
        for (i, v) in noise(41 * 9 * case.shape.c_in / dtype.block_len(), 5).into_iter().enumerate() {
            match dtype {
                DType::F32 => case.stored.extend(v.to_le_bytes()),
                DType::BF16 => case.stored.extend(&v.to_le_bytes()[2..]),
                DType::F16 => case.stored.extend((0x2c00 + (i * 37 % 0x0c00) as u16).to_le_bytes()),
                DType::Q8_0 | DType::Q4_0 => {
                    case.stored.extend((0x1c00 + (i * 29 % 0x0400) as u16).to_le_bytes());
                    case.stored.extend((0..dtype.block_bytes() - 2).map(|j| ((i * 31 + j * j * 7) % 256) as u8));
                }
                DType::Q4K | DType::Q5K | DType::Q6K => {
                    let mut block: Vec<u8> =
                        (0..dtype.block_bytes()).map(|j| ((i * 31 + j * j * 7) % 256) as u8).collect();
                    let factors = if dtype == DType::Q6K { &[208][..] } else { &[0, 2] };
                    for at in factors {
                        let factor = (0x1000 + ((i + at) * 29 % 0x0400) as u16).to_le_bytes();
                        block[*at..at + 2].copy_from_slice(&factor);
                    }
                    case.stored.extend(block);
                }
            }
        }
        // FNV-1a over the words
        let hash = |h: u32, v: f32| (h ^ v.to_bits()).wrapping_mul(16_777_619);
        sums.push(case.run(&Context::new(2)).into_iter().fold(2_166_136_261, hash));
    }
    let known = [1972206828, 2461621225, 1420801461, 3366138510, 1659542424, 239042712, 1111515227, 3528504643];
    assert_eq!(sums, known);
}
