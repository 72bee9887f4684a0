//! ggml's searches for the scales of k-quants (`make_qkx2_quants` and `make_qx_quants` of ggml-quants.c), operation by
//! operation, so that the bytes are the same.
//!
//! Where ggml's arithmetic is undefined, as with an infinite inverse of a range that is next to nothing, a part is stored
//! as if all its values were equal: its scale would be zero as an f16.

use super::super_block::{LEN, PART, PARTS};
use half::f16;

/// Parts whose largest magnitude is below this are zeros.
const NOTHING: f32 = 1e-15;
/// Values that share a scale in q6_K.
const SIXTEEN: usize = 16;

/// A block with minima: the two factors with the packed scales and minima, and the codes.
pub(super) struct Minima {
    pub header: [u8; 16],
    pub codes: [u8; LEN],
}

/// ggml's `nearest_int`, for what is less than 2^22 in magnitude: ties to even.
fn nearest(v: f32) -> i32 {
    const ROUND: f32 = 12_582_912.0;
    ((v + ROUND).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// Encodes a block of values `scale * code - min`, codes of 0 to `most`; `least` and `steps` say which ranges are tried.
/// `None` where a scale is beyond f16.
pub(super) fn with_minima(x: &[f32; LEN], most: u8, least: f32, steps: u8) -> Option<Minima> {
    let mut codes = [0; LEN];
    let (mut scales, mut mins) = ([0.0f32; PARTS], [0.0f32; PARTS]);
    let parts = || x.as_chunks::<PART>().0.iter();
    for (i, (x, codes)) in parts().zip(codes.as_chunks_mut::<PART>().0).enumerate() {
        let mean = libm::sqrtf(x.iter().fold(0.0, |sum, v| sum + v * v) / PART as f32);
        let weights = x.map(|v| mean + v.abs());
        (scales[i], mins[i]) = part(x, &weights, most, least, steps, codes);
    }
    let largest = |of: &[f32; PARTS]| of.iter().fold(0.0, |a, v| if *v > a { *v } else { a });
    let (scale, min) = (largest(&scales), largest(&mins));
    let (d, dmin) = (f16::from_f32(scale / 63.0), f16::from_f32(min / 63.0));
    if !d.is_finite() || !dmin.is_finite() {
        return None;
    }
    let inverse = |of: f32| if of > 0.0 && (63.0 / of).is_finite() { 63.0 / of } else { 0.0 };
    let six = |inverse: f32, v: f32| nearest(inverse * v).clamp(0, 63) as u8;
    let scales = scales.map(|v| six(inverse(scale), v));
    let mins = mins.map(|v| six(inverse(min), v));
    for (i, (x, codes)) in parts().zip(codes.as_chunks_mut::<PART>().0).enumerate() {
        let scale = d.to_f32() * f32::from(scales[i]);
        let min = dmin.to_f32() * f32::from(mins[i]);
        if scale != 0.0 {
            codes
                .iter_mut()
                .zip(x)
                .for_each(|(code, v)| *code = nearest((v + min) / scale).clamp(0, most.into()) as u8);
        }
    }
    let mut header = [0; 16];
    header[..2].copy_from_slice(&d.to_le_bytes());
    header[2..4].copy_from_slice(&dmin.to_le_bytes());
    let packed = &mut header[4..];
    for (i, (scale, min)) in scales.into_iter().zip(mins).enumerate() {
        if i < 4 {
            (packed[i], packed[i + 4]) = (scale, min);
        } else {
            packed[i + 4] = scale & 15 | min << 4;
            packed[i - 4] |= scale >> 4 << 6;
            packed[i] |= min >> 4 << 6;
        }
    }
    Some(Minima { header, codes })
}

/// The scale and the minimum of one part, and its codes: the least weighted squared error of some ranges, for each of
/// which the scale and the minimum are fitted to the codes.
fn part(x: &[f32; PART], weights: &[f32; PART], most: u8, least: f32, steps: u8, codes: &mut [u8; PART]) -> (f32, f32) {
    let (mut low, mut high) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (weights[0], weights[0] * x[0]);
    for (&v, w) in x.iter().zip(weights).skip(1) {
        low = if v < low { v } else { low };
        high = if v > high { v } else { high };
        sum_w += w;
        sum_x += w * v;
    }
    let mut min = if low > 0.0 { 0.0 } else { low };
    let range = high - min;
    *codes = [0; PART];
    let levels = f32::from(most);
    if range == 0.0 || !((levels + 2.0) / range).is_finite() {
        return (0.0, -min);
    }
    let inverse = levels / range;
    let coded = |inverse: f32, min: f32| x.map(|v| nearest(inverse * (v - min)).clamp(0, most.into()) as u8);
    let error = |scale: f32, min: f32, codes: &[u8; PART]| {
        x.iter().zip(weights).zip(codes).fold(0.0, |error, ((v, w), code)| {
            let off = scale * f32::from(*code) + min - v;
            error + w * (off * off)
        })
    };
    let mut scale = 1.0 / inverse;
    *codes = coded(inverse, min);
    let mut best = error(scale, min, codes);
    for step in 0..=steps {
        // From the best minimum so far.
        let inverse = (least + 0.1 * f32::from(step) + levels) / (high - min);
        if !inverse.is_finite() {
            break;
        }
        let tried = coded(inverse, min);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        for ((v, w), code) in x.iter().zip(weights).zip(tried) {
            let l = f32::from(code);
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * v;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant > 0.0 {
            let mut fitted = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            let mut fitted_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
            if fitted_min > 0.0 {
                (fitted, fitted_min) = (sum_xl / sum_l2, 0.0);
            }
            let error = error(fitted, fitted_min, &tried);
            if error < best {
                (best, scale, min, *codes) = (error, fitted, fitted_min, tried);
            }
        }
    }
    (scale, -min)
}

/// Encodes a block of values `d * scale * (code - 32)`: d, the scales and the codes. `None` where `d` is beyond f16.
pub(super) fn symmetric(x: &[f32; LEN]) -> Option<(f16, [i8; LEN / SIXTEEN], [u8; LEN])> {
    let mut codes = [0; LEN];
    let mut found = [0.0f32; LEN / SIXTEEN];
    for (scale, (x, codes)) in found.iter_mut().zip(x.as_chunks().0.iter().zip(codes.as_chunks_mut().0)) {
        *scale = sixteen(x, codes);
    }
    let largest = found.iter().fold(0.0f32, |a, v| if v.abs() > a.abs() { *v } else { a });
    if found.iter().any(|scale| !scale.is_finite()) {
        return None;
    }
    if largest.abs() < NOTHING {
        return Some((f16::ZERO, [0; LEN / SIXTEEN], [0; LEN]));
    }
    let inverse = -128.0 / largest;
    let d = f16::from_f32(1.0 / inverse);
    if !d.is_finite() {
        return None;
    }
    let scales = found.map(|scale| nearest(inverse * scale).clamp(-128, 127) as i8);
    for (scale, (x, codes)) in scales.iter().zip(x.chunks_exact(SIXTEEN).zip(codes.chunks_exact_mut(SIXTEEN))) {
        let scale = d.to_f32() * f32::from(*scale);
        if scale != 0.0 {
            codes.iter_mut().zip(x).for_each(|(code, v)| *code = (nearest(v / scale).clamp(-32, 31) + 32) as u8);
        }
    }
    Some((d, scales, codes))
}

/// The scale of sixteen values, negative where the largest is positive, and their codes: the best of some scales near
/// that which makes the largest -32, the error weighted by the values' squares.
fn sixteen(x: &[f32; SIXTEEN], codes: &mut [u8; SIXTEEN]) -> f32 {
    let largest = x[super::index_of_largest(x)];
    if largest.abs() < NOTHING {
        return 0.0;
    }
    let level = |inverse: f32, v: f32| nearest(inverse * v).clamp(-32, 31);
    let sums = |inverse: f32| {
        x.iter().fold((0.0, 0.0), |(xl, l2), v| {
            let (l, w) = (level(inverse, *v) as f32, v * v);
            (xl + w * v * l, l2 + w * l * l)
        })
    };
    let coded = |inverse: f32| x.map(|v| (level(inverse, v) + 32) as u8);
    let inverse = -32.0 / largest;
    let (xl, l2) = sums(inverse);
    *codes = coded(inverse);
    let mut scale = if l2 == 0.0 { 0.0 } else { xl / l2 };
    let mut best = scale * xl;
    for step in (-9..=9).filter(|step| *step != 0) {
        let inverse = -(32.0 + 0.1 * step as f32) / largest;
        let (xl, l2) = sums(inverse);
        if l2 > 0.0 && xl * xl > best * l2 {
            *codes = coded(inverse);
            scale = xl / l2;
            best = scale * xl;
        }
    }
    scale
}
