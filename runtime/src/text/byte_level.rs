//! Byte-pair encoding of all bytes of a text, blanks too, as Qwen's language models read it (Radford et al. 2019, "Language
//! Models are Unsupervised Multitask Learners", section 2.2).

use super::bpe::Bpe;
use super::normalize::composed;
use super::split::{Class, class};
use super::tokenizer::{Word, cut, longest_first, numbered};
use super::{TextError, Vocabulary};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Qwen's tokenizer; immutable.
#[derive(Clone, Debug)]
pub struct ByteLevel {
    bpe: Bpe,
    /// The texts of tokens that were added, which are ids wherever they stand, also in what a user writes; the longest first.
    added: Vec<Word>,
    /// Number of ids.
    tokens: usize,
}

impl ByteLevel {
    /// A tokenizer of a vocabulary, whose added tokens are texts such as `<|im_start|>`.
    ///
    /// # Errors
    /// Tokens that come twice, a byte without a token, rules that are none or not of this vocabulary, added tokens outside of it.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, TextError> {
        let Vocabulary { tokens, merges, added } = vocabulary;
        let list: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let ids = numbered(&list)?;
        if let Some(byte) =
            (0..=255).find(|byte| !ids.contains_key(super::visible(*byte).encode_utf8(&mut [0; 4]) as &str))
        {
            return Err(TextError::Byte { byte, tokens: tokens.len() });
        }
        let word = |token: &String| match ids.get(token.as_str()).filter(|_| !token.is_empty()) {
            Some(id) => Ok((token.to_owned(), Vec::from([*id]))),
            None => Err(TextError::Added { token: token.to_owned(), tokens: tokens.len() }),
        };
        let mut added: Vec<Word> = added.iter().map(word).collect::<Result<_, _>>()?;
        longest_first(&mut added);
        let bpe = Bpe::new(&ids, merges.iter().map(String::as_str), "")?;
        Ok(Self { bpe, added, tokens: tokens.len() })
    }

    /// Number of tokens: no id is as large.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The ids of a text of any length.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        cut(text, &self.added, &mut out, |text, out| {
            let text: String = composed(text).into_iter().collect();
            // Every byte has a token, so that the one for those that have none is never used.
            pieces(&text).for_each(|piece| self.bpe.encode(piece, 0, out));
        });
        out
    }
}

/// Endings behind an apostrophe, in letters of any case.
const ENDINGS: [&str; 7] = ["s", "t", "re", "ve", "m", "ll", "d"];

/// The pieces of `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
/// (Qwen's `tokenizer.json`).
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (piece, after) = rest.split_at(first(rest)?);
        rest = after;
        Some(piece)
    })
}

/// Bytes of the first piece of a text; `None` of nothing.
fn first(text: &str) -> Option<usize> {
    let c = text.chars().next()?;
    let (own, behind) = (class(c), &text[c.len_utf8()..]);
    let is_line = |c: char| matches!(c, '\r' | '\n');
    // Bytes up to the first character of which that does not hold.
    let run = |text: &str, of: &dyn Fn(char) -> bool| text.find(|c| !of(c)).unwrap_or(text.len());
    let letters = |text: &str| run(text, &|c| class(c) == Class::Letter);
    if let Some(ending) = text.strip_prefix('\'').and_then(|rest| ENDINGS.iter().find(|e| begins(rest, e))) {
        return Some(1 + behind.chars().take(ending.len()).map(char::len_utf8).sum::<usize>());
    }
    if own == Class::Letter {
        return Some(letters(text));
    }
    // Any character before letters but an end of line or a digit goes with them.
    if own != Class::Number && !is_line(c) && letters(behind) > 0 {
        return Some(c.len_utf8() + letters(behind));
    }
    if own == Class::Number {
        return Some(c.len_utf8());
    }
    let blank = usize::from(c == ' ');
    let marks = run(&text[blank..], &|c| class(c) == Class::Other);
    if marks > 0 {
        let end = blank + marks;
        return Some(end + run(&text[end..], &is_line));
    }
    // White space: up to the last end of line; else all but the last, which goes with what follows; else all.
    let space = run(text, &char::is_whitespace);
    if let Some(at) = text[..space].rfind(is_line) {
        return Some(at + 1);
    }
    let last = text[..space].chars().next_back().map_or(0, char::len_utf8);
    Some(if space == text.len() || space == last { space } else { space - last })
}

/// Whether a text begins with an ending, in any case; a long s is an s.
fn begins(text: &str, ending: &str) -> bool {
    let mut letters = text.chars().map(|c| if c == 'ſ' { 's' } else { c.to_ascii_lowercase() });
    ending.chars().all(|c| letters.next() == Some(c))
}

#[cfg(test)]
mod tests;
