//! The bytes of known blocks were computed once with the public Python package `gguf` 0.19 (`gguf.quants.quantize`).
//!
//! Seen red with: truncation, and ties to even, for `roundf` in q8_0; 8.0 for 8.5, the nibbles swapped, and the scale
//! from the magnitude instead of the signed value in q4_0; `1 / d` unguarded; `out` not restored on overflow.

mod k_quants;

use super::*;
use alloc::vec;

/// Deterministic generator (splitmix64) of values that a property is checked over.
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1.
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    /// Blocks of very different magnitudes, 1e-6 to 1e4, as the tensors of a network are.
    fn blocks(&mut self, count: usize) -> Vec<f32> {
        let mut x = Vec::new();
        for i in 0..count {
            let scale = libm::powf(10.0, (i % 11) as f32 - 6.0);
            x.extend((0..32).map(|_| self.unit() * scale));
        }
        x
    }
}

fn encoded(dtype: DType, x: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(dtype, x, &mut out).unwrap();
    out
}

fn round_trip(dtype: DType, x: &[f32]) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len()];
    decode(dtype, &encoded(dtype, x), &mut y).unwrap();
    y
}

/// 32 values from -16.5 to 6.75 in steps of 0.75.
fn ramp() -> Vec<f32> {
    (0..32u8).map(|i| f32::from(i) * 0.75 - 16.5).collect()
}

#[test]
fn ids_names_and_sizes_are_ggmls() {
    let table = [
        ("f32", 0, 1, 4, 0),
        ("f16", 1, 1, 2, 1),
        ("q4_0", 2, 32, 18, 2),
        ("q8_0", 8, 32, 34, 7),
        ("q4_K", 12, 256, 144, 14),
        ("q5_K", 13, 256, 176, 16),
        ("q6_K", 14, 256, 210, 18),
        ("bf16", 30, 1, 2, 32),
    ];
    for (dtype, (name, id, len, bytes, file_type)) in DType::ALL.into_iter().zip(table) {
        assert_eq!((dtype.name(), dtype.id(), dtype.file_type()), (name, id, file_type));
        assert_eq!((dtype.block_len(), dtype.block_bytes()), (len, bytes));
        assert_eq!((DType::from_id(id), DType::from_name(name)), (Some(dtype), Some(dtype)));
        assert_eq!(dtype.row_bytes(768), Some(768 / len * bytes));
    }
    for id in [3, 6, 7, 9, 10, 24, 29, 31, u32::MAX] {
        assert_eq!(DType::from_id(id), None);
    }
    assert_eq!(DType::Q8_0.row_bytes(33), None);
    assert_eq!(DType::F32.row_bytes(usize::MAX), None);
    assert_eq!((DType::from_name("q5_1"), DType::from_name("q4_k")), (None, Some(DType::Q4K)));
}

/// Seen red with q8_0 for whatever does not fit.
#[test]
fn rows_that_do_not_fit_get_another_format() {
    let of = |dtype: DType| [256, 512, 320, 33].map(|n| dtype.of_rows(n));
    assert_eq!(of(DType::Q4K), [DType::Q4K, DType::Q4K, DType::Q8_0, DType::F16]);
    assert_eq!(of(DType::Q4_0), [DType::Q4_0, DType::Q4_0, DType::Q4_0, DType::F16]);
    assert_eq!(of(DType::F32), [DType::F32; 4]);
}

#[test]
fn known_bytes_q8_0() {
    let expected = [
        40, 48, 129, 135, 141, 146, 152, 158, 164, 169, 175, 181, 187, 192, 198, 204, 210, 216, 221, 227, 233, 239,
        244, 250, 0, 6, 12, 17, 23, 29, 35, 40, 46, 52,
    ];
    assert_eq!(encoded(DType::Q8_0, &ramp()), expected);
    let y = round_trip(DType::Q8_0, &ramp());
    assert_eq!((y[0], y[21], y[22], y[31]), (-16.495_117, -0.779_296_9, 0.0, 6.753_906_3));
}

#[test]
fn ties_round_away_from_zero_in_q8_0() {
    let mut x = vec![0.0; 32];
    // The scale is exactly 2, so 1, 3 and 5 lie halfway.
    (x[0], x[1], x[2], x[3], x[4]) = (254.0, 1.0, -1.0, 3.0, -5.0);
    let bytes = encoded(DType::Q8_0, &x);
    assert_eq!(bytes[2..7], [127, 1, 255, 2, 253]);
}

#[test]
fn known_bytes_q4_0() {
    let expected = [32, 64, 96, 96, 113, 113, 113, 130, 130, 131, 147, 147, 148, 164, 164, 181, 181, 181];
    assert_eq!(encoded(DType::Q4_0, &ramp()), expected);
    let y = round_trip(DType::Q4_0, &ramp());
    assert_eq!((y[0], y[15], y[16], y[31]), (-16.5, -6.1875, -4.125, 6.1875));
}

#[test]
fn known_bytes_of_half_formats() {
    let x = [1.0, -2.5, 0.1, 65504.0, 1e-7, core::f32::consts::PI];
    assert_eq!(encoded(DType::F16, &x), [0, 60, 0, 193, 102, 46, 255, 123, 2, 0, 72, 66]);
    assert_eq!(encoded(DType::BF16, &x), [128, 63, 32, 192, 205, 61, 128, 71, 215, 51, 73, 64]);
    assert_eq!(encoded(DType::F32, &[1.0]), [0, 0, 128, 63]);
}

#[test]
fn zeros_stay_zero() {
    for dtype in DType::ALL {
        assert_eq!(round_trip(dtype, &[0.0; 512]), [0.0; 512]);
    }
    // As ggml stores it: scale -0, every nibble 8.
    assert_eq!(encoded(DType::Q4_0, &[-0.0; 32])[..3], [0, 0x80, 0x88]);
}

#[test]
fn values_too_small_for_a_scale_decode_to_zero() {
    for dtype in [DType::Q8_0, DType::Q4_0, DType::Q4K, DType::Q5K, DType::Q6K] {
        for tiny in [1e-45, 1e-40, 1e-20] {
            let mut x = [0.0; 256];
            (x[3], x[7]) = (tiny, -tiny);
            assert_eq!(round_trip(dtype, &x), [0.0; 256], "{dtype} {tiny}");
        }
    }
}

#[test]
fn every_f16_survives_f16_and_f32() {
    let all: Vec<f32> = (0..=u16::MAX).map(|b| half::f16::from_bits(b).to_f32()).filter(|v| v.is_finite()).collect();
    assert_eq!(all.len(), 63488);
    for dtype in [DType::F16, DType::F32] {
        let y = round_trip(dtype, &all);
        assert!(all.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()), "{dtype}");
    }
}

#[test]
fn every_bf16_survives_bf16() {
    let all: Vec<f32> = (0..=u16::MAX).map(|b| f32::from_bits(u32::from(b) << 16)).filter(|v| v.is_finite()).collect();
    let y = round_trip(DType::BF16, &all);
    assert!(all.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn blocks_on_the_grid_are_exact() {
    let mut numbers = Numbers(1);
    for _ in 0..200 {
        // A power of two as the scale, and the largest magnitude present: every step is exact.
        let d = libm::exp2f((numbers.bits() % 20) as f32 - 12.0);
        let mut x: Vec<f32> = (0..32).map(|_| ((numbers.bits() % 255) as f32 - 127.0) * d).collect();
        x[(numbers.bits() % 32) as usize] = -127.0 * d;
        assert_eq!(round_trip(DType::Q8_0, &x), x);
        let mut x: Vec<f32> = (0..32).map(|_| ((numbers.bits() % 16) as f32 - 8.0) * d).collect();
        x[(numbers.bits() % 32) as usize] = -8.0 * d;
        assert_eq!(round_trip(DType::Q4_0, &x), x);
    }
}

#[test]
fn error_bounds_hold() {
    let x = Numbers(2).blocks(4000);
    for dtype in DType::ALL.into_iter().filter(|dtype| dtype.block_len() <= 32) {
        let y = round_trip(dtype, &x);
        for (xb, yb) in x.chunks(32).zip(y.chunks(32)) {
            let largest = xb[index_of_largest(xb)];
            let amax = largest.abs();
            for (&a, &b) in xb.iter().zip(yb) {
                // Smallest f16 step, which bounds the rounding of tiny values and of tiny scales times their integer.
                let tiny = libm::exp2f(-25.0);
                let bound = match dtype {
                    DType::F32 => 0.0,
                    DType::F16 => a.abs() * libm::exp2f(-11.0) + tiny,
                    DType::BF16 => a.abs() * libm::exp2f(-8.0),
                    DType::Q8_0 => amax / 127.0 * 0.501 + a.abs() * libm::exp2f(-11.0) + 127.0 * tiny,
                    DType::Q4_0 => {
                        let clipped = a * largest < 0.0 && a.abs() > amax / 8.0 * 7.5;
                        let step = if clipped { 1.0 } else { 0.501 };
                        amax / 8.0 * step + a.abs() * libm::exp2f(-10.0) + 8.0 * tiny
                    }
                    DType::Q4K | DType::Q5K | DType::Q6K => unreachable!("their errors are in k_quants.rs"),
                };
                assert!((a - b).abs() <= bound, "{dtype}: {a} -> {b}, allowed {bound}");
            }
        }
    }
}

#[test]
fn a_partial_block_is_refused() {
    for (dtype, len) in [(DType::Q8_0, 31), (DType::Q4_0, 33), (DType::Q4_0, 1), (DType::Q6K, 320)] {
        let error = encode(dtype, &vec![0.0; len], &mut Vec::new()).unwrap_err();
        assert_eq!(error, QuantError::PartialBlock { dtype, len });
    }
}

#[test]
fn non_finite_values_are_refused_with_their_index() {
    for dtype in DType::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; 768];
            (x[70], x[90]) = (bad, bad);
            let mut out = vec![7];
            let error = encode(dtype, &x, &mut out).unwrap_err();
            assert!(matches!(error, QuantError::NonFinite { index: 70, .. }), "{error}");
            assert_eq!(out, [7], "nothing may be appended on failure");
        }
    }
}

#[test]
fn overflow_is_refused_with_its_index() {
    let cases = [
        (DType::F16, 65520.0),
        (DType::BF16, f32::MAX),
        (DType::Q8_0, 127.0 * 65520.0),
        (DType::Q4_0, 8.0 * 65520.0),
        (DType::Q4K, 1e8),
        (DType::Q4K, -f32::MAX),
        (DType::Q5K, 1.5e8),
        (DType::Q5K, f32::MAX),
        (DType::Q6K, 3e8),
        (DType::Q6K, 1e20),
        (DType::Q6K, -f32::MAX),
    ];
    for (dtype, value) in cases {
        let mut x = vec![1.0; 768];
        x[70] = value;
        let mut out = vec![7];
        assert_eq!(encode(dtype, &x, &mut out).unwrap_err(), QuantError::Overflow { dtype, index: 70, value });
        assert_eq!(out, [7], "nothing may be appended on failure");
    }
    // The largest values that still fit.
    let fits = [(DType::F16, 65519.0), (DType::Q8_0, 127.0 * 65504.0), (DType::Q4_0, 8.0 * 65504.0)];
    for (dtype, value) in fits {
        encode(dtype, &[value; 32], &mut Vec::new()).unwrap();
    }
}

#[test]
fn decoding_checks_lengths() {
    for dtype in DType::ALL {
        let bytes = encoded(dtype, &[1.0; 512]);
        for len in [0, 256, 511, 513, 768] {
            let mut out = vec![3.0; len];
            let error = decode(dtype, &bytes, &mut out).unwrap_err();
            assert_eq!(error, QuantError::LengthMismatch { dtype, bytes: bytes.len(), len });
            assert!(out.iter().all(|v| *v == 3.0));
        }
    }
}
