//! CLIP's vocabulary, from `tokenizer.json`, or `vocab.json` and `merges.txt`.

use super::error::ImportError;
use super::json::{Json, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A byte-pair vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokenizer {
    /// Each token's text, in CLIP's spelling of bytes, by id.
    pub tokens: Vec<String>,
    /// The pairs that are joined, first come first served, as `left right`.
    pub merges: Vec<String>,
    /// The token before a text.
    pub bos: u32,
    /// The token after it.
    pub eos: u32,
    /// What fills the rest of a window.
    pub pad: u32,
}

/// Most tokens and merges: CLIP has 49,408.
const MAX_TOKENS: usize = 1 << 20;

impl Tokenizer {
    /// Whether the folder has one.
    pub fn is_in(folder: &Path) -> bool {
        folder.join("tokenizer.json").is_file() || folder.join("vocab.json").is_file()
    }

    /// Reads a folder's.
    ///
    /// # Errors
    /// Files that are missing, are not what their names say, or whose ids leave holes.
    pub fn open(folder: &Path) -> Result<Self, ImportError> {
        let path = folder.join("tokenizer.json");
        let (path, vocab, merges) = match folder.join("vocab.json").is_file() {
            true => pair(folder)?,
            false if path.is_file() => whole(path)?,
            false => {
                let remedy = "a tokenizer is vocab.json with merges.txt, or tokenizer.json: download the whole folder";
                return Err(ImportError::MissingFile { path: folder.join("vocab.json"), remedy });
            }
        };
        let refuse = |why: String| ImportError::Json { path: path.clone(), why };
        let mut tokens: Vec<Option<String>> = vec![None; vocab.len().min(MAX_TOKENS)];
        for (token, id) in vocab {
            let slot = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id));
            let slot =
                slot.ok_or_else(|| refuse(format!("the token {token:?} has the id {id}, but ids must be dense")))?;
            if let Some(other) = slot.replace(token.clone()) {
                return Err(refuse(format!("the tokens {other:?} and {token:?} have the same id {id}")));
            }
        }
        // As many ids as tokens, none twice: none is left out.
        let tokens: Vec<String> = tokens.into_iter().flatten().collect();
        if merges.len() > MAX_TOKENS || merges.iter().any(|m| m.split(' ').filter(|half| !half.is_empty()).count() != 2)
        {
            return Err(refuse("its merges are not pairs of tokens".into()));
        }
        let special = Special::open(folder)?;
        let id = |key: &str, default: &str| -> Result<u32, ImportError> {
            let token = special.token(key)?.unwrap_or_else(|| default.to_string());
            let id = tokens.iter().position(|t| *t == token);
            id.map(|id| id as u32).ok_or_else(|| refuse(format!("its vocabulary lacks the {key} {token:?}")))
        };
        let (bos, eos) = (id("bos_token", "<|startoftext|>")?, id("eos_token", "<|endoftext|>")?);
        let pad = id("pad_token", "<|endoftext|>")?;
        Ok(Self { tokens, merges, bos, eos, pad })
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

fn whole(path: PathBuf) -> Result<Parts, ImportError> {
    let json = Json::open(&path)?;
    let refuse = |why: &str| ImportError::Json { path: path.clone(), why: why.into() };
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
    let mut all = ids(&json, vocab)?;
    for added in json.map.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        let token = added.get("content").and_then(Value::as_str).zip(added.get("id").and_then(Value::as_u64));
        let (token, id) = token.ok_or_else(|| refuse("an added token has no content or id"))?;
        if !vocab.contains_key(token) {
            all.push((token.to_string(), id));
        }
    }
    Ok((path, all, merges))
}

fn ids(json: &Json, vocab: &serde_json::Map<String, Value>) -> Result<Vec<(String, u64)>, ImportError> {
    let id = |(token, id): (&String, &Value)| match id.as_u64() {
        Some(id) => Ok((token.clone(), id)),
        None => Err(ImportError::Json { path: json.path.clone(), why: format!("the id of {token:?} is {id}") }),
    };
    vocab.iter().map(id).collect()
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
        let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str));
        text.map(|text| Some(text.to_string())).ok_or_else(|| json.wrong(key, "a token"))
    }
}
