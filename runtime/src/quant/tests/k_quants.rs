//! What ggml's own `quantize_row_q4_K_ref` and its like make of the same values, compiled once (`gcc -ffp-contract=off`).

use super::*;

const K: [DType; 3] = [DType::Q4K, DType::Q5K, DType::Q6K];

/// FNV-1a.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |h, b| (h ^ u32::from(*b)).wrapping_mul(16_777_619))
}

/// Blocks of 2^-14 to 2^6 in size, whose parts are noise around zero or not, all equal, or zeros; and with lone values.
fn values() -> Vec<f32> {
    let (mut x, mut s) = (Vec::new(), 1u32);
    for b in 0..96 {
        let scale = libm::ldexpf(1.0, b % 21 - 14);
        for i in 0..256 {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let u = (s >> 8) as f32 / 8_388_608.0 - 1.0;
            let t = u * u * u;
            x.push(match (b, (b * 8 + i / 32) % 7) {
                (40, _) => 0.0,
                _ if b % 16 == 15 => [0.0, -scale][usize::from(i % 37 == 5)],
                (_, 0) => u * scale,
                (_, 1) => (t + 1.0) * scale,
                (_, 2) => (t - 1.5) * scale,
                (_, 3) => 0.0,
                (_, 4) => 0.75 * scale,
                _ => t * scale * 0.125,
            });
        }
    }
    x
}

/// Seen red with a range that is not of the best minimum so far, with a scale that is not fitted again where the minimum is
/// above zero, with codes that are not made anew from the rounded scales, with no search at all, and with the upper bits of q6_K's quarters
/// exchanged.
#[test]
fn bytes_are_ggmls() {
    let found = K.map(|dtype| hash(&encoded(dtype, &values())));
    assert_eq!(found, [137_325_764, 1_702_351_270, 3_736_569_501]);
}

/// What a block decodes to, of bytes that no search made: by the formulas of ggml's dequantizers, which gguf-py's fixtures
/// hold too (`import/src/tests/formats.rs`). Seen red with the minima of the last four parts without their upper bits.
#[test]
fn blocks_decode_by_their_formulas() {
    let mut numbers = Numbers(3);
    for dtype in K {
        let mut block: Vec<u8> = (0..dtype.block_bytes()).map(|_| numbers.bits() as u8).collect();
        let (d, dmin) = (half::f16::from_f32(0.037), half::f16::from_f32(-0.011));
        let at = if dtype == DType::Q6K { 208 } else { 0 };
        block[at..at + 2].copy_from_slice(&d.to_le_bytes());
        if at == 0 {
            block[2..4].copy_from_slice(&dmin.to_le_bytes());
        }
        let b = &block;
        let six = |j: usize| match j {
            0..4 => (b[4 + j] & 63, b[8 + j] & 63),
            _ => ((b[8 + j] & 15) | (b[j] >> 6 << 4), (b[8 + j] >> 4) | (b[4 + j] >> 6 << 4)),
        };
        let want: Vec<f32> = (0..256)
            .map(|i| {
                let (part, nibble) = (i / 32, |at: usize| b[at + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15);
                let (scale, min) = six(part);
                let affine = |q: u8| d.to_f32() * f32::from(scale) * f32::from(q) - dmin.to_f32() * f32::from(min);
                match dtype {
                    DType::Q4K => affine(nibble(16)),
                    DType::Q5K => affine(nibble(48) | (b[16 + i % 32] >> part & 1) << 4),
                    _ => {
                        let low = b[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
                        let q = low | (b[128 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3) << 4;
                        let scale = b[192 + i / 16].cast_signed();
                        d.to_f32() * f32::from(scale) * f32::from(q.cast_signed() - 32)
                    }
                }
            })
            .collect();
        let mut y = vec![f32::NAN; 256];
        decode(dtype, &block, &mut y).unwrap();
        assert_eq!(y, want, "{dtype}");
    }
}

/// The error of normal values, as shares of their size: each bit halves it, and q4_K errs less than q4_0. Seen red with minima
/// without their upper bits, and with the upper bits of q6_K's quarters exchanged.
#[test]
fn errors_are_those_of_so_many_bits() {
    let mut numbers = Numbers(4);
    let x: Vec<f32> = (0..256 * 64).map(|_| (0..12).map(|_| numbers.unit()).sum()).collect();
    let error = |dtype: DType| {
        let off = x.iter().zip(round_trip(dtype, &x)).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        libm::sqrtf(off / x.iter().map(|a| a * a).sum::<f32>())
    };
    let [q4_0, q4, q5, q6] = [DType::Q4_0, K[0], K[1], K[2]].map(error);
    assert!(q4 < 0.92 * q4_0 && q4 < 0.08 && q5 < 0.55 * q4 && q6 < 0.6 * q5, "{q4_0} {q4} {q5} {q6}");
}
