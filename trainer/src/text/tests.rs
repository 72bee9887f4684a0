//! Against a naive learner and a naive encoder, on made-up words and on the emoji's captions.
use super::*;
use crate::data::captioned::{Captioned, Picture};
use crate::data::captions;
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::raw::text::Tokenizer;
use std::path::{Path, PathBuf};

/// Words as symbols, the way papers write it.
fn symbols(word: &str) -> Vec<String> {
    let mut symbols: Vec<String> = word.bytes().map(|b| visible(b).to_string()).collect();
    symbols.last_mut().expect("a word").push_str(END);
    symbols
}

fn joined(word: &[String], left: &str, right: &str) -> Vec<String> {
    let (mut out, mut i) = (Vec::new(), 0);
    while i < word.len() {
        let joins = word[i] == left && word.get(i + 1).is_some_and(|w| w == right);
        out.push(if joins { format!("{left}{right}") } else { word[i].clone() });
        i += if joins { 2 } else { 1 };
    }
    out
}

/// Counts all pairs anew for each merge.
fn naive(words: &[(&str, u64)], merges: usize) -> Vec<String> {
    let order = bytes();
    let mut tokens: Vec<String> = order.iter().map(|b| visible(*b).to_string()).collect();
    tokens.extend(order.iter().map(|b| format!("{}{END}", visible(*b))));
    let mut words: Vec<_> = words.iter().map(|(w, n)| (symbols(w), *n)).collect();
    let mut found = Vec::new();
    for _ in 0..merges {
        let mut counts = BTreeMap::new();
        for (word, n) in &words {
            for pair in word.windows(2) {
                let id = |token: &String| tokens.iter().position(|t| t == token).expect("a token");
                *counts.entry((id(&pair[0]), id(&pair[1]))).or_insert(0) += n;
            }
        }
        let Some((pair, n)) = counts.into_iter().max_by_key(|(pair, n)| (*n, Reverse(*pair))) else { break };
        if n < 2 {
            break;
        }
        let (left, right) = (tokens[pair.0].clone(), tokens[pair.1].clone());
        words.iter_mut().for_each(|(word, _)| *word = joined(word, &left, &right));
        found.push(format!("{left} {right}"));
        if !tokens.contains(&format!("{left}{right}")) {
            tokens.push(format!("{left}{right}"));
        }
    }
    found
}

/// Seen red with counts that are not taken down when a pair is joined, and with ties given to the higher ids.
#[test]
fn merges_are_those_of_the_naive_learner() {
    let mut draw = Stream::new(3, "words", 0);
    for _ in 0..6 {
        let word =
            |draw: &mut Stream| (0..1 + draw.below(9)).map(|_| b"abcd"[draw.below(4) as usize] as char).collect();
        let words: BTreeMap<String, u64> = (0..40).map(|_| (word(&mut draw), 1 + draw.below(5))).collect();
        let texts = words.iter().flat_map(|(w, n)| std::iter::repeat_n(w.clone(), *n as usize));
        let found = train(texts, 4096).expect("a vocabulary");
        let list: Vec<_> = words.iter().map(|(w, n)| (w.as_str(), *n)).collect();
        assert_eq!(found.merges, naive(&list, 4096));
        assert!(Tokenizer::new(&found, special(&found, 77)).is_ok(), "no token comes twice");
    }
}

#[test]
fn a_vocabulary_has_bytes_and_special_tokens_and_is_no_larger_than_asked_for() {
    let empty = train([""; 0], 1000).expect("a vocabulary");
    assert_eq!((empty.tokens.len(), empty.merges.len()), (SMALLEST, 0));
    assert_eq!((&empty.tokens[0][..], &empty.tokens[256][..], &empty.tokens[188][..]), ("!", "!</w>", "Ā"));
    assert_eq!(empty.tokens[512..], ["<|startoftext|>", "<|endoftext|>"]);
    let s = special(&empty, 16);
    assert_eq!((s.start, s.end, s.pad, s.length), (512, 513, 513, 16));
    let words = ["low lower lowest newer wider", "low new"];
    let small = train(words, SMALLEST + 3).expect("a vocabulary");
    assert_eq!((small.tokens.len(), small.merges.len()), (SMALLEST + 3, 3));
    assert_eq!(small.merges[0], "l o");
    let told = train(words, 100).unwrap_err().to_string();
    assert!(told.contains("514"), "{told}");
}

/// CLIP's own vocabulary begins with the same 512 tokens.
#[test]
fn bytes_are_in_clips_order() {
    let Some(dir) = data("clip") else { return };
    let vocab = std::fs::read_to_string(dir.join("vocab.json")).expect("a file");
    let vocab: serde_json::Value = serde_json::from_str(&vocab).expect("JSON");
    let ours = train([""; 0], SMALLEST).expect("a vocabulary");
    for (id, token) in ours.tokens[..512].iter().enumerate() {
        assert_eq!(vocab[token].as_u64(), Some(id as u64), "{token}");
    }
}

/// The published way: of all pairs in the word, the one of lowest rank is joined everywhere, until none is left.
fn reference(ranks: &HashMap<&str, usize>, ids: &HashMap<&str, u32>, text: &str) -> Vec<u32> {
    let mut out = Vec::new();
    for piece in pieces(&normalize(text)) {
        let mut word = symbols(piece);
        let best = |word: &[String]| {
            let rank = |w: &[String]| ranks.get(format!("{} {}", w[0], w[1]).as_str()).map(|r| (*r, w.to_vec()));
            word.windows(2).filter_map(rank).min()
        };
        while let Some((_, pair)) = best(&word) {
            word = joined(&word, &pair[0], &pair[1]);
        }
        out.extend(word.iter().map(|w| ids[w.as_str()]));
    }
    out
}

/// The folder of that name, if the data are on this machine (`NIJIMI_DATA`, or `../shared/data` beside the project).
fn data(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let dir = std::env::var_os("NIJIMI_DATA").map_or(beside, PathBuf::from).join(name);
    if !dir.is_dir() {
        eprintln!("skipped: {} is not there (NIJIMI_DATA names the folder of data)", dir.display());
        return None;
    }
    Some(dir)
}

#[test]
fn captions_are_encoded_as_by_the_reference_and_read_back() {
    let Some(dir) = data("emoji") else { return };
    let set = Captioned::load(&dir, 8, crate::data::captioned::Captions::Needed).expect("pictures");
    let vocabulary = train(captions::texts(&set.pictures), 4096).expect("a vocabulary");
    assert_eq!(vocabulary, train(captions::texts(&set.pictures), 4096).expect("a vocabulary"));
    let tokenizer = Tokenizer::new(&vocabulary, special(&vocabulary, 77)).expect("a tokenizer");
    let ranks: HashMap<&str, usize> = vocabulary.merges.iter().enumerate().map(|(i, m)| (m.as_str(), i)).collect();
    let ids: HashMap<&str, u32> = (0..).zip(&vocabulary.tokens).map(|(i, t)| (t.as_str(), i)).collect();
    let (mut words, mut whole, mut longest) = (0, 0, 0);
    let named: Vec<&Picture> = set.pictures.iter().filter(|p| !p.name.is_empty()).collect();
    for (i, picture) in (0..).zip(&named) {
        let text = captions::name(picture);
        let found = tokenizer.encode(&text);
        assert_eq!(found, reference(&ranks, &ids, &text), "{text}");
        let back: String = found.iter().map(|id| vocabulary.tokens[*id as usize].as_str()).collect();
        let expected: String =
            pieces(&normalize(&text)).flat_map(|p| symbols(p).concat().chars().collect::<Vec<_>>()).collect();
        assert_eq!(back, expected);
        assert!(!found.contains(&tokenizer.special().end), "{text}: nothing is unknown");
        for piece in pieces(&normalize(&text)) {
            words += 1;
            whole += usize::from(tokenizer.encode(piece).len() == 1);
        }
        let drawn = captions::caption(picture, &mut Stream::new(1, "caption", i));
        longest = longest.max(tokenizer.encode(&drawn).len());
    }
    let share = whole as f64 / words as f64;
    eprintln!(
        "{} tokens; {:.1} % of words in names are one; longest caption {longest}",
        vocabulary.tokens.len(),
        100.0 * share
    );
    assert!(share > 0.95 && longest <= 75, "{share} {longest}");
}
