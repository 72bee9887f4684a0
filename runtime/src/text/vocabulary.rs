//! A vocabulary as the weight file keeps it, and from the files in which it is published.

use alloc::string::String;
use alloc::vec::Vec;

/// Tokens and merges: `tokenizer.ggml.tokens` and `tokenizer.ggml.merges` of a weight file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vocabulary {
    /// By id, in the visible form (`the</w>`).
    pub tokens: Vec<String>,
    /// `left right`, the first joined first.
    pub merges: Vec<String>,
}

impl Vocabulary {
    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokens.iter().position(|t| t == token).map(|id| id as u32)
    }
}

#[cfg(any(feature = "import", test))]
mod published {
    use super::super::TextError;
    use super::Vocabulary;
    use alloc::borrow::ToOwned;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use alloc::{format, vec};
    use serde_json::{Map, Value};

    fn wrong(file: &'static str, what: impl Into<String>) -> TextError {
        TextError::Json { file, what: what.into() }
    }

    fn parse(file: &'static str, text: &str) -> Result<Value, TextError> {
        serde_json::from_str(text).map_err(|e| wrong(file, e.to_string()))
    }

    /// Tokens by id, of `{"token": id, ...}`.
    fn tokens<'a>(
        file: &'static str,
        entries: impl ExactSizeIterator<Item = (&'a str, Option<u64>)>,
    ) -> Result<Vec<String>, TextError> {
        let count = entries.len();
        let mut tokens: Vec<Option<String>> = vec![None; count];
        for (token, id) in entries {
            let id = id.ok_or_else(|| wrong(file, format!("the id of {token:?} is not a whole number")))?;
            let place = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id)).filter(|place| place.is_none());
            let gap = TextError::Gap { token: token.to_owned(), id, tokens: count };
            *place.ok_or(gap)? = Some(token.to_owned());
        }
        Ok(tokens.into_iter().flatten().collect())
    }

    fn entries(map: &Map<String, Value>) -> impl ExactSizeIterator<Item = (&str, Option<u64>)> {
        map.iter().map(|(token, id)| (token.as_str(), id.as_u64()))
    }

    impl Vocabulary {
        /// Of `vocab.json` and `merges.txt`.
        ///
        /// # Errors
        /// Text that is not JSON, or not tokens with the ids 0, 1, 2, ...
        pub fn from_vocab_and_merges(vocab: &str, merges: &str) -> Result<Self, TextError> {
            let json = parse("vocab.json", vocab)?;
            let map = json.as_object().ok_or_else(|| wrong("vocab.json", "it must be an object of tokens and ids"))?;
            let lines = merges.lines().map(str::trim_end).filter(|line| !line.is_empty());
            let merges = lines.enumerate().filter(|(i, line)| *i > 0 || !line.starts_with("#version"));
            Ok(Self {
                tokens: tokens("vocab.json", entries(map))?,
                merges: merges.map(|(_, line)| line.to_owned()).collect(),
            })
        }

        /// Of `tokenizer.json`, which has tokens and merges in one; tokens that it adds to its model come with them.
        ///
        /// # Errors
        /// Text that is not JSON, a tokenizer that is no byte-pair encoding, ids other than 0, 1, 2, ...
        pub fn from_tokenizer_json(text: &str) -> Result<Self, TextError> {
            const FILE: &str = "tokenizer.json";
            let json = parse(FILE, text)?;
            let model = &json["model"];
            if model["type"].as_str() != Some("BPE") {
                return Err(wrong(FILE, format!("the model's type is {}, must be \"BPE\"", model["type"])));
            }
            let vocab = model["vocab"].as_object().ok_or_else(|| wrong(FILE, "model.vocab must be an object"))?;
            let added = json["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
            let added = added.iter().filter_map(|token| Some((token["content"].as_str()?, token["id"].as_u64())));
            let all: Vec<_> = entries(vocab).chain(added.filter(|(token, _)| !vocab.contains_key(*token))).collect();
            let rule = |merge: &Value| match merge {
                Value::String(line) => Some(line.clone()),
                Value::Array(pair) => match pair.as_slice() {
                    [Value::String(a), Value::String(b)] => Some(format!("{a} {b}")),
                    _ => None,
                },
                _ => None,
            };
            let merges = model["merges"].as_array().ok_or_else(|| wrong(FILE, "model.merges must be a list"))?;
            let merges: Option<Vec<String>> = merges.iter().map(rule).collect();
            let what = "model.merges must be lines, or pairs, of two tokens";
            Ok(Self { tokens: tokens(FILE, all.into_iter())?, merges: merges.ok_or_else(|| wrong(FILE, what))? })
        }
    }
}
