//! Numbers on the command line: a function for each kind, so that what is out of range is refused wherever it is given, by its
//! option's name.

use nijimi_runtime::model::random_seed;
use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

/// What is read, or what it must be.
type Read<T> = Result<T, String>;

fn real<T: FromStr + Copy + Into<f64>>(text: &str, makes_sense: impl Fn(f64) -> bool, expected: &str) -> Read<T> {
    let value = text.trim().parse::<T>().ok().filter(|v| (*v).into().is_finite() && makes_sense((*v).into()));
    value.ok_or_else(|| format!("must be {expected}"))
}

fn whole<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Read<T> {
    let value =
        text.trim().parse::<u64>().ok().filter(|v| (least..=most).contains(v)).and_then(|v| T::try_from(v).ok());
    value.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

/// A learning rate, a largest norm: above 0.
///
/// # Errors
/// Says what it must be, as all of these do.
pub fn positive<T: FromStr + Copy + Into<f64>>(text: &str) -> Read<T> {
    real(text, |v| v > 0.0, "a number above 0")
}

/// A weight, a tolerance: 0 or more.
///
/// # Errors
/// As [`positive`].
pub fn not_negative<T: FromStr + Copy + Into<f64>>(text: &str) -> Read<T> {
    real(text, |v| v >= 0.0, "a number of 0 or more")
}

/// A strength or a scale: any number that is one.
///
/// # Errors
/// As [`positive`].
pub fn finite<T: FromStr + Copy + Into<f64>>(text: &str) -> Read<T> {
    real(text, |_| true, "a finite number")
}

/// A probability, or a part of a whole: 0 to 1.
///
/// # Errors
/// As [`positive`].
pub fn share<T: FromStr + Copy + Into<f64>>(text: &str) -> Read<T> {
    real(text, |v| (0.0..=1.0).contains(&v), "a number from 0 to 1")
}

/// What an average keeps at each step: 0 to 1, and less than 1, with which it would never move.
///
/// # Errors
/// As [`positive`].
pub fn decay(text: &str) -> Read<f64> {
    real(text, |v| (0.0..1.0).contains(&v), "a number from 0 to below 1")
}

/// A variance of a noise level: between 0 and 1.
///
/// # Errors
/// As [`positive`].
pub fn variance(text: &str) -> Read<f64> {
    real(text, |v| v > 0.0 && v < 1.0, "a number between 0 and 1")
}

/// Minutes as a time.
///
/// # Errors
/// As [`positive`].
pub fn minutes(text: &str) -> Read<Duration> {
    let expected = "a number of minutes, 0 or more, as 5 or 0.5";
    let seconds = 60.0 * real::<f64>(text, |v| v >= 0.0, expected)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("must be {expected}, and fewer"))
}

/// Pictures, steps, pixels, a batch: more than a million of them would take a year.
///
/// # Errors
/// As [`positive`].
pub fn count<T: TryFrom<u64>>(text: &str) -> Read<T> {
    whole(text, 1, 1_000_000)
}

/// As [`count`], of steps from one to the next that is another.
///
/// # Errors
/// As [`positive`].
pub fn interval(text: &str) -> Read<usize> {
    whole(text, 1, 1 << 16)
}

/// As [`count`], where 0 has a meaning.
///
/// # Errors
/// As [`positive`].
pub fn index(text: &str) -> Read<usize> {
    whole(text, 0, 1_000_000)
}

/// How often a pixel is repeated.
///
/// # Errors
/// As [`positive`].
pub fn scale(text: &str) -> Read<usize> {
    whole(text, 1, 64)
}

/// How often something is done, at least once: epochs, steps.
///
/// # Errors
/// As [`positive`].
pub fn times<T: TryFrom<u64>>(text: &str) -> Read<T> {
    whole(text, 1, 1_000_000_000_000_000)
}

/// How many, or none.
///
/// # Errors
/// As [`positive`].
pub fn or_none<T: TryFrom<u64>>(text: &str) -> Read<T> {
    whole(text, 0, 1_000_000_000_000_000)
}

/// A side of a network: channels, widths, layers.
///
/// # Errors
/// As [`positive`].
pub fn width(text: &str) -> Read<usize> {
    whole(text, 1, 1 << 16)
}

/// Noise levels.
///
/// # Errors
/// As [`positive`].
pub fn levels(text: &str) -> Read<usize> {
    whole(text, 2, 100_000)
}

/// Threads, 0 for one a core; so is what is negative. More than any machine has are a slip of the finger.
///
/// # Errors
/// As [`positive`].
pub fn threads(text: &str) -> Read<usize> {
    if is_negative(text) { Ok(0) } else { whole(text, 0, 1024) }
}

/// A seed; a negative one is random.
///
/// # Errors
/// As [`positive`].
pub fn seed(text: &str) -> Read<u64> {
    let wrong = |_| format!("must be a whole number, at most {}; leave it out, or give -1, for a random one", u64::MAX);
    if is_negative(text) { Ok(random_seed()) } else { text.parse().map_err(wrong) }
}

fn is_negative(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Sides of a network that an option lists with commas, as in `64,128,256`: at least so many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbers<const LEAST: usize>(pub Vec<usize>);

impl<const LEAST: usize> FromStr for Numbers<LEAST> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let list: Option<Vec<usize>> = text.split(',').map(|c| width(c).ok()).collect();
        let wrong = || format!("must be at least {LEAST} positive numbers with commas, as in 64,128,256");
        list.filter(|l| l.len() >= LEAST).map(Self).ok_or_else(wrong)
    }
}

/// Counts that an option lists with commas, of which some may be 0, as in `0,1,1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counts(pub Vec<usize>);

impl FromStr for Counts {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let list: Option<Vec<usize>> = text.split(',').map(|c| whole(c, 0, 1 << 16).ok()).collect();
        list.map(Self).ok_or_else(|| "must be whole numbers with commas, as in 0,1,1".into())
    }
}

fn list(numbers: &[usize], f: &mut Formatter<'_>) -> std::fmt::Result {
    let list: Vec<String> = numbers.iter().map(usize::to_string).collect();
    f.write_str(&list.join(","))
}

impl<const LEAST: usize> Display for Numbers<LEAST> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        list(&self.0, f)
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        list(&self.0, f)
    }
}

/// An amount of memory in bytes, as in `4G` or `800M`, which count in powers of 1024.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be an amount above 0, such as 4G, 800M or 1.5G";
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[number.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(WRONG),
        };
        let bytes = number.parse::<f64>().map_err(|_| WRONG)? * (1u64 << shift) as f64;
        // What is less than a byte, infinite or not a number is no amount.
        if (1.0..1e18).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(WRONG) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen red: NaN let through by a comparison the other way round.
    #[test]
    fn numbers_that_are_out_of_range() {
        assert_eq!((count("1"), index("0"), scale("64"), threads("1024")), (Ok(1usize), Ok(0), Ok(64), Ok(1024)));
        assert_eq!((threads("-1"), threads("0"), seed("18446744073709551615")), (Ok(0), Ok(0), Ok(u64::MAX)));
        assert!(seed("-1").is_ok() && seed("-99999999999999999999").is_ok() && seed("-1") != seed("-1"));
        for text in ["0", "-1", "1000001", "1.5", "", "few", "nan", "1e3", "99999999999999999999"] {
            assert!(count::<usize>(text).unwrap_err().contains("from 1 to 1000000"), "{text}");
        }
        assert!(index("-1").is_err() && scale("65").is_err() && threads("1025").is_err() && threads("-").is_err());
        assert!(seed("18446744073709551616").is_err() && seed("1.5").is_err() && seed("-x").is_err());
        assert_eq!((share("0"), share("1"), share("0.25")), (Ok(0f32), Ok(1f64), Ok(0.25f64)));
        for text in ["nan", "-0.1", "1.01", "1e30", "inf", ""] {
            assert!(share::<f32>(text).is_err() && share::<f64>(text).is_err(), "{text}");
        }
        assert_eq!((finite("-2"), finite("1e30")), (Ok(-2f32), Ok(1e30f64)));
        assert!(["nan", "inf", "-inf", "1e39", "x"].iter().all(|text| finite::<f32>(text).is_err()));
    }

    /// Seen red with the ends of the ranges left open, and with infinities taken.
    #[test]
    fn numbers_of_a_training() {
        for text in ["-1", "nan", "inf", "1e400", "0", "x", ""] {
            assert!(positive::<f64>(text).is_err(), "{text}");
        }
        assert!(positive::<f32>("1e39").is_err() && positive::<f64>("1e39").is_ok());
        for text in ["1", "2", "-0.1", "nan"] {
            assert!(decay(text).is_err(), "{text}");
        }
        assert!(variance("1").is_err() && variance("0").is_err() && variance("0.5") == Ok(0.5));
        for text in ["1e30", "nan", "-1", "inf"] {
            assert!(minutes(text).is_err(), "{text}");
        }
        assert_eq!(minutes("0.5"), Ok(Duration::from_secs(30)));
        assert!(or_none::<u64>("0") == Ok(0) && times::<u64>("0").is_err() && levels("1").is_err());
        assert!("64".parse::<Numbers<2>>().is_err() && "64,0".parse::<Numbers<1>>().is_err());
        assert_eq!("0, 1".parse(), Ok(Counts(vec![0, 1])));
    }
}
