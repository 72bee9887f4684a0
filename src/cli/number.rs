//! Numbers on the command line: a type for each kind, so that what is out of range is refused wherever it is given.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Pictures, steps, pixels: more than a million of them would take a year.
pub fn count(text: &str) -> Result<usize, String> {
    whole(text, 1..=1_000_000)
}

/// As [`count`], where 0 has a meaning.
pub fn index(text: &str) -> Result<usize, String> {
    whole(text, 0..=1_000_000)
}

/// How often a pixel is repeated.
pub fn scale(text: &str) -> Result<usize, String> {
    whole(text, 1..=64)
}

/// Threads, 0 for one a core; so is what is negative. More than any machine has are a slip of the finger.
pub fn threads(text: &str) -> Result<usize, String> {
    if is_negative(text) { Ok(0) } else { whole(text, 0..=1024) }
}

/// A seed; a negative one is random.
pub fn seed(text: &str) -> Result<u64, String> {
    let wrong = |_| format!("must be a whole number, at most {}; leave it out, or give -1, for a random one", u64::MAX);
    if is_negative(text) { Ok(random_seed()) } else { text.parse().map_err(wrong) }
}

/// Short enough to be typed again.
pub fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}

/// A part of a whole.
pub fn share<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let share = text.parse().ok().filter(|share| (T::from(0)..=T::from(1)).contains(share));
    share.ok_or_else(|| "must be a number from 0 to 1".into())
}

/// A strength or a scale: any number that is one.
pub fn finite(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|x: &f32| x.is_finite()).ok_or_else(|| "must be a finite number".into())
}

fn whole(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
}

fn is_negative(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen red: NaN let through by a comparison the other way round.
    #[test]
    fn numbers_that_are_out_of_range() {
        assert_eq!((count("1"), index("0"), scale("64"), threads("1024")), (Ok(1), Ok(0), Ok(64), Ok(1024)));
        assert_eq!((threads("-1"), threads("0"), seed("18446744073709551615")), (Ok(0), Ok(0), Ok(u64::MAX)));
        assert!(seed("-1").is_ok() && seed("-99999999999999999999").is_ok() && seed("-1") != seed("-1"));
        for text in ["0", "-1", "1000001", "1.5", "", "few", "nan", "1e3", "99999999999999999999"] {
            assert!(count(text).unwrap_err().contains("from 1 to 1000000"), "{text}");
        }
        assert!(index("-1").is_err() && scale("65").is_err() && threads("1025").is_err() && threads("-").is_err());
        assert!(seed("18446744073709551616").is_err() && seed("1.5").is_err() && seed("-x").is_err());
        assert_eq!((share("0"), share("1"), share("0.25")), (Ok(0.0), Ok(1.0), Ok(0.25f64)));
        for text in ["nan", "-0.1", "1.01", "1e30", "inf", ""] {
            assert!(share::<f32>(text).is_err() && share::<f64>(text).is_err(), "{text}");
        }
        assert_eq!((finite("-2"), finite("1e30")), (Ok(-2.0), Ok(1e30)));
        assert!(["nan", "inf", "-inf", "1e39", "x"].iter().all(|text| finite(text).is_err()));
    }
}
