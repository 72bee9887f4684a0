//! Sinusoidal encoding of the timestep.

/// Value `i` of the encoding of `t` in `dim` values: `sin(t / 10000^(i / dim))` for even `i`, `cos` for odd `i`.
///
/// Every value has a frequency of its own, unlike Vaswani et al. 2017, where a sine and a cosine share one.
#[must_use]
pub fn position_encoding_at(t: f64, i: usize, dim: usize) -> f64 {
    let angle = t / libm::pow(10_000.0, i as f64 / dim as f64);
    if i.is_multiple_of(2) { libm::sin(angle) } else { libm::cos(angle) }
}

/// Writes the encoding of `t` into `out`, `dim` values, worked out in f64 and rounded once; `t` is what the network
/// counts (1 at the first noise level in the book's).
///
/// # Panics
/// Where `out` has not `dim` values.
pub fn position_encoding(t: f32, dim: usize, out: &mut [f32]) {
    assert_eq!(out.len(), dim, "position_encoding: length of out");
    for (i, out) in out.iter_mut().enumerate() {
        *out = position_encoding_at(f64::from(t), i, dim) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const REFERENCE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/diffusion.json"));

    /// The reference in f64, to 1e-12, and in f32, to one rounding. Seen red with a frequency shared by each pair, with
    /// cosine first, and with the frequency in f32.
    #[test]
    fn equals_the_reference() {
        let reference: Value = serde_json::from_str(REFERENCE).unwrap();
        let close = |got: f64, want: f64| assert!((got - want).abs() <= 1e-12 * want.abs(), "{got} {want}");
        let mut out = [0f32; 100];
        for t in [1.0f32, 2.0, 500.0, 1000.0] {
            let mut sum = 0.0;
            position_encoding(t, 100, &mut out);
            for (i, out) in out.iter().enumerate() {
                let exact = position_encoding_at(f64::from(t), i, 100);
                if let Some(want) = reference[alloc::format!("pe64.t{t}.D100[:8]")][i].as_f64() {
                    close(exact, want);
                }
                assert_eq!(*out, exact as f32);
                sum += exact;
            }
            close(sum, reference[alloc::format!("pe64.t{t}.sum")].as_f64().unwrap());
        }
        for i in 0..4 {
            close(position_encoding_at(3.0, i, 4), reference["pe.t3.D4"][i].as_f64().unwrap());
        }
    }
}
