//! What happens to a matrix product's tile on its way to memory: bias, residual, activation, in one pass.

use crate::graph::Activation;

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

    /// Finishes one row of a tile of `N` channels: `out` is as many elements of row-major output at `index`, or fewer, of
    /// channels from `channel`. Inlined into code compiled for each instruction set; plain operations in a fixed
    /// order, so that all of them give the same bits.
    #[inline(always)]
    pub(super) fn finish<const N: usize>(&self, acc: &[f32; N], channel: usize, index: usize, out: &mut [f32]) {
        // A full row of known length is what the compiler turns into vectors.
        if let Ok(out) = <&mut [f32; N]>::try_from(&mut *out) {
            self.finish_slice(acc, channel, index, out);
        } else {
            self.finish_row(&acc[..out.len()], None, [channel, 0], index, out);
        }
    }

    /// A row of any length, as [`Self::finish`], or with a `gate` as [`Self::finish_gated`]. Apart from what calls it, and once for all
    /// instruction sets: a chip has little flash, and a page loads every byte.
    #[inline(never)]
    pub(super) fn finish_row(
        &self,
        acc: &[f32],
        gate: Option<&[f32]>,
        [channel, channels]: [usize; 2],
        index: usize,
        out: &mut [f32],
    ) {
        match gate {
            None => self.finish_slice(acc, channel, index, out),
            Some(gate) => self.finish_gated_slice(acc, gate, [channel, channels], index, out),
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
    pub(super) fn finish_gated<const N: usize>(
        &self,
        acc: &[f32; N],
        gate: &[f32; N],
        [channel, channels]: [usize; 2],
        index: usize,
        out: &mut [f32],
    ) {
        if let Ok(out) = <&mut [f32; N]>::try_from(&mut *out) {
            self.finish_gated_slice(acc, gate, [channel, channels], index, out);
        } else {
            self.finish_row(&acc[..out.len()], Some(&gate[..out.len()]), [channel, channels], index, out);
        }
    }

    #[inline(always)]
    fn finish_gated_slice(
        &self,
        acc: &[f32],
        gate: &[f32],
        [channel, channels]: [usize; 2],
        index: usize,
        out: &mut [f32],
    ) {
        let n = out.len();
        if self.bias.is_empty() {
            for i in 0..n {
                out[i] = acc[i] * gelu(gate[i]);
            }
        } else {
            let (a, b) = (&self.bias[channel..channel + n], &self.bias[channels + channel..][..n]);
            for i in 0..n {
                out[i] = (acc[i] + a[i]) * gelu(gate[i] + b[i]);
            }
        }
        if let Some(r) = self.residual {
            let r = &r[index..index + n];
            for i in 0..n {
                out[i] += r[i];
            }
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
        Activation::LeakyRelu => y.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.2 * *v } else { *v }),
        Activation::ResidualScale => y.iter_mut().for_each(|v| *v *= 0.2),
        Activation::Silu => y.iter_mut().for_each(|v| *v = silu(*v)),
        Activation::Gelu => y.iter_mut().for_each(|v| *v = gelu(*v)),
        Activation::QuickGelu => y.iter_mut().for_each(|v| *v = quick_gelu(*v)),
        Activation::GeluTanh => y.iter_mut().for_each(|v| *v = gelu_tanh(*v)),
        Activation::Sigmoid => y.iter_mut().for_each(|v| *v = sigmoid(*v)),
        Activation::Tanh => y.iter_mut().for_each(|v| *v = tanh(*v)),
        Activation::Negate => y.iter_mut().for_each(|v| *v = -*v),
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

/// v (1 + tanh(u)) / 2 = v * sigmoid(2 u), u = √(2/π) (v + 0.044715 v³), as [`silu`].
#[inline(always)]
fn gelu_tanh(v: f32) -> f32 {
    let s = 2.0 * 0.797_884_6 * v * (1.0 + 0.044_715 * (v * v));
    let y = v / (1.0 + exp(-s));
    if s < -88.0 { -0.0 } else { y }
}

/// 1 / (1 + exp(-v)), as [`silu`].
#[inline(always)]
fn sigmoid(v: f32) -> f32 {
    let y = 1.0 / (1.0 + exp(-v));
    // Where exp stops growing.
    if v < -88.0 { 0.0 } else { y }
}

/// tanh(v) = v P(v²) / Q(v²) for |v| < 7.9, beyond which it is one (the rational minimax approximation of Eigen and
/// TensorFlow's XLA): digits are kept near 0, which a form with an exponential would lose.
#[inline(always)]
fn tanh(v: f32) -> f32 {
    let z = if v > 7.905_311 { 7.905_311 } else { v };
    let z = if z < -7.905_311 { -7.905_311 } else { z };
    let w = z * z;
    let mut p = -2.760_768_5e-16;
    for c in [2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619_3e-4, 4.893_524_6e-3] {
        p = p * w + c;
    }
    let mut q = 1.198_258_4e-6;
    for c in [1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3] {
        q = q * w + c;
    }
    let y = z * p / q;
    let y = if y > 1.0 { 1.0 } else { y };
    if y < -1.0 { -1.0 } else { y }
}

/// v * Φ(v) = v (1 + erf(v / √2)) / 2, off by at most 2.5e-7 |v|: erf(z) = z P(z²) / Q(z²) for |z| <= 4, where it is
/// one (the rational minimax approximation of Eigen and TensorFlow's XLA). Half the time of a form with an exponential,
/// which would keep more digits of values below 1e-5.
#[inline(always)]
pub(super) fn gelu(v: f32) -> f32 {
    let z = v * core::f32::consts::FRAC_1_SQRT_2;
    let z = if z > 4.0 { 4.0 } else { z };
    let z = if z < -4.0 { -4.0 } else { z };
    let w = z * z;
    let mut p = -2.726_142_3e-10;
    for c in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2] {
        p = p * w + c;
    }
    let mut q = -1.456_607_18e-5;
    for c in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2] {
        q = q * w + c;
    }
    let erf = z * p / q;
    // Some units in the last place beyond one would change a small result's sign.
    let erf = if erf > 1.0 { 1.0 } else { erf };
    let erf = if erf < -1.0 { -1.0 } else { erf };
    0.5 * v * (1.0 + erf)
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

/// 2^x for x <= 0, and 0 for x < -126; relative error below 2e-7: 2^n * 2^r with |r| <= 1/2, the second factor by
/// Cephes' polynomial (exp2f).
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    /// As in [`exp`].
    const ROUND: f32 = 12_582_912.0;
    let shifted = x + ROUND;
    let r = x - (shifted - ROUND);
    let mut p = 1.535_336_2e-4;
    for c in [1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 0.240_226_48, core::f32::consts::LN_2, 1.0] {
        p = p * r + c;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let y = p * f32::from_bits(exponent << 23);
    if x < -126.0 { 0.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::*;
    use crate::cpu::matmul::NR;

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

    /// Seen red with one coefficient doubled.
    #[test]
    fn gelu_is_accurate() {
        for i in -100_000..=100_000 {
            let v = i as f32 * 1e-4;
            let err = (f64::from(gelu(v)) - definition::activate(Activation::Gelu, f64::from(v))).abs();
            assert!(err <= 2.5e-7 * f64::from(v.abs()), "gelu({v}) = {}, off by {err}", gelu(v));
        }
        assert_eq!((gelu(-1e30), gelu(1e30), gelu(f32::INFINITY)), (0.0, 1e30, f32::INFINITY));
        assert!(gelu(f32::NAN).is_nan());
    }

    /// Seen red with 1.7 for 1.702.
    #[test]
    fn quick_gelu_is_accurate() {
        for i in -50_000..=50_000 {
            let v = i as f32 * 1e-3;
            let want = definition::activate(Activation::QuickGelu, f64::from(v));
            let err = (f64::from(quick_gelu(v)) - want).abs();
            assert!(err <= 5e-6 * want.abs(), "quick_gelu({v}) = {}, not {want}", quick_gelu(v));
        }
        assert_eq!((quick_gelu(-1e30), quick_gelu(1e30)), (0.0, 1e30));
        assert!(quick_gelu(f32::NAN).is_nan());
    }

    /// Seen red with 0.0447 for 0.044715.
    #[test]
    fn gelu_tanh_is_accurate() {
        for i in -100_000..=100_000 {
            let v = i as f32 * 1e-4;
            let want = definition::activate(Activation::GeluTanh, f64::from(v));
            let err = (f64::from(gelu_tanh(v)) - want).abs();
            assert!(err <= 3e-7 * f64::from(v.abs()), "gelu_tanh({v}) = {}, not {want}", gelu_tanh(v));
        }
        assert_eq!((gelu_tanh(-1e30), gelu_tanh(1e10)), (0.0, 1e10));
        assert!(gelu_tanh(f32::NAN).is_nan());
    }

    /// Seen red with an argument larger by 1e-4.
    #[test]
    fn sigmoid_is_accurate() {
        for i in -87_000..=100_000 {
            let v = i as f32 * 1e-3;
            let want = definition::activate(Activation::Sigmoid, f64::from(v));
            let err = (f64::from(sigmoid(v)) - want).abs();
            assert!(err <= 3e-7 * want, "sigmoid({v}) = {}, not {want}", sigmoid(v));
        }
        assert_eq!((sigmoid(-1e30), sigmoid(f32::NEG_INFINITY)), (0.0, 0.0));
        assert_eq!((sigmoid(1e30), sigmoid(f32::INFINITY), sigmoid(0.0)), (1.0, 1.0, 0.5));
        assert!(sigmoid(f32::NAN).is_nan());
    }

    /// Seen red with the highest degree of the divisor dropped.
    #[test]
    fn tanh_is_accurate() {
        for i in -100_000..=100_000 {
            for v in [i as f32 * 1e-4, i as f32 * 1e-12] {
                let want = definition::activate(Activation::Tanh, f64::from(v));
                let err = (f64::from(tanh(v)) - want).abs();
                assert!(err <= 5e-7 * want.abs(), "tanh({v}) = {}, not {want}", tanh(v));
            }
        }
        assert_eq!((tanh(-1e30), tanh(f32::INFINITY)), (-1.0, 1.0));
        assert!(tanh(f32::NAN).is_nan());
    }

    /// Seen red with the highest degree dropped.
    #[test]
    fn exp2_is_accurate() {
        for i in 0..=1_260_000 {
            let x = i as f32 * -1e-4;
            let err = f64::from(exp2(x)) / libm::exp2(f64::from(x)) - 1.0;
            assert!(err.abs() <= 1.5e-7, "exp2({x}) = {}, off by {err}", exp2(x));
        }
        assert_eq!((exp2(0.0), exp2(-127.0), exp2(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp2(f32::NAN).is_nan());
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
