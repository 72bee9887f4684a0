//! A normalized text cut into the pieces that are encoded one by one.

use super::unicode::{Kind, kind};

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Class {
    Blank,
    Letter,
    Number,
    Other,
}

pub(super) fn class(c: char) -> Class {
    if c.is_whitespace() {
        return Class::Blank;
    }
    // Not `char::is_alphabetic`, which counts some marks and symbols as letters.
    match kind(c) {
        Some(Kind::Letter) => Class::Letter,
        Some(Kind::Number) => Class::Number,
        None => Class::Other,
    }
}

/// In lower case, as a text has them that wrote them otherwise: not the special tokens, but cut from what surrounds them.
const MARKERS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

/// The pieces of `<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+` (CLIP,
/// `simple_tokenizer.py`), of which the first two are cut again, by the others.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    cut(text, &MARKERS).flat_map(|piece| cut(piece, &[]))
}

fn cut<'a>(text: &'a str, markers: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
    let mut rest = text;
    core::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c| class(c) == Class::Blank);
        let first = rest.chars().next()?;
        let run = |of: Class| rest.find(|c| class(c) != of).unwrap_or(rest.len());
        let fixed = markers.iter().chain(&CONTRACTIONS).find(|c| rest.starts_with(**c)).map(|c| c.len());
        let len = fixed.unwrap_or_else(|| match class(first) {
            Class::Number => first.len_utf8(),
            class => run(class),
        });
        let (piece, after) = rest.split_at(len);
        rest = after;
        Some(piece)
    })
}
