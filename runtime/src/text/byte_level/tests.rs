//! Against Qwen's tokenizer of transformers, with the published vocabulary where it is at hand.

use super::*;
use crate::text::tests::{data_of, fixtures};
use alloc::format;
use alloc::vec;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn published() -> Option<ByteLevel> {
    let folder = data_of("qwen")?;
    let mut tokens: Vec<(String, u64)> = json(&folder.join("vocab.json"))
        .as_object()
        .unwrap()
        .iter()
        .map(|(token, id)| (token.clone(), id.as_u64().unwrap()))
        .collect();
    let config = json(&folder.join("tokenizer_config.json"));
    let added: Vec<(String, u64)> = config["added_tokens_decoder"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(id, token)| (token["content"].as_str().unwrap().to_owned(), id.parse().unwrap()))
        .collect();
    tokens.extend(added.iter().cloned());
    tokens.sort_by_key(|(_, id)| *id);
    let merges = fs::read_to_string(folder.join("merges.txt")).unwrap();
    let vocabulary = Vocabulary {
        tokens: tokens.into_iter().map(|(token, _)| token).collect(),
        merges: merges.lines().filter(|line| !line.starts_with("#version")).map(str::to_owned).collect(),
        added: added.into_iter().map(|(token, _)| token).collect(),
    };
    Some(ByteLevel::new(&vocabulary).unwrap())
}

/// Seen red with all white space before a word kept together, and with texts that are not composed.
#[test]
fn golden_qwen_tokens() {
    let path = fixtures().join("qwen-tokens.json");
    let (Some(tokenizer), true) = (published(), path.is_file()) else { return };
    assert_eq!(tokenizer.tokens(), 151_669);
    let rows = json(&path);
    let rows = rows["rows"].as_array().unwrap();
    let mut wrong = vec![];
    for row in rows {
        let want: Vec<u32> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let text = row["text"].as_str().unwrap();
        let found = tokenizer.encode(text);
        if found != want {
            wrong.push(format!("{text:?}: {found:?}, not {want:?}"));
        }
    }
    assert!(
        wrong.is_empty() && !rows.is_empty(),
        "{} of {}: {:#?}",
        wrong.len(),
        rows.len(),
        &wrong[..wrong.len().min(5)]
    );
}

/// By the pattern, step by step. Seen red with digits in runs.
#[test]
fn pieces_are_the_patterns() {
    let texts: [(&str, &[&str]); 9] = [
        ("don't STOP it'S 'Ve", &["don", "'t", " STOP", " it", "'S", " '", "Ve"]),
        ("a  b", &["a", " ", " b"]),
        ("x \n\n y\t\t", &["x", " \n\n", " y", "\t\t"]),
        ("3.14 %!\r\n?", &["3", ".", "1", "4", " %!\r\n", "?"]),
        ("\u{a0}\u{a0}é_é", &["\u{a0}", "\u{a0}é", "_é"]),
        ("'ſ", &["'ſ"]),
        ("   ", &["   "]),
        ("  12", &[" ", " ", "1", "2"]),
        ("", &[]),
    ];
    for (text, want) in texts {
        assert_eq!(pieces(text).collect::<Vec<_>>(), want, "{text:?}");
    }
}

/// The alphabet of bytes, and the rule that `a` and `b` are one token.
fn small() -> Vocabulary {
    let mut tokens: Vec<String> = (0..=255).map(|byte| String::from(crate::text::visible(byte))).collect();
    tokens.extend(["ab", "<|end|>"].map(String::from));
    Vocabulary { tokens, merges: vec!["a b".into()], added: vec!["<|end|>".into()] }
}

#[test]
fn added_tokens_are_found_in_any_text() {
    let tokenizer = ByteLevel::new(&small()).unwrap();
    assert_eq!(tokenizer.encode("ab<|end|>ba"), [256, 257, 98, 97]);
    assert_eq!(tokenizer.encode("<|END|>").len(), 7);
    // Composed: two bytes of U+00E9.
    assert_eq!(tokenizer.encode("e\u{301}"), [0xc3, 0xa9]);
}

#[test]
fn vocabularies_that_are_none_are_refused() {
    let without = |i: usize| {
        let mut vocabulary = small();
        vocabulary.tokens[i] = "nothing".into();
        ByteLevel::new(&vocabulary).unwrap_err()
    };
    assert!(matches!(without(7), TextError::Byte { byte: 7, .. }));
    assert!(matches!(without(256), TextError::Unknown { .. }));
    assert!(matches!(without(257), TextError::Added { .. }));
    let twice = Vocabulary { tokens: [small().tokens, vec!["ab".into()]].concat(), ..small() };
    assert!(matches!(ByteLevel::new(&twice), Err(TextError::Twice { .. })));
}
