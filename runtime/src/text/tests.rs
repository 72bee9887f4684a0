//! Against `CLIPTokenizer` of transformers, with the published vocabulary where it is at hand.

use super::*;
use alloc::vec::Vec;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::{env, eprintln, fs};

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

fn tokenizer(vocabulary: &Vocabulary, pad: &str) -> Tokenizer {
    let id = |token| vocabulary.id(token).unwrap();
    Tokenizer::new(vocabulary, Special { start: id(START), end: id(END), pad: id(pad), length: 77 }).unwrap()
}

/// The folder of shared data, or `None` saying so.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = env::var_os("NIJIMI_DATA").map_or(beside, PathBuf::from).join("clip");
    if data.is_dir() {
        return Some(data);
    }
    eprintln!("skipped: no vocabulary in {} (set NIJIMI_DATA)", data.display());
    None
}

fn clip() -> Option<Vocabulary> {
    let data = data()?;
    let read = |name| fs::read_to_string(data.join(name)).unwrap();
    Some(Vocabulary::from_vocab_and_merges(&read("vocab.json"), &read("merges.txt")).unwrap())
}

/// The folder of fixtures.
fn fixtures() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    env::var_os("NIJIMI_FIXTURES").map_or(own, PathBuf::from)
}

/// Seen red without composition, with the final sigma of `str::to_lowercase`, with runs of digits as one piece, with
/// letters by `char::is_alphabetic`, with merges from the right, and with windows that are cut one token later.
#[test]
fn every_row_of_the_reference() {
    let Some(vocabulary) = clip() else { return };
    let tokenizer = tokenizer(&vocabulary, END);
    let rows: Value = serde_json::from_str(&fs::read_to_string(fixtures().join("clip-tokens.json")).unwrap()).unwrap();
    let rows = rows["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let ids: Vec<u32> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.window(row["text"].as_str().unwrap()), ids, "{}", row["text"]);
    }
}
