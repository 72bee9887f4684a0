//! Arithmetic on a block of rows at once, written so that the compiler keeps it in vectors; compiled for what the
//! machine has.

/// Rows of a block.
pub(super) const LANES: usize = 64;
/// Partial sums of an accumulator: one 512-bit vector.
pub(super) const SUMS: usize = 8;
/// A number of each row of a block.
pub(super) type Lanes = [f64; LANES];

/// `a * b + c`, fused where the machine has an instruction for it: elsewhere a fused one would be a slow call.
#[inline(always)]
pub(super) fn mul_add<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// A kernel that is compiled for each instruction set.
pub(super) trait Kernel {
    /// What it computes.
    type Output;
    /// `FMA` says whether the machine fuses. To be `#[inline(always)]`, and all that it calls.
    fn run<const FMA: bool>(self) -> Self::Output;
}

struct Fused<K>(K);
impl<K: Kernel> pulp::WithSimd for Fused<K> {
    type Output = K::Output;
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> K::Output {
        self.0.run::<true>()
    }
}

/// Runs a kernel with the widest instructions that the machine has.
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match pulp::Arch::new() {
        pulp::Arch::Scalar => kernel.run::<false>(),
        arch => arch.dispatch(Fused(kernel)),
    }
}

/// `exp(x)` for x <= 0, within 1e-15 relative; 0 below -708. Cephes' reduction `x = n ln 2 + r` with |r| <= ln 2 / 2,
/// and the Taylor polynomial of degree 13, whose remainder there is below 5e-18.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f64) -> f64 {
    // Adding this number rounds to an integer, which then stands in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 6.931_457_519_531_25e-1;
    const LN2_LOW: f64 = 1.428_606_820_309_417_3e-6;
    // 1 / i! from 13 down to 0.
    const COEFFICIENTS: [f64; 14] = {
        let mut c = [1.0; 14];
        let (mut i, mut factorial) = (0, 1.0);
        while i < 14 {
            c[13 - i] = 1.0 / factorial;
            i += 1;
            factorial *= i as f64;
        }
        c
    };
    let shifted = mul_add::<FMA>(x, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, -LN2_LOW, mul_add::<FMA>(n, -LN2_HIGH, x));
    let mut p = COEFFICIENTS[0];
    let mut i = 1;
    while i < 14 {
        p = mul_add::<FMA>(p, r, COEFFICIENTS[i]);
        i += 1;
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0f64.to_bits()));
    if x > -708.0 { p * power } else { 0.0 }
}

/// Adds `sum_l a[l] b[l]` to partial sums.
#[inline(always)]
pub(super) fn accumulate<const FMA: bool>(sums: &mut [f64; SUMS], a: &Lanes, b: &Lanes) {
    let mut s = *sums;
    let mut l = 0;
    while l < LANES {
        for i in 0..SUMS {
            s[i] = mul_add::<FMA>(a[l + i], b[l + i], s[i]);
        }
        l += SUMS;
    }
    *sums = s;
}

#[cfg(test)]
mod tests {
    use super::*;

    struct All(Vec<f64>);
    impl Kernel for All {
        type Output = Vec<f64>;
        #[inline(always)]
        fn run<const FMA: bool>(mut self) -> Vec<f64> {
            self.0.iter_mut().for_each(|x| *x = exp::<FMA>(*x));
            self.0
        }
    }

    /// Seen red with the polynomial three degrees shorter, and with `LN2_LOW` left out.
    #[test]
    fn the_exponential_is_within_1e15() {
        let xs: Vec<f64> = (0..200_000).map(|i| -f64::from(i) * 0.003_537).collect();
        for (name, ours) in [("fused", dispatch(All(xs.clone()))), ("plain", All(xs.clone()).run::<false>())] {
            for (x, y) in xs.iter().zip(ours) {
                assert!((y / x.exp() - 1.0).abs() < 1e-15, "{name}: exp({x}) = {y}, not {}", x.exp());
            }
        }
        assert_eq!(dispatch(All(vec![0.0, -708.1, -1e300, f64::NEG_INFINITY])), [1.0, 0.0, 0.0, 0.0]);
    }
}
