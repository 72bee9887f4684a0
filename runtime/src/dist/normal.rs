//! The normal distribution of one variable (step 1 of the book).

use super::{DistError, LN_2_PI};
use crate::rng::Stream;
use core::f64::consts::SQRT_2;

/// N(mean, sigma^2).
///
/// ```
/// use nijimi_runtime::raw::dist::Normal;
/// let heights = Normal::new(172.7, 4.83)?;
/// assert!((heights.survival(180.0) - 0.0653).abs() < 1e-4);
/// # Ok::<(), nijimi_runtime::raw::dist::DistError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normal {
    mean: f64,
    sigma: f64,
}

impl Normal {
    /// Mean 0, standard deviation 1.
    pub const STANDARD: Self = Self { mean: 0.0, sigma: 1.0 };

    /// With a mean and a standard deviation.
    ///
    /// # Errors
    /// A mean that is not finite; a sigma that is not finite and positive.
    pub fn new(mean: f64, sigma: f64) -> Result<Self, DistError> {
        super::finite("the mean", &[mean])?;
        if !(sigma > 0.0 && sigma.is_finite()) {
            return Err(DistError::Sigma(sigma));
        }
        Ok(Self { mean, sigma })
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// `(x - mean) / sigma`.
    fn z(&self, x: f64) -> f64 {
        (x - self.mean) / self.sigma
    }

    /// The density at x: exp(-(x - mean)^2 / (2 sigma^2)) / (sqrt(2 pi) sigma).
    #[must_use]
    pub fn pdf(&self, x: f64) -> f64 {
        let z = self.z(x);
        // 1 / sqrt(2 pi).
        0.398_942_280_401_432_7 * libm::exp(-0.5 * z * z) / self.sigma
    }

    /// Logarithm of the density; finite where the density itself underflows.
    #[must_use]
    pub fn log_pdf(&self, x: f64) -> f64 {
        let z = self.z(x);
        -0.5 * (z * z + LN_2_PI) - libm::log(self.sigma)
    }

    /// Derivative of [`log_pdf`](Self::log_pdf) by x, the score.
    #[must_use]
    pub fn score(&self, x: f64) -> f64 {
        -self.z(x) / self.sigma
    }

    /// Probability of a value of at most x.
    #[must_use]
    pub fn cdf(&self, x: f64) -> f64 {
        upper_tail(-self.z(x))
    }

    /// Probability of a value above x, accurate in the tail where `1 - cdf` is not.
    #[must_use]
    pub fn survival(&self, x: f64) -> f64 {
        upper_tail(self.z(x))
    }

    /// Logarithm of [`cdf`](Self::cdf), also where that underflows.
    #[must_use]
    pub fn log_cdf(&self, x: f64) -> f64 {
        log_upper_tail(-self.z(x))
    }

    /// Logarithm of [`survival`](Self::survival), also where that underflows.
    #[must_use]
    pub fn log_survival(&self, x: f64) -> f64 {
        log_upper_tail(self.z(x))
    }

    /// The x whose [`cdf`](Self::cdf) is p; infinite at 0 and 1, NaN where p is no probability.
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        self.mean + self.sigma * standard_quantile(p)
    }

    /// The x whose [`survival`](Self::survival) is p: for upper tails too small to be told from 1 as a `cdf`.
    #[must_use]
    pub fn quantile_survival(&self, p: f64) -> f64 {
        self.mean - self.sigma * standard_quantile(p)
    }

    /// A draw.
    pub fn sample(&self, stream: &mut Stream) -> f64 {
        self.mean + self.sigma * stream.normal_f64()
    }
}

/// P(Z > z) = erfc(z / sqrt 2) / 2. The argument's rounding error, which erfc multiplies by about z^2, is put right to
/// first order.
fn upper_tail(z: f64) -> f64 {
    let u = z / SQRT_2;
    let tail = libm::erfc(u);
    // What division left over, with sqrt 2 itself as two numbers.
    let missing = (libm::fma(-u, SQRT_2, z) - u * SQRT_2_LOW) / SQRT_2;
    // The derivative of erfc; 0 where z is infinite and `missing` is no number.
    let slope = -core::f64::consts::FRAC_2_SQRT_PI * libm::exp(-u * u);
    0.5 * if slope == 0.0 { tail } else { tail + slope * missing }
}

/// sqrt 2 less its nearest f64.
const SQRT_2_LOW: f64 = -9.667_293_313_452_913e-17;

fn log_upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        return libm::log1p(-upper_tail(-z));
    }
    if z < 5.0 {
        return libm::log(upper_tail(z));
    }
    // Mills' ratio as Laplace's continued fraction (Abramowitz and Stegun 26.2.14), from the inside out.
    let mills = (1..=60).rev().fold(z, |inner, k| z + f64::from(k) / inner);
    -0.5 * (z * z + LN_2_PI) - libm::log(mills)
}

/// The quantile of the standard normal: Wichura, "Algorithm AS 241: the percentage points of the normal distribution"
/// (Applied Statistics 37, 1988), PPND16: rational functions, correct to about 1 part in 10^16.
fn standard_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&CENTRE, 0.180_625 - q * q);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = libm::sqrt(-libm::log(tail));
    let magnitude = if r <= 5.0 { ratio(&MIDDLE, r - 1.6) } else { ratio(&FAR, r - 5.0) };
    magnitude.copysign(q)
}

/// A quotient of two polynomials, the constant term first.
fn ratio([above, below]: &[[f64; 8]; 2], r: f64) -> f64 {
    let at = |polynomial: &[f64; 8]| polynomial.iter().rev().fold(0.0, |sum, c| sum * r + c);
    at(above) / at(below)
}

#[allow(clippy::excessive_precision, reason = "as published")]
const CENTRE: [[f64; 8]; 2] = [
    [
        3.387_132_872_796_366_608_0,
        1.331_416_678_917_843_774_5e2,
        1.971_590_950_306_551_442_7e3,
        1.373_169_376_550_946_112_5e4,
        4.592_195_393_154_987_145_7e4,
        6.726_577_092_700_870_085_3e4,
        3.343_057_558_358_812_810_5e4,
        2.509_080_928_730_122_672_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091_125_2e1,
        6.871_870_074_920_579_083_0e2,
        5.394_196_021_424_751_107_7e3,
        2.121_379_430_158_659_586_7e4,
        3.930_789_580_009_271_061_0e4,
        2.872_908_573_572_194_267_4e4,
        5.226_495_278_852_854_561_0e3,
    ],
];

#[allow(clippy::excessive_precision, reason = "as published")]
const MIDDLE: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_90,
        5.769_497_221_460_691_405_50,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        2.417_807_251_774_506_117_70e-1,
        2.272_384_498_926_918_458_33e-2,
        7.745_450_142_783_414_076_40e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_40,
        6.897_673_349_851_000_045_50e-1,
        1.481_039_764_274_800_745_90e-1,
        1.519_866_656_361_645_719_66e-2,
        5.475_938_084_995_344_946_00e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
];

#[allow(clippy::excessive_precision, reason = "as published")]
const FAR: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103_777_20,
        5.463_784_911_164_114_369_90,
        1.784_826_539_917_291_335_80,
        2.965_605_718_285_048_912_30e-1,
        2.653_218_952_657_612_309_30e-2,
        1.242_660_947_388_078_438_60e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879_376_90e-1,
        1.369_298_809_227_358_053_10e-1,
        1.487_536_129_085_061_485_25e-2,
        7.868_691_311_456_132_591_00e-4,
        1.846_318_317_510_054_681_80e-5,
        1.421_511_758_316_445_888_70e-7,
        2.044_263_103_389_939_785_64e-15,
    ],
];
