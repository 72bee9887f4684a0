//! Byte-pair encoding of one piece of text.

use super::TextError;
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// The pairs that are joined, in ranks, over the ids of a vocabulary.
#[derive(Clone, Debug)]
pub(super) struct Bpe {
    /// The ids of each byte, inside a piece and at its end.
    bytes: Vec<[Option<u32>; 2]>,
    /// Rank and result of a pair.
    merges: BTreeMap<(u32, u32), (u32, u32)>,
}

/// The character that stands for a byte: itself where it can be seen, the next free one from U+0100 on otherwise (GPT-2,
/// `bytes_to_unicode`).
pub fn visible(byte: u8) -> char {
    let seen = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if seen(byte) {
        return char::from(byte);
    }
    let hidden = (0..byte).filter(|b| !seen(*b)).count() as u32;
    char::from_u32(0x100 + hidden).unwrap_or(char::REPLACEMENT_CHARACTER)
}

impl Bpe {
    /// `ids` has the vocabulary's tokens; `merges` are lines `left right`, the first joined first; `end` is written behind the last
    /// symbol of each piece, nothing or what ends a word.
    pub fn new<'a>(
        ids: &BTreeMap<&str, u32>,
        merges: impl Iterator<Item = &'a str>,
        end: &str,
    ) -> Result<Self, TextError> {
        let bytes = (0..=255).map(|byte| {
            let c = visible(byte);
            let id = |token: String| ids.get(token.as_str()).copied();
            [id(String::from(c)), id(format!("{c}{end}"))]
        });
        let mut rules = BTreeMap::new();
        for (rule, line) in merges.enumerate() {
            let parts = line.split_once(' ').filter(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains(' '));
            let (a, b) = parts.ok_or_else(|| TextError::Merge { rule, found: line.to_owned() })?;
            let id = |token: &str| {
                ids.get(token).copied().ok_or_else(|| TextError::Unknown { rule, token: token.to_owned() })
            };
            // Of a pair that comes twice, the last rank counts, as in the reference.
            rules.insert((id(a)?, id(b)?), (rule as u32, id(&format!("{a}{b}"))?));
        }
        Ok(Self { bytes: bytes.collect(), merges: rules })
    }

    /// Appends the ids of a piece; `unknown` is that of a byte which the vocabulary lacks.
    pub fn encode(&self, piece: &str, unknown: u32, out: &mut Vec<u32>) {
        let last = piece.len().saturating_sub(1);
        let symbol = |(i, byte): (usize, u8)| self.bytes[usize::from(byte)][usize::from(i == last)].unwrap_or(unknown);
        let mut word = Word {
            symbols: piece.bytes().enumerate().map(symbol).collect(),
            next: (1..=piece.len()).collect(),
            previous: (0..piece.len()).map(|i| i.wrapping_sub(1)).collect(),
        };
        // Pairs by rank, then from the left. A pair whose symbols have changed is passed over when its turn comes.
        let mut heap = BinaryHeap::new();
        let offer = |heap: &mut BinaryHeap<_>, word: &Word, left: usize| {
            if let Some(pair) = word.pair(left)
                && let Some(&(rank, id)) = self.merges.get(&pair)
            {
                heap.push(Reverse((rank, left, pair, id)));
            }
        };
        (0..last).for_each(|left| offer(&mut heap, &word, left));
        while let Some(Reverse((_, left, pair, id))) = heap.pop() {
            if word.pair(left) != Some(pair) {
                continue;
            }
            word.join(left, id);
            if let Some(before) = word.before(left) {
                offer(&mut heap, &word, before);
            }
            offer(&mut heap, &word, left);
        }
        out.extend(word.symbols.into_iter().filter(|id| *id != Word::GONE));
    }
}

/// A piece as a list of symbols, linked, so that joining two costs nothing more in a long word.
struct Word {
    symbols: Vec<u32>,
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Word {
    /// In place of what was joined to its left neighbour; no vocabulary is so large.
    const GONE: u32 = u32::MAX;

    fn pair(&self, left: usize) -> Option<(u32, u32)> {
        let pair = (self.symbols[left], *self.symbols.get(self.next[left])?);
        (pair.0 != Self::GONE).then_some(pair)
    }

    fn before(&self, i: usize) -> Option<usize> {
        Some(self.previous[i]).filter(|p| *p < self.symbols.len())
    }

    fn join(&mut self, left: usize, id: u32) {
        let right = self.next[left];
        (self.symbols[left], self.symbols[right]) = (id, Self::GONE);
        self.next[left] = self.next[right];
        if let Some(previous) = self.previous.get_mut(self.next[right]) {
            *previous = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GPT-2's table: 256 different characters, of which 188 are the bytes themselves.
    #[test]
    fn every_byte_has_a_character_of_its_own() {
        let all: alloc::collections::BTreeSet<char> = (0..=255).map(visible).collect();
        assert_eq!(all.len(), 256);
        assert_eq!((visible(b'a'), visible(b' '), visible(0), visible(0xad)), ('a', 'Ġ', 'Ā', 'Ń'));
        assert_eq!((0..=255).filter(|b| u32::from(visible(*b)) == u32::from(*b)).count(), 188);
    }
}
