//! From values to bytes, at the very end.

/// Why values cannot become bytes.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ToU8Error {
    /// A NaN or an infinity: something before has gone wrong.
    #[error("value {index} of the picture is {value}: the network or its weights produced no picture")]
    NotFinite {
        /// Which value, counted in the layout of the picture.
        index: usize,
        /// The value itself.
        value: f32,
    },
    /// A range whose ends are not finite numbers, the lower first.
    #[error("the data range [{low}, {high}] is none: the lower end comes first and both are finite")]
    Range {
        /// Lower end.
        low: f32,
        /// Upper end.
        high: f32,
    },
    /// Input and output of different lengths.
    #[error("{values} values do not fill {bytes} bytes: they must be equal")]
    Length {
        /// Values given.
        values: usize,
        /// Bytes to be written.
        bytes: usize,
    },
}

/// Maps `range` `[low, high]` to 0..=255, clamped, truncated (the book's rule; with range [0, 1] exactly `x * 255`).
///
/// # Errors
/// A NaN or infinity in `x`, by its index; a range that is none; lengths that differ. `y` is then untouched.
pub fn to_u8(range: [f32; 2], x: &[f32], y: &mut [u8]) -> Result<(), ToU8Error> {
    let [low, high] = range;
    let scale = 255.0 / (high - low);
    if !(scale > 0.0 && scale.is_finite() && low.is_finite() && high.is_finite()) {
        return Err(ToU8Error::Range { low, high });
    }
    if x.len() != y.len() {
        return Err(ToU8Error::Length { values: x.len(), bytes: y.len() });
    }
    if let Some(index) = x.iter().position(|v| !v.is_finite()) {
        return Err(ToU8Error::NotFinite { index, value: x[index] });
    }
    for (y, x) in y.iter_mut().zip(x) {
        // The cast truncates and saturates.
        *y = ((x - low) * scale) as u8;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// Seen red with rounding, without the lower end, and with a cast that wraps.
    #[test]
    fn truncates_and_clamps() {
        let mut y = [0; 8];
        to_u8([0.0, 1.0], &[0.0, 0.5, 0.999, 1.0, -0.2, 1.7, 1e30, 2.0 / 255.0], &mut y).unwrap();
        assert_eq!(y, [0, 127, 254, 255, 0, 255, 255, 2]);
        let mut y = [0; 5];
        to_u8([-1.0, 1.0], &[-1.0, 0.0, 1.0, -3.0, 0.5], &mut y).unwrap();
        assert_eq!(y, [0, 127, 255, 0, 191]);
    }

    /// Seen red without the check of finiteness.
    #[test]
    fn what_is_no_picture_is_refused() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut y = [7; 3];
            let refused = to_u8([0.0, 1.0], &[0.1, 0.2, value], &mut y).unwrap_err();
            assert!(refused.to_string().contains("value 2 of the picture is"), "{refused}");
            assert_eq!(y, [7; 3]);
        }
        for [low, high] in [[1.0, 0.0], [0.0, 0.0], [f32::NAN, 1.0], [f32::NEG_INFINITY, 0.0], [0.0, 1e-44]] {
            assert!(matches!(to_u8([low, high], &[0.0], &mut [0]), Err(ToU8Error::Range { .. })));
        }
        assert_eq!(to_u8([0.0, 1.0], &[0.0], &mut []), Err(ToU8Error::Length { values: 1, bytes: 0 }));
    }
}
