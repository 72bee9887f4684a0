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
}

/// Applied to each element of the output: `activation(v + bias + residual)`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// One value for each output channel; empty: none.
    pub bias: &'a [f32],
    /// Of the output's shape, added before the activation.
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
        match self.activation {
            Activation::None => {}
            Activation::Relu => out.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
            Activation::Silu => out.iter_mut().for_each(|v| *v = silu(*v)),
        }
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

/// e^x for x clamped to [-87, 88], relative error about 1e-7: 2^n * e^r with |r| <= ln(2)/2, Taylor to degree 7.
#[inline(always)]
fn exp(x: f32) -> f32 {
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
