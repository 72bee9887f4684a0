//! Configuration files: what they say, with the file and the key in every complaint.

use super::error::{ImportError, io};
use nijimi_runtime::gguf::open_regular;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest JSON file read; CLIP's `tokenizer.json` has 2 MB.
const MAX_JSON: u64 = 64 << 20;
/// Largest size in a configuration: wider than any network, and far below where products overflow.
const MAX_SIZE: u64 = 1 << 20;

/// What diffusers' `EMAModel` adds to the configuration of the network that it is a running mean of (training_utils.py).
const EMA: [&str; 7] =
    ["decay", "min_decay", "optimization_step", "update_after_step", "use_ema_warmup", "inv_gamma", "power"];

/// A JSON object, and where it is from.
#[derive(Debug, Clone)]
pub(super) struct Json {
    pub path: PathBuf,
    pub map: Map<String, Value>,
}

/// The text of a file of at most 64 MB.
pub(super) fn text(path: &Path) -> Result<String, ImportError> {
    let file = open_regular(path)?;
    let mut text = String::new();
    let read = file.take(MAX_JSON + 1).read_to_string(&mut text).map_err(io("read", path))?;
    match read {
        0 => Err(ImportError::Empty { path: path.into() }),
        n if n as u64 > MAX_JSON => {
            Err(ImportError::Json { path: path.into(), why: format!("it has more than {MAX_JSON} bytes") })
        }
        _ => Ok(text),
    }
}

impl Json {
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let refuse = |why| ImportError::Json { path: path.into(), why };
        match serde_json::from_str(&finite(&text(path)?)) {
            Ok(Value::Object(map)) => Ok(Self { path: path.into(), map }),
            Ok(_) => Err(refuse("it is not a JSON object".into())),
            Err(e) => Err(refuse(format!("it is not JSON: {e}"))),
        }
    }

    /// The value, unless it is absent or null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub fn wrong(&self, key: &str, expected: impl Into<String>) -> ImportError {
        let found = self.get(key).map_or_else(|| "absent".into(), |v| cut(v.to_string()));
        ImportError::Config { path: self.path.clone(), key: key.into(), found, expected: expected.into() }
    }

    /// A size: a positive number, or `default` where it is absent.
    pub fn size(&self, key: &str, default: Option<usize>) -> Result<usize, ImportError> {
        match self.get(key) {
            None => default.ok_or_else(|| self.wrong(key, "a positive number")),
            Some(v) => size(v).ok_or_else(|| self.wrong(key, format!("a number from 1 to {MAX_SIZE}"))),
        }
    }

    pub fn sizes(&self, key: &str) -> Result<Vec<usize>, ImportError> {
        let list = self.get(key).and_then(Value::as_array).filter(|list| (1..=16).contains(&list.len()));
        let sizes = list.and_then(|list| list.iter().map(size).collect());
        sizes.ok_or_else(|| self.wrong(key, format!("1 to 16 numbers from 1 to {MAX_SIZE}")))
    }

    /// A size for each of `n` levels, written as one for all or as a list.
    pub fn levels(&self, key: &str, n: usize, default: Option<usize>) -> Result<Vec<usize>, ImportError> {
        match self.get(key) {
            Some(Value::Array(list)) if list.len() == n => self.sizes(key),
            Some(Value::Array(_)) => Err(self.wrong(key, format!("one number, or {n}, one for each level"))),
            _ => Ok(vec![self.size(key, default)?; n]),
        }
    }

    pub fn bool(&self, key: &str, default: bool) -> Result<bool, ImportError> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    pub fn number(&self, key: &str, default: f64) -> Result<f64, ImportError> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_f64().ok_or_else(|| self.wrong(key, "a number")),
        }
    }

    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, ImportError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>());
        list.map(Some).ok_or_else(|| self.wrong(key, "a list of numbers"))
    }

    pub fn str<'a>(&'a self, key: &str, default: &'a str) -> Result<&'a str, ImportError> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_str().ok_or_else(|| self.wrong(key, "a string")),
        }
    }

    /// That a setting, where there is one, is the only one that the networks know.
    pub fn only(&self, key: &str, expected: Value) -> Result<(), ImportError> {
        match self.get(key) {
            Some(found) if *found != expected => Err(self.wrong(key, expected.to_string())),
            _ => Ok(()),
        }
    }

    /// That there is no setting but those of `known`, which are read, and those that are off: what nobody reads is not obeyed.
    pub fn nothing_else(&self, known: &[&str]) -> Result<(), ImportError> {
        let off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        // diffusers' own: `_class_name`, `_diffusers_version`, `_name_or_path`.
        let other = self.map.iter().find(|(key, value)| {
            !key.starts_with('_') && !off(value) && !known.contains(&key.as_str()) && !EMA.contains(&key.as_str())
        });
        match other {
            Some((key, _)) => Err(self.wrong(key, "no such setting: it is not known here, and would not be obeyed")),
            None => Ok(()),
        }
    }

    /// That a setting is absent, null or false.
    pub fn absent(&self, key: &str) -> Result<(), ImportError> {
        match self.get(key) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(_) => Err(self.wrong(key, "null")),
        }
    }
}

/// Python writes infinities as bare words, which are not JSON: as strings they are. No string has such a word behind a
/// colon and a blank unless it is quoted.
fn finite(text: &str) -> Cow<'_, str> {
    if !text.contains("Infinity") {
        return text.into();
    }
    let mut text = Cow::from(text);
    for word in ["-Infinity", "Infinity"] {
        for before in [": ", ":"] {
            for after in [",", "\n", "}", "\r"] {
                text = text.replace(&format!("{before}{word}{after}"), &format!("{before}\"{word}\"{after}")).into();
            }
        }
    }
    text
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().filter(|n| (1..=MAX_SIZE).contains(n)).map(|n| n as usize)
}

/// A value short enough for one line.
fn cut(text: String) -> String {
    if text.chars().count() <= 80 { text } else { text.chars().take(80).chain("…".chars()).collect() }
}
