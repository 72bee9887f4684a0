//! What happens to a matrix product's tile on its way to memory: bias, residual, activation, in one pass.

use super::matmul::NR;

/// The function applied last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// The value itself.
    None,
    /// max(v, 0). A NaN stays NaN, so that it is found at its source.
    Relu,
    /// v * sigmoid(v), within 2 units in the last place of the true value's magnitude for |v| < 80.
    Silu,
    /// v * Φ(v), Φ the distribution function of the standard normal: the exact form, torch's default.
    Gelu,
    /// v * sigmoid(1.702 v), the approximation that CLIP's text encoder was trained with.
    QuickGelu,
    /// Of a linear layer with `2 c` features: value * gelu(gate), value the first `c`, gate the last (Shazeer 2020, "GLU
    /// Variants Improve Transformer"; diffusers' order). The only one that comes before the residual.
    Geglu,
}

/// Applied to each element of the output: `activation(v + bias + residual)`; with [`Activation::Geglu`],
/// `(v + bias) * gelu(gate + gate's bias) + residual`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// One value for each row of the weights; empty: none.
    pub bias: &'a [f32],
    /// Of the output's shape, added before the activation (after [`Activation::Geglu`]).
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl Epilogue<'_> {
    /// Stores the product as it is.
    pub const NONE: Self = Epilogue { bias: &[], residual: None, activation: Activation::None };

    /// Finishes one row of a tile: `out` is `acc.len().min(out.len())` elements of row-major output at `index`, of
    /// channels from `channel`. Inlined into code compiled for each instruction set; plain operations in a fixed
    /// order, so that all of them give the same bits.
    #[inline(always)]
    pub(super) fn finish(&self, acc: &[f32; NR], channel: usize, index: usize, out: &mut [f32]) {
        // A full row of known length is what the compiler turns into vectors.
        if let Ok(out) = <&mut [f32; NR]>::try_from(&mut *out) {
            self.finish_slice(acc, channel, index, out);
        } else {
            self.finish_slice(&acc[..out.len()], channel, index, out);
        }
    }

    #[inline(always)]
    fn finish_slice(&self, acc: &[f32], channel: usize, index: usize, out: &mut [f32]) {
        let n = out.len();
        if self.bias.is_empty() {
            out.copy_from_slice(acc);
        } else {
            let bias = &self.bias[channel..channel + n];
            for i in 0..n {
                out[i] = acc[i] + bias[i];
            }
        }
        if let Some(r) = self.residual {
            let r = &r[index..index + n];
            for i in 0..n {
                out[i] += r[i];
            }
        }
        apply(self.activation, out);
    }

    /// As [`Self::finish`] for [`Activation::Geglu`]: `acc` and `gate` are the products of the value's and the gate's
    /// features from `channel`, of `channels` each.
    #[inline(always)]
    pub(super) fn finish_gated(
        &self,
        acc: &[f32; NR],
        gate: &[f32; NR],
        [channel, channels]: [usize; 2],
        index: usize,
        out: &mut [f32],
    ) {
        let n = out.len().min(NR);
        let (mut value, mut gate) = (*acc, *gate);
        if !self.bias.is_empty() {
            let (a, b) = (&self.bias[channel..channel + n], &self.bias[channels + channel..][..n]);
            for i in 0..n {
                value[i] += a[i];
                gate[i] += b[i];
            }
        }
        for i in 0..NR {
            value[i] *= gelu(gate[i]);
        }
        out.copy_from_slice(&value[..n]);
        if let Some(r) = self.residual {
            out.iter_mut().zip(&r[index..index + n]).for_each(|(y, r)| *y += r);
        }
    }
}

/// An elementwise function in place, from additions, multiplications and divisions in a fixed order, so that any width
/// of vector gives the same bits.
#[inline(always)]
pub(super) fn apply(activation: Activation, y: &mut [f32]) {
    match activation {
        Activation::None => {}
        Activation::Relu => y.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
        Activation::Silu => y.iter_mut().for_each(|v| *v = silu(*v)),
        Activation::Gelu => y.iter_mut().for_each(|v| *v = gelu(*v)),
        Activation::QuickGelu => y.iter_mut().for_each(|v| *v = quick_gelu(*v)),
        // Not elementwise; a graph has it at linear layers only.
        Activation::Geglu => debug_assert!(false, "geglu is a linear layer's"),
    }
}

/// v * sigmoid(v) from additions, multiplications and one division, so that any width of vector gives the same bits.
/// Shared with the element-wise kernels.
#[inline(always)]
pub(crate) fn silu(v: f32) -> f32 {
    // Below -88 the true value is under 1e-36; exp would leave the range of f32.
    let y = v / (1.0 + exp(-v));
    if v < -88.0 { -0.0 } else { y }
}

/// v * sigmoid(1.702 v), as [`silu`].
#[inline(always)]
fn quick_gelu(v: f32) -> f32 {
    let s = 1.702 * v;
    let y = v / (1.0 + exp(-s));
    if s < -88.0 { -0.0 } else { y }
}

/// v * Φ(v): Φ(-|v|) = erfc(|v| / √2) / 2, with erfc as t exp(-z² + P(t)), t = 1 / (1 + z / 2), of fractional error
/// 1.2e-7 everywhere (Press et al., Numerical Recipes, 2nd edition, 6.2), so that the tail keeps its digits; the
/// exponent's rounding adds some z² units in the last place.
#[inline(always)]
pub(super) fn gelu(v: f32) -> f32 {
    let z = v.abs() * core::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut p = 0.170_872_77;
    for c in [
        -0.822_152_2,
        1.488_515_9,
        -1.135_204,
        0.278_868_08,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ] {
        p = p * t + c;
    }
    let tail = 0.5 * t * exp(p - z * z);
    v * if v < 0.0 { tail } else { 1.0 - tail }
}

/// e^x for x clamped to [-87, 88], relative error about 1e-7: 2^n * e^r with |r| <= ln(2)/2, Taylor to degree 7.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Added and subtracted, rounds to the nearest integer, which its low bits then hold.
    const ROUND: f32 = 12_582_912.0;
    // ln(2) in two parts, the first with trailing zeros, so that n * LN2_HI is exact.
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HI) - n * LN2_LO;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    p * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with the degree-6 term dropped from the polynomial.
    #[test]
    fn silu_is_accurate() {
        for i in -80_000..=80_000 {
            let v = i as f32 * 1e-3;
            let want = v as f64 / (1.0 + libm::exp(-v as f64));
            let err = (silu(v) as f64 - want).abs();
            assert!(err <= 3e-7 * want.abs(), "silu({v}) = {}, not {want}", silu(v));
        }
        assert_eq!(silu(-1e30), 0.0);
        assert_eq!(silu(1e30), 1e30);
        assert!(silu(f32::NAN).is_nan());
    }

    /// Seen red with `f32::max`.
    #[test]
    fn relu_keeps_nan() {
        let e = Epilogue { activation: Activation::Relu, ..Epilogue::NONE };
        let mut y = [0.0; 2];
        let mut acc = [f32::NAN; NR];
        acc[1] = -1.0;
        e.finish(&acc, 0, 0, &mut y);
        assert!(y[0].is_nan() && y[1] == 0.0);
    }
}
