//! What a run is made with, by name: a run goes on where these are the same, or differ only in how far a step goes.
use serde_json::Value;
use std::fmt::Display;

/// Settings with their values, in the order of their naming.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fingerprint(Vec<(String, String)>);

/// What may be another where a run goes on: no order of the data, no network and no moment depends on these.
const FREE: [&str; 4] = ["--lr", "--clip", "--weight-decay", "--decay"];

impl Fingerprint {
    /// Of a run of `system`, as the program's command is called.
    pub fn new(system: &str) -> Self {
        Self::default().with("the system", system)
    }

    /// The same with a setting more. An option is named as it is given; anything else so that "NAME was 1, is 2" is a sentence.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// The same with a setting more, if it has a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self.with(name, "none"),
        }
    }

    /// As one line, for a file.
    pub fn to_json(&self) -> String {
        self.0.iter().map(|(name, value)| serde_json::json!([name, value])).collect::<Value>().to_string()
    }

    /// From [`Self::to_json`]'s line.
    pub fn from_json(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok().map(Self)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| &value[..])
    }

    /// What is another now than in `before`, each as "NAME was 1, is 2": first what a run can go on with, then what it cannot.
    pub fn changes(&self, before: &Self) -> [Vec<String>; 2] {
        let missing = before.0.iter().filter(|(name, _)| self.get(name).is_none()).map(|(name, _)| name);
        let names = self.0.iter().map(|(name, _)| name).chain(missing);
        let changed = names.filter(|name| self.get(name) != before.get(name));
        let said = |name: &String| {
            let [was, is] = [before, self].map(|f| f.get(name).unwrap_or("none"));
            format!("{name} was {was}, is {is}")
        };
        let (free, bound): (Vec<&String>, Vec<&String>) = changed.partition(|name| FREE.contains(&name.as_str()));
        [free, bound].map(|names| names.into_iter().map(said).collect())
    }
}

/// What tells a file, whose bytes these are, from another.
pub struct FileSum<'a>(pub &'a [u8]);

impl Display for FileSum<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sum = flate2::Crc::new();
        sum.update(self.0);
        write!(f, "{} bytes of sum {:08x}", self.0.len(), sum.sum())
    }
}

/// What tells data from other data: how many pieces there are, and a sum over all their bytes.
pub struct DataSum {
    sum: flate2::Crc,
    pieces: usize,
}

impl DataSum {
    /// Of nothing yet.
    #[allow(clippy::new_without_default, reason = "there is no data that is the usual one")]
    pub fn new() -> Self {
        Self { sum: flate2::Crc::new(), pieces: 0 }
    }

    /// Adds so many pieces: what they are called, what is said of them, what they are.
    pub fn add(&mut self, parts: &[&[u8]], pieces: usize) {
        for part in parts {
            self.sum.update(&(part.len() as u64).to_le_bytes());
            self.sum.update(part);
        }
        self.pieces += pieces;
    }
}

impl Display for DataSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pictures of sum {:08x}", self.pieces, self.sum.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with all names free, and with settings that are there no more passed over.
    #[test]
    fn what_changed_is_named_with_both_values() {
        let before =
            Fingerprint::new("vae").with("--lr", 0.001).with("--batch", 4).maybe("--clip", None::<f64>).with("old", 1);
        let now = Fingerprint::new("vae").with("--lr", 1e-4).with("--batch", 8).maybe("--clip", Some(1.0));
        let before = Fingerprint::from_json(&before.to_json()).expect("what was written");
        let [free, bound] = now.changes(&before);
        assert_eq!(free, ["--lr was 0.001, is 0.0001", "--clip was none, is 1"]);
        assert_eq!(bound, ["--batch was 4, is 8", "old was 1, is none"]);
        assert_eq!(now.changes(&now), [Vec::<String>::new(), Vec::new()]);
        assert_eq!(Fingerprint::from_json("vae Settings { batch: 4 }"), None);
    }
}
