//! Against T5's tokenizer of transformers, where its vocabulary is at hand.

use super::*;
use crate::text::tests::fixtures;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

/// The bytes that base64 stands for.
fn base64(text: &str) -> Vec<u8> {
    let digit =
        |c: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|d| *d == c);
    let digits: Vec<usize> = text.bytes().filter_map(digit).collect();
    let four = |four: &[usize]| {
        let all = four.iter().fold(0, |all, digit| all << 6 | digit) << (6 * (4 - four.len()));
        [16, 8, 0].map(|shift| (all >> shift) as u8).into_iter().take(four.len() - 1).collect::<Vec<_>>()
    };
    digits.chunks(4).flat_map(four).collect()
}

fn published(folder: &Path) -> Unigram {
    let all = json(&folder.join("tokenizer.json"));
    let (mut tokens, mut scores): (Vec<String>, Vec<f32>) = (Vec::new(), Vec::new());
    for piece in all["model"]["vocab"].as_array().unwrap() {
        tokens.push(piece[0].as_str().unwrap().into());
        scores.push(piece[1].as_f64().unwrap() as f32);
    }
    let added = all["added_tokens"].as_array().unwrap().iter().map(|added| added["content"].as_str().unwrap().into());
    let charsmap = base64(all["normalizer"]["precompiled_charsmap"].as_str().unwrap());
    Unigram::new(&Pieces { tokens, scores, added: added.collect(), charsmap, unknown: 2, end: 1, pad: 0 }).unwrap()
}

/// Against transformers, text by text. Seen red with the table of characters passed over: 4 of 55.
#[test]
fn golden_t5_tokens() {
    let (folder, rows) =
        (fixtures().join("pipelines/sd3t5/tokenizer_3"), fixtures().join("pipelines/sd3t5.tokens.json"));
    if !folder.is_dir() || !rows.is_file() {
        std::eprintln!("skipped: no {}", folder.display());
        return;
    }
    let (tokenizer, rows) = (published(&folder), json(&rows));
    let rows = rows["rows"].as_array().unwrap();
    let mut wrong = Vec::new();
    for row in rows {
        let want: Vec<u32> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let text = row["text"].as_str().unwrap();
        let found = tokenizer.encode(text);
        if found != want {
            wrong.push(alloc::format!("{text:?}: {found:?}, not {want:?}"));
        }
    }
    assert!(wrong.is_empty() && !rows.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
}

fn small() -> Pieces {
    let list = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -3.0),
        ("a", -2.0),
        ("b", -2.5),
        ("▁ab", -4.0),
        ("ab", -1.0),
    ];
    Pieces {
        tokens: list.map(|(token, _)| String::from(token)).into(),
        scores: list.map(|(_, score)| score).into(),
        added: vec!["</s>".into(), "<pad>".into(), "<unk>".into()],
        charsmap: Vec::new(),
        unknown: 2,
        end: 1,
        pad: 0,
    }
}

/// Seen red with the piece of the fewest letters, and with unknown neighbours apart.
#[test]
fn the_most_probable_pieces_are_taken() {
    let tokenizer = Unigram::new(&small()).unwrap();
    // ▁ab has -4, as ▁ and ab together; the first that is found stays.
    assert_eq!(tokenizer.encode("ab  aab"), [6, 3, 4, 7, 1]);
    assert_eq!(tokenizer.encode("xya</s>"), [3, 2, 4, 1, 1]);
    assert_eq!(tokenizer.window("ab ab ab", 3), [6, 6, 1]);
    assert_eq!(tokenizer.window("", 3), [1, 0, 0]);
}

#[test]
fn what_is_no_vocabulary_is_refused() {
    let refused = |edit: &dyn Fn(&mut Pieces)| {
        let mut pieces = small();
        edit(&mut pieces);
        Unigram::new(&pieces).unwrap_err()
    };
    assert!(matches!(refused(&|p| p.unknown = 8), TextError::Special { what: "unknown", .. }));
    assert!(matches!(refused(&|p| p.scores[3] = f32::NAN), TextError::Scores { scores: 8, tokens: 8 }));
    assert!(matches!(refused(&|p| p.scores.truncate(3)), TextError::Scores { scores: 3, .. }));
    assert!(matches!(refused(&|p| p.added.push("c".into())), TextError::Added { .. }));
    for bytes in [&[1][..], &[8, 0, 0, 0, 1, 2, 3], &[3, 0, 0, 0, 1, 2, 3], &[0, 0, 0, 0, 0xff]] {
        assert!(matches!(refused(&|p| p.charsmap = bytes.to_vec()), TextError::CharsMap { .. }), "{bytes:?}");
    }
    // An array that leads nowhere changes nothing.
    let mut pieces = small();
    pieces.charsmap = [&4u32.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
    assert_eq!(Unigram::new(&pieces).unwrap().encode("ab"), [6, 1]);
}
