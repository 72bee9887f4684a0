//! CLIP's vocabulary, from `tokenizer.json`, or `vocab.json` and `merges.txt`, with what was added to it later.

use super::error::ImportError;
use super::json::{Json, text};
use nijimi_runtime::raw::text::Vocabulary;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A byte-pair vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokenizer {
    /// Each token's text, in CLIP's spelling of bytes, by id.
    pub tokens: Vec<String>,
    /// The pairs that are joined, first come first served, as `left right`.
    pub merges: Vec<String>,
    /// Those of the tokens that were added after the pairs were learned, but for the three below, by id: each is one token
    /// wherever it stands, as it is written.
    pub added: Vec<String>,
    /// The token before a text.
    pub bos: u32,
    /// The token after it.
    pub eos: u32,
    /// What fills the rest of a window.
    pub pad: u32,
    /// Tokens of a window, where its files say so and a text encoder can have as many.
    pub length: Option<usize>,
}

/// Most tokens and merges: CLIP has 49,408.
const MAX_TOKENS: usize = 1 << 20;

/// How CLIP writes the end of a word.
const END: &str = "</w>";

impl Tokenizer {
    /// Whether the folder has one.
    pub fn is_in(folder: &Path) -> bool {
        folder.join("tokenizer.json").is_file() || folder.join("vocab.json").is_file()
    }

    /// Reads a folder's.
    ///
    /// # Errors
    /// Files that are missing, are not what their names say, contradict each other, or whose ids leave holes; what cannot
    /// be obeyed, by name.
    pub fn open(folder: &Path) -> Result<Self, ImportError> {
        let Lists { path, tokens, merges, added, special } = Lists::open(folder)?;
        let refuse = |why: String| ImportError::Json { path: path.clone(), why };
        if !tokens.iter().any(|token| token.ends_with(END)) {
            return Err(refuse(format!("none of its tokens ends with {END}: it is not CLIP's, but of another kind")));
        }
        let id = |key: &str, default: &str| -> Result<u32, ImportError> {
            let token = special.token(key)?.unwrap_or_else(|| default.to_string());
            let id = tokens.iter().position(|t| *t == token);
            id.map(|id| id as u32).ok_or_else(|| refuse(format!("its vocabulary lacks the {key} {token:?}")))
        };
        let (bos, eos) = (id("bos_token", "<|startoftext|>")?, id("eos_token", "<|endoftext|>")?);
        let pad = id("pad_token", "<|endoftext|>")?;
        for token in special.additional()? {
            if !tokens.contains(&token) {
                return Err(refuse(format!("its vocabulary lacks the additional_special_tokens {token:?}")));
            }
        }
        let own = |id: u64| [bos, eos, pad].contains(&(id as u32));
        let added = added.into_iter().filter(|(_, id)| !own(*id)).map(|(token, _)| token).collect();
        Ok(Self { tokens, merges, added, bos, eos, pad, length: special.length()? })
    }

    /// Reads a folder's of a language model, whose tokens are of bytes and which marks the turns of a conversation: Qwen's.
    pub(super) fn open_bytes(folder: &Path) -> Result<Vocabulary, ImportError> {
        let Lists { path, tokens, merges, added, .. } = Lists::open(folder)?;
        if let Some(turn) = missing_turn(added.iter().map(|(token, _)| token.as_str())) {
            let why = format!("it has no added token {turn}: it is not Qwen's, but of another kind");
            return Err(ImportError::Json { path, why });
        }
        Ok(Vocabulary { tokens, merges, added: added.into_iter().map(|(token, _)| token).collect() })
    }
}

/// Of Qwen's marks of a conversation's turns, one that is not among the tokens that were added.
pub(super) fn missing_turn<'a>(added: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    ["<|im_start|>", "<|im_end|>"].into_iter().find(|turn| !added.clone().any(|token| token == *turn))
}

/// What a folder's files list.
struct Lists {
    /// Of the file that has the vocabulary.
    path: PathBuf,
    /// By id.
    tokens: Vec<String>,
    merges: Vec<String>,
    /// With their ids, in their order.
    added: Vec<(String, u64)>,
    special: Special,
}

impl Lists {
    fn open(folder: &Path) -> Result<Self, ImportError> {
        let whole_path = folder.join("tokenizer.json");
        let whole = whole_path.is_file().then(|| Json::open(&whole_path)).transpose()?;
        let (path, vocab, merges) = match (folder.join("vocab.json").is_file(), &whole) {
            (true, _) => pair(folder)?,
            (false, Some(json)) => model(json)?,
            (false, None) => {
                let remedy = "a tokenizer is vocab.json with merges.txt, or tokenizer.json: download the whole folder";
                return Err(ImportError::MissingFile { path: folder.join("vocab.json"), remedy });
            }
        };
        let special = Special::open(folder)?;
        let refuse = |why: String| ImportError::Json { path: path.clone(), why };
        let added = added(folder, whole.as_ref(), &special)?;
        let known: BTreeMap<&str, u64> = vocab.iter().map(|(token, id)| (token.as_str(), *id)).collect();
        let new = added.iter().filter(|(token, _)| !known.contains_key(token.as_str()));
        let all: Vec<(String, u64)> = vocab.iter().chain(new).cloned().collect();
        let mut tokens: Vec<Option<String>> = vec![None; all.len().min(MAX_TOKENS)];
        for (token, id) in all {
            let slot = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id));
            let slot =
                slot.ok_or_else(|| refuse(format!("the token {token:?} has the id {id}, but ids must be dense")))?;
            if let Some(other) = slot.replace(token.clone()) {
                return Err(refuse(format!("the tokens {other:?} and {token:?} have the same id {id}")));
            }
        }
        for (token, id) in &added {
            if let Some(other) = known.get(token.as_str()).filter(|other| *other != id) {
                return Err(refuse(format!("the added token {token:?} has the id {id}, in the vocabulary {other}")));
            }
        }
        // As many ids as tokens, none twice: none is left out.
        let tokens: Vec<String> = tokens.into_iter().flatten().collect();
        if merges.len() > MAX_TOKENS || merges.iter().any(|m| m.split(' ').filter(|half| !half.is_empty()).count() != 2)
        {
            return Err(refuse("its merges are not pairs of tokens".into()));
        }
        let mut added = added;
        added.sort_by_key(|(_, id)| *id);
        Ok(Self { path, tokens, merges, added, special })
    }
}

type Parts = (PathBuf, Vec<(String, u64)>, Vec<String>);

fn pair(folder: &Path) -> Result<Parts, ImportError> {
    let json = Json::open(&folder.join("vocab.json"))?;
    let path = folder.join("merges.txt");
    if !path.is_file() {
        return Err(ImportError::MissingFile { path, remedy: "vocab.json needs it: download the whole folder" });
    }
    let text = text(&path)?;
    // The first line says the version of the format.
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("#version"));
    let merges = lines.map(str::to_string).collect();
    Ok((json.path.clone(), ids(&json, &json.map)?, merges))
}

/// The model of a `tokenizer.json`.
fn model(json: &Json) -> Result<Parts, ImportError> {
    let refuse = |why: &str| ImportError::Json { path: json.path.clone(), why: why.into() };
    let model = json.map.get("model").and_then(Value::as_object);
    let vocab = model.and_then(|m| m.get("vocab")).and_then(Value::as_object);
    let merges = model.and_then(|m| m.get("merges")).and_then(Value::as_array);
    let (Some(vocab), Some(merges)) = (vocab, merges) else {
        return Err(refuse("it has no model of byte pairs, with a vocab and merges"));
    };
    // Written as one string each, or as a pair.
    let merge = |v: &Value| match v {
        Value::String(pair) => Some(pair.clone()),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some(format!("{left} {right}")),
            _ => None,
        },
        _ => None,
    };
    let merges = merges.iter().map(merge).collect::<Option<Vec<_>>>().ok_or_else(|| refuse("a merge is not a pair"))?;
    let mut all = ids(json, vocab)?;
    // Beside a vocab.json they come last.
    for (token, id) in listed(json)? {
        if !vocab.contains_key(&token) {
            all.push((token, id));
        }
    }
    Ok((json.path.clone(), all, merges))
}

fn ids(json: &Json, vocab: &Map<String, Value>) -> Result<Vec<(String, u64)>, ImportError> {
    let id = |(token, id): (&String, &Value)| match id.as_u64() {
        Some(id) => Ok((token.clone(), id)),
        None => Err(ImportError::Json { path: json.path.clone(), why: format!("the id of {token:?} is {id}") }),
    };
    vocab.iter().map(id).collect()
}

/// The `added_tokens` of a `tokenizer.json`.
fn listed(json: &Json) -> Result<Vec<(String, u64)>, ImportError> {
    let list = json.map.get("added_tokens").and_then(Value::as_array);
    list.into_iter().flatten().map(|added| entry(json, added, added.get("id").and_then(Value::as_u64))).collect()
}

/// A token that was added, as an object with its text.
fn entry(json: &Json, added: &Value, id: Option<u64>) -> Result<(String, u64), ImportError> {
    let refuse = |why: String| ImportError::Json { path: json.path.clone(), why };
    let token = added.get("content").and_then(Value::as_str).zip(id);
    let (token, id) = token.ok_or_else(|| refuse("an added token has no content or id".into()))?;
    if added.get("single_word") == Some(&Value::Bool(true)) {
        return Err(refuse(format!(
            "the added token {token:?} is one only as a whole word (single_word), which is not supported"
        )));
    }
    Ok((token.into(), id))
}

/// What was added to the vocabulary, wherever transformers writes it.
fn added(folder: &Path, whole: Option<&Json>, special: &Special) -> Result<Vec<(String, u64)>, ImportError> {
    let path = folder.join("added_tokens.json");
    let mut all = match path.is_file() {
        true => {
            let json = Json::open(&path)?;
            ids(&json, &json.map)?
        }
        false => Vec::new(),
    };
    all.extend(whole.map(listed).transpose()?.unwrap_or_default());
    for json in &special.0 {
        for (id, added) in json.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten() {
            all.push(entry(json, added, id.parse().ok())?);
        }
    }
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for (token, id) in all {
        let refuse =
            |why: &str| ImportError::Json { path: folder.into(), why: format!("the added token {token:?} {why}") };
        if token.is_empty() {
            return Err(refuse("has no text"));
        }
        if found.insert(token.clone(), id).is_some_and(|other| other != id) {
            return Err(refuse("has two ids in its files"));
        }
    }
    Ok(found.into_iter().collect())
}

/// Which tokens are special: `tokenizer_config.json`, and before transformers wrote that, `special_tokens_map.json`.
struct Special(Vec<Json>);

impl Special {
    fn open(folder: &Path) -> Result<Self, ImportError> {
        let names = ["tokenizer_config.json", "special_tokens_map.json"];
        let paths = names.iter().map(|name| folder.join(name)).filter(|path| path.is_file());
        paths.map(|path| Json::open(&path)).collect::<Result<_, _>>().map(Self)
    }

    /// Written as a string, or as an object with its text.
    fn token(&self, key: &str) -> Result<Option<String>, ImportError> {
        let Some((json, value)) = self.0.iter().find_map(|json| json.get(key).map(|value| (json, value))) else {
            return Ok(None);
        };
        content(value).map(Some).ok_or_else(|| json.wrong(key, "a token"))
    }

    /// Further ones.
    fn additional(&self) -> Result<Vec<String>, ImportError> {
        let key = "additional_special_tokens";
        let lists = self.0.iter().filter_map(|json| json.get(key).map(|value| (json, value)));
        let tokens = lists.flat_map(|(json, value)| {
            let list = value.as_array().map_or(vec![None], |list| list.iter().map(content).collect());
            list.into_iter().map(move |token| token.ok_or_else(|| json.wrong(key, "a list of tokens")))
        });
        tokens.collect()
    }

    /// `model_max_length`, if it is not the number that stands for no limit.
    fn length(&self) -> Result<Option<usize>, ImportError> {
        let key = "model_max_length";
        let Some((json, value)) = self.0.iter().find_map(|json| json.get(key).map(|value| (json, value))) else {
            return Ok(None);
        };
        let length = value.as_f64().filter(|n| *n >= 1.0).ok_or_else(|| json.wrong(key, "a number of tokens"))?;
        Ok((length <= MAX_TOKENS as f64).then_some(length as usize))
    }
}

fn content(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value.get("content").and_then(Value::as_str)).map(str::to_string)
}
