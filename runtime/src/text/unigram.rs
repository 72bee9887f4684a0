//! Pieces of words by their probabilities, as T5 reads a text (Kudo 2018, "Subword Regularization", section 3.2; the files are
//! SentencePiece's, Kudo and Richardson 2018).

use super::TextError;
use super::tokenizer::{Word, cut, longest_first, numbered};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

mod charsmap;
#[cfg(test)]
mod tests;

pub use charsmap::CharsMap;

/// What begins a word, in place of the blank before it.
const BLANK: char = '\u{2581}';
/// How far below the least probable piece a character lies that no piece has (SentencePiece's `kUnkPenalty`).
const UNKNOWN_PENALTY: f64 = 10.0;

/// A vocabulary of pieces.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pieces {
    /// Their texts, by id, `▁` for the blank before a word.
    pub tokens: Vec<String>,
    /// The logarithms of their probabilities.
    pub scores: Vec<f32>,
    /// Those that are no pieces, but ids wherever they stand, as they are written.
    pub added: Vec<String>,
    /// How characters are written alike before they are looked up (`precompiled_charsmap`); empty: as they are.
    pub charsmap: Vec<u8>,
    /// The id of what no piece has.
    pub unknown: u32,
    /// The id behind a text.
    pub end: u32,
    /// What fills the rest.
    pub pad: u32,
}

/// T5's tokenizer; immutable.
#[derive(Clone, Debug)]
pub struct Unigram {
    pieces: BTreeMap<String, (u32, f64)>,
    /// Bytes of the longest piece.
    longest: usize,
    added: Vec<Word>,
    charsmap: CharsMap,
    unknown: u32,
    unknown_score: f64,
    end: u32,
    pad: u32,
    tokens: usize,
}

impl Unigram {
    /// A tokenizer of such a vocabulary.
    ///
    /// # Errors
    /// Tokens that come twice, scores that are not one a token or no numbers, special and added tokens outside of it, a table of
    /// characters that is none.
    pub fn new(vocabulary: &Pieces) -> Result<Self, TextError> {
        let Pieces { tokens, scores, added, .. } = vocabulary;
        let list: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let ids = numbered(&list)?;
        for (what, id) in [("unknown", vocabulary.unknown), ("end", vocabulary.end), ("padding", vocabulary.pad)] {
            if id as usize >= tokens.len() {
                return Err(TextError::Special { what, found: id.to_string(), tokens: tokens.len() });
            }
        }
        if scores.len() != tokens.len() || scores.iter().any(|score| !score.is_finite()) {
            return Err(TextError::Scores { scores: scores.len(), tokens: tokens.len() });
        }
        let word = |token: &String| match ids.get(token.as_str()).filter(|_| !token.is_empty()) {
            Some(id) => Ok((token.to_owned(), vec![*id])),
            None => Err(TextError::Added { token: token.to_owned(), tokens: tokens.len() }),
        };
        let mut words: Vec<Word> = added.iter().map(word).collect::<Result<_, _>>()?;
        longest_first(&mut words);
        let is_piece =
            |id: u32, token: &str| id != vocabulary.unknown && !token.is_empty() && !added.iter().any(|a| a == token);
        let pieces: BTreeMap<String, (u32, f64)> = ids
            .into_iter()
            .filter(|(token, id)| is_piece(*id, token))
            .map(|(token, id)| (token.to_owned(), (id, f64::from(scores[id as usize]))))
            .collect();
        let lowest = pieces.values().fold(0.0f64, |lowest, (_, score)| lowest.min(*score));
        Ok(Self {
            longest: pieces.keys().map(String::len).max().unwrap_or(0),
            pieces,
            added: words,
            charsmap: CharsMap::new(&vocabulary.charsmap)?,
            unknown: vocabulary.unknown,
            unknown_score: lowest - UNKNOWN_PENALTY,
            end: vocabulary.end,
            pad: vocabulary.pad,
            tokens: tokens.len(),
        })
    }

    /// Number of tokens: no id is as large.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The ids of a text of any length, and the one that ends it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        cut(text, &self.added, &mut out, |text, out| {
            for word in self.charsmap.normalize(text).split_whitespace() {
                self.word(&alloc::format!("{BLANK}{word}"), out);
            }
        });
        out.push(self.end);
        out
    }

    /// `length` ids of a text: cut before the one that ends it, or filled up.
    pub fn window(&self, text: &str, length: usize) -> Vec<u32> {
        let mut ids = self.encode(text);
        if ids.len() > length {
            ids.truncate(length.saturating_sub(1));
            ids.push(self.end);
        }
        ids.resize(length, self.pad);
        ids
    }

    /// The most probable pieces of a word (Viterbi's algorithm); neighbours that no piece has are one unknown token.
    fn word(&self, word: &str, out: &mut Vec<u32>) {
        // Of each place in the word that a piece ends at: the best score up to it, and that piece's beginning and id.
        let mut best: Vec<Option<(f64, usize, u32)>> = vec![None; word.len() + 1];
        best[0] = Some((0.0, 0, 0));
        let ends: Vec<usize> = word.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
        let mut from = 0;
        for (i, &next) in ends.iter().enumerate() {
            let so_far = best[from].map_or(f64::NEG_INFINITY, |(score, ..)| score);
            let mut whole_character = false;
            for &to in ends[i..].iter().take_while(|to| **to - from <= self.longest) {
                let Some(&(id, score)) = self.pieces.get(&word[from..to]) else { continue };
                whole_character |= to == next;
                better(&mut best[to], (so_far + score, from, id));
            }
            if !whole_character {
                better(&mut best[next], (so_far + self.unknown_score, from, self.unknown));
            }
            from = next;
        }
        let (mut ids, mut at) = (Vec::new(), word.len());
        while at > 0 {
            let Some((_, from, id)) = best[at] else { break };
            if id != self.unknown || ids.last() != Some(&id) {
                ids.push(id);
            }
            at = from;
        }
        out.extend(ids.into_iter().rev());
    }
}

fn better(best: &mut Option<(f64, usize, u32)>, new: (f64, usize, u32)) {
    if best.is_none_or(|(score, ..)| new.0 > score) {
        *best = Some(new);
    }
}
