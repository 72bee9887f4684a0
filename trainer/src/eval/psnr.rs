//! Peak signal-to-noise ratio of pictures whose values lie in 0 to 1.

/// `10 log10(1 / mean squared error)` in dB; infinite for equal pictures.
///
/// # Panics
/// If the pictures differ in size.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "pictures of one size");
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    -10.0 * (sum / a.len() as f64).log10()
}

/// PSNR over many pairs of pictures.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Psnr {
    /// Mean of the pairs that differ, in dB; infinite if none does.
    pub mean: f64,
    /// Of the pair that differs most, in dB.
    pub min: f64,
    /// Of all pixels of all pairs together, in dB: what a few bad pictures cannot hide in.
    pub overall: f64,
    /// Pairs that are equal to the last bit.
    pub equal: usize,
}

impl Psnr {
    /// Compares pictures of `size` values each, pair by pair.
    pub fn of_pairs(a: &[f32], b: &[f32], size: usize) -> Self {
        let each: Vec<f64> = a.chunks_exact(size).zip(b.chunks_exact(size)).map(|(a, b)| psnr(a, b)).collect();
        let differing: Vec<f64> = each.iter().copied().filter(|v| v.is_finite()).collect();
        let mean =
            if differing.is_empty() { f64::INFINITY } else { differing.iter().sum::<f64>() / differing.len() as f64 };
        let min = each.iter().copied().fold(f64::INFINITY, f64::min);
        Self { mean, min, overall: psnr(a, b), equal: each.len() - differing.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red: 20 in place of 10; the division by the number of pixels left out.
    #[test]
    fn known_values() {
        assert_eq!(psnr(&[0.5; 4], &[0.5; 4]), f64::INFINITY);
        assert!((psnr(&[0.0; 4], &[1.0; 4]) - 0.0).abs() < 1e-12);
        // One pixel of 100 is off by 0.1: mean squared error 1e-4.
        let mut off = [0.25f32; 100];
        off[17] = 0.35;
        assert!((psnr(&[0.25; 100], &off) - 40.0).abs() < 1e-5);
    }

    /// Seen red: equal pairs counted in the mean.
    #[test]
    fn pairs_are_taken_one_by_one() {
        let a = [0.0f32; 6];
        let b = [0.1f32, 0.1, 0.0, 0.0, 0.01, 0.01];
        let p = Psnr::of_pairs(&a, &b, 2);
        assert!((p.mean - 30.0).abs() < 1e-4 && (p.min - 20.0).abs() < 1e-4 && p.equal == 1, "{p:?}");
        assert!((p.overall - -10.0 * (0.0101f64 / 3.0).log10()).abs() < 1e-4, "{p:?}");
    }
}
