//! A number beside the one that is expected.

/// Where an expected number is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A notebook of the book's repository prints it.
    Notebook,
    /// Computed another way for comparison, as by numpy and scipy, or by a formula; the book does not print it.
    Reference,
}

impl Source {
    /// As it stands in pages and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Notebook => "notebook",
            Self::Reference => "reference",
        }
    }
}

/// One row of a table: what was found, and what is expected.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    pub(super) name: String,
    pub(super) ours: f64,
    pub(super) expected: Option<(f64, Source)>,
    pub(super) tolerance: Option<f64>,
    pub(super) key: bool,
}

impl Comparison {
    /// A number of ours, with its unit in the name.
    pub fn new(name: impl Into<String>, ours: f64) -> Self {
        Self { name: name.into(), ours, expected: None, tolerance: None, key: false }
    }

    /// What the book's notebook prints, if anything: it prints nothing of data that are not its own.
    pub fn notebook(mut self, value: impl Into<Option<f64>>) -> Self {
        self.expected = value.into().map(|v| (v, Source::Notebook));
        self
    }

    /// What is computed another way, if it is known for these data.
    pub fn reference(mut self, value: impl Into<Option<f64>>) -> Self {
        self.expected = value.into().map(|v| (v, Source::Reference));
        self
    }

    /// The relative difference that is allowed; a larger one is marked in the page and in the record.
    pub fn within(mut self, relative: f64) -> Self {
        self.tolerance = Some(relative);
        self
    }

    /// One of the few figures that stand for the whole report.
    pub fn key(mut self) -> Self {
        self.key = true;
        self
    }

    /// Whether [`Self::key`] was said.
    pub fn is_key(&self) -> bool {
        self.key
    }
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `(ours - expected) / |expected|`; the plain difference where 0 is expected.
    pub fn difference(&self) -> Option<f64> {
        let (expected, _) = self.expected?;
        Some(if expected == 0.0 { self.ours } else { (self.ours - expected) / expected.abs() })
    }

    /// Whether the difference is within what is allowed; `None` if nothing was said about it.
    pub fn holds(&self) -> Option<bool> {
        let tolerance = self.tolerance?;
        self.difference().map(|d| d.abs() <= tolerance)
    }

    /// Ours, what is expected, where that is from, and the difference, as text; where there is nothing to compare with, a dash.
    pub(super) fn texts(&self) -> [String; 4] {
        let dash = || "–".to_owned();
        let difference =
            self.difference().map_or_else(dash, |d| if d == 0.0 { "0".into() } else { format!("{d:+.1e}") });
        let source = self.expected.map_or_else(dash, |(_, s)| s.name().into());
        [number(self.ours), self.expected.map_or_else(dash, |(v, _)| number(v)), source, difference]
    }
}

/// A number as text: 10 significant digits, without zeros at the end; powers of ten for the very large and small.
pub fn number(x: f64) -> String {
    const DIGITS: i32 = 10;
    if !x.is_finite() || x == 0.0 {
        return if x == 0.0 { "0".into() } else { x.to_string() };
    }
    let trim = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    // Through the scientific form, so that 9.99…e2 is rounded before its length is known.
    let scientific = format!("{x:.*e}", (DIGITS - 1) as usize);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        trim(&format!("{x:.*}", (DIGITS - 1 - exponent) as usize))
    } else {
        format!("{}e{exponent}", trim(mantissa))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact() {
        let texts = [172.70250853667997, 0.5, -3.0, 2168784.0, 4.035829765375676e-5, 1e12, 0.0, f64::NAN].map(number);
        assert_eq!(texts, ["172.7025085", "0.5", "-3", "2168784", "4.035829765e-5", "1e12", "0", "NaN"]);
    }

    /// Seen red with a difference that is not divided.
    #[test]
    fn differences_are_relative() {
        let row = Comparison::new("x", 1.1).reference(1.0).within(0.2);
        assert!((row.difference().expect("a difference") - 0.1).abs() < 1e-12 && row.holds() == Some(true));
        assert_eq!(row.clone().within(0.05).holds(), Some(false));
        assert_eq!(Comparison::new("x", 0.25).reference(0.0).difference(), Some(0.25));
        assert_eq!(Comparison::new("x", 1.0).within(0.1).holds(), None);
        // A NaN is never within anything.
        assert_eq!(Comparison::new("x", f64::NAN).reference(1.0).within(9.0).holds(), Some(false));
    }
}
