//! T5's vocabulary, from its `tokenizer.json`.

use super::error::ImportError;
use super::json::Json;
use nijimi_runtime::raw::text::Pieces;
use serde_json::Value;
use std::path::Path;

/// Most pieces: T5 has 32,100.
const MAX_PIECES: usize = 1 << 20;

/// Whether the folder has one.
pub(super) fn is_in(folder: &Path) -> bool {
    folder.join("tokenizer.json").is_file()
}

/// Reads a folder's.
///
/// # Errors
/// A file that is missing, or of another kind of tokenizer; what cannot be obeyed, by name.
pub(super) fn open(folder: &Path) -> Result<Pieces, ImportError> {
    let path = folder.join("tokenizer.json");
    if !path.is_file() {
        let remedy =
            "T5's vocabulary is read from its tokenizer.json, spiece.model alone is not: download the whole folder";
        return Err(ImportError::MissingFile { path, remedy });
    }
    let json = Json::open(&path)?;
    let refuse = |why: &str| ImportError::Json { path: path.clone(), why: why.into() };
    let model = &json.map.get("model").cloned().unwrap_or_default();
    if model["type"] != "Unigram" || model["byte_fallback"] == true {
        return Err(refuse("its model is not Unigram without bytes: it is not T5's, but of another kind"));
    }
    let pair = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_f64()? as f32));
    let vocabulary = model["vocab"].as_array().filter(|list| list.len() <= MAX_PIECES);
    let pairs: Option<Vec<(String, f32)>> = vocabulary.and_then(|list| list.iter().map(pair).collect());
    let (tokens, scores): (Vec<String>, Vec<f32>) =
        pairs.ok_or_else(|| refuse("its vocab is no list of pieces and scores"))?.into_iter().unzip();
    let added = json.map.get("added_tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut names = Vec::new();
    for token in added {
        let (Some(content), Some(id)) = (token["content"].as_str(), token["id"].as_u64()) else {
            return Err(refuse("one of its added_tokens has no content or no id"));
        };
        if tokens.get(id as usize).is_none_or(|own| own != content) {
            return Err(refuse(&format!("the added token {content:?} has the id {id}, where its vocab has another")));
        }
        names.push(content.to_owned());
    }
    let id = |token: &str| {
        let at = tokens.iter().position(|own| own == token).map(|at| at as u32);
        at.ok_or_else(|| refuse(&format!("its vocab lacks {token}")))
    };
    let unknown = model["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok());
    Ok(Pieces {
        unknown: unknown.ok_or_else(|| refuse("it has no unk_id"))?,
        end: id("</s>")?,
        pad: id("<pad>")?,
        charsmap: charsmap(&json, &path)?,
        added: names,
        tokens,
        scores,
    })
}

/// How characters are written alike, in base64.
fn charsmap(json: &Json, path: &Path) -> Result<Vec<u8>, ImportError> {
    let refuse = |why: &str| ImportError::Json { path: path.into(), why: why.into() };
    let Some(normalizer) = json.get("normalizer") else { return Ok(Vec::new()) };
    let only = match normalizer["normalizers"].as_array().map(Vec::as_slice) {
        None => normalizer,
        Some([only]) => only,
        Some(_) => return Err(refuse("its normalizer has several steps, which T5's has not")),
    };
    let text = only["precompiled_charsmap"].as_str().filter(|_| only["type"] == "Precompiled");
    let text = text.ok_or_else(|| refuse("its normalizer is not Precompiled, as T5's is"))?;
    base64(text).ok_or_else(|| refuse("its precompiled_charsmap is not base64"))
}

/// The bytes that base64 stands for (RFC 4648, section 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut out = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0u32;
        for &c in four {
            bits = bits << 6 | u32::from(digit(c)?);
        }
        bits <<= 6 * (4 - four.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648's own.
    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64("+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
        assert!(base64("Zm9*").is_none());
    }
}
