//! Numbers of the command line, each of a kind that makes sense: any other is refused where it is read, by its option's name.
use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

/// What is read, or what was expected.
type Read<T> = Result<T, String>;

fn real<T: FromStr + Copy + Into<f64>>(text: &str, makes_sense: impl Fn(f64) -> bool, expected: &str) -> Read<T> {
    let value = text.trim().parse::<T>().ok().filter(|v| (*v).into().is_finite() && makes_sense((*v).into()));
    value.ok_or_else(|| format!("expected {expected}"))
}

fn whole<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Read<T> {
    let value =
        text.trim().parse::<u64>().ok().filter(|v| (least..=most).contains(v)).and_then(|v| T::try_from(v).ok());
    value.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
}

/// A learning rate, a largest norm: above 0.
///
/// # Errors
/// Says what was expected, as all of these do.
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

/// Any number but an infinity.
///
/// # Errors
/// As [`positive`].
pub fn finite<T: FromStr + Copy + Into<f64>>(text: &str) -> Read<T> {
    real(text, |_| true, "a number")
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
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("expected {expected}, and fewer"))
}

/// How many of something are in memory together, at least one: pictures of a batch, samples.
///
/// # Errors
/// As [`positive`].
pub fn count<T: TryFrom<u64>>(text: &str) -> Read<T> {
    whole(text, 1, 1 << 24)
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

/// Threads.
///
/// # Errors
/// As [`positive`].
pub fn threads(text: &str) -> Read<usize> {
    whole(text, 1, 1024)
}

/// Sides of a network that an option lists with commas, as in `64,128,256`: at least so many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbers<const LEAST: usize>(pub Vec<usize>);

impl<const LEAST: usize> FromStr for Numbers<LEAST> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let list: Option<Vec<usize>> = text.split(',').map(|c| width(c).ok()).collect();
        let wrong = || format!("expected at least {LEAST} positive numbers with commas, as in 64,128,256");
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
        list.map(Self).ok_or_else(|| "expected whole numbers with commas, as in 0,1,1".into())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// To be seen red with the ends of the ranges left open, and with infinities taken.
    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["-1", "nan", "inf", "1e400", "0", "x", ""] {
            assert!(positive::<f64>(text).is_err(), "{text}");
        }
        assert!(positive::<f32>("1e39").is_err() && positive::<f64>("1e39").is_ok());
        for text in ["1", "2", "-0.1", "nan"] {
            assert!(decay(text).is_err(), "{text}");
        }
        assert!(share::<f32>("1").is_ok() && share::<f64>("1.1").is_err() && variance("1").is_err());
        for text in ["1e30", "nan", "-1", "inf"] {
            assert!(minutes(text).is_err(), "{text}");
        }
        assert_eq!(minutes("0.5"), Ok(Duration::from_secs(30)));
        assert!(count::<usize>("0").is_err() && count::<usize>("-3").is_err() && or_none::<u64>("0") == Ok(0));
        assert!(threads("1025").is_err() && threads("0").is_err() && threads("1024") == Ok(1024));
        assert!("64".parse::<Numbers<2>>().is_err() && "64,0".parse::<Numbers<1>>().is_err());
        assert_eq!("0, 1".parse(), Ok(Counts(vec![0, 1])));
    }
}
