//! The tokenizer: special tokens, pieces, and windows of one length.

use super::bpe::Bpe;
use super::normalize::normalize;
use super::split::pieces;
use super::{TextError, Vocabulary};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The special tokens of a model, and the length of its windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Special {
    /// `<|startoftext|>`, before each window.
    pub start: u32,
    /// `<|endoftext|>`, behind the text; also what stands for a byte that the vocabulary lacks.
    pub end: u32,
    /// What fills a window behind the end: the end again in SD 1.x and SDXL's first encoder, `!` (0) in SD 2.x and SDXL's
    /// second.
    pub pad: u32,
    /// Ids of a window, 77.
    pub length: usize,
}

/// CLIP's tokenizer; immutable.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    bpe: Bpe,
    special: Special,
    /// Their texts, and those of added tokens, which are ids wherever they stand; the longest first.
    texts: Vec<(String, u32)>,
    /// Number of ids.
    tokens: usize,
    comma: Option<u32>,
}

impl Tokenizer {
    /// A tokenizer of a vocabulary.
    ///
    /// # Errors
    /// Tokens that come twice, rules that are none or not of this vocabulary, special ids and added tokens outside of it,
    /// windows shorter than 3.
    pub fn new(vocabulary: &Vocabulary, special: Special) -> Result<Self, TextError> {
        let Vocabulary { tokens, merges, added } = vocabulary;
        let [tokens, merges, added] = [tokens, merges, added].map(|list| list.iter().map(String::as_str));
        Self::from_parts(tokens, merges, added, special)
    }

    /// As [`Self::new`], from the parts as a file holds them: `tokens` by id, lines `left right`, first joined first, and
    /// texts of tokens that were added.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_parts<'a>(
        tokens: impl Iterator<Item = &'a str>,
        merges: impl Iterator<Item = &'a str>,
        added: impl Iterator<Item = &'a str>,
        special: Special,
    ) -> Result<Self, TextError> {
        if !(3..=65536).contains(&special.length) {
            return Err(TextError::Length { found: special.length });
        }
        let tokens: Vec<&str> = tokens.collect();
        let mut ids = BTreeMap::new();
        for (second, token) in tokens.iter().copied().enumerate() {
            if let Some(first) = ids.insert(token, second as u32) {
                return Err(TextError::Twice { token: token.to_owned(), first: first as usize, second });
            }
        }
        let mut texts = Vec::new();
        for (what, id) in [("start", special.start), ("end", special.end), ("padding", special.pad)] {
            let text = tokens.get(id as usize).filter(|text| !text.is_empty());
            let wrong = || TextError::Special { what, found: id.to_string(), tokens: tokens.len() };
            texts.push(((*text.ok_or_else(wrong)?).to_owned(), id));
        }
        for token in added {
            let id = ids.get(token).filter(|_| !token.is_empty());
            let lost = || TextError::Added { token: token.to_owned(), tokens: tokens.len() };
            texts.push((token.to_owned(), *id.ok_or_else(lost)?));
        }
        texts.sort_by_key(|(text, _)| core::cmp::Reverse(text.len()));
        let comma = ids.get(",</w>").copied();
        Ok(Self { bpe: Bpe::new(&ids, merges)?, special, texts, tokens: tokens.len(), comma })
    }

    /// Number of tokens: no id is as large.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The special tokens and the length of a window.
    pub fn special(&self) -> Special {
        self.special
    }

    /// A comma's id, where a prompt may be cut.
    pub(super) fn comma(&self) -> Option<u32> {
        self.comma
    }

    /// The ids of a text of any length, without start and end. The texts of special and of added tokens count as those tokens,
    /// so in a model that pads with `!`, each `!` is the padding: as in transformers.
    ///
    /// A run of a million letters takes about a second; no text is refused.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let (mut out, mut rest) = (Vec::new(), text);
        loop {
            // The leftmost, and of those at one place the longest, which `min_by_key` meets first.
            let found = self.texts.iter().filter_map(|(text, id)| Some((rest.find(text.as_str())?, text.len(), *id)));
            let first = found.min_by_key(|(at, ..)| *at);
            let (at, len, id) = first.map_or((rest.len(), 0, None), |(at, len, id)| (at, len, Some(id)));
            self.encode_plain(&rest[..at], &mut out);
            let Some(id) = id else { return out };
            out.push(id);
            rest = &rest[at + len..];
        }
    }

    fn encode_plain(&self, text: &str, out: &mut Vec<u32>) {
        pieces(&normalize(text)).for_each(|piece| self.bpe.encode(piece, self.special.end, out));
    }

    /// One window, `[start, text, end, padding ...]`; a text that is too long loses its end, as in diffusers.
    pub fn window(&self, text: &str) -> Vec<u32> {
        let mut ids = self.encode(text);
        ids.truncate(self.special.length - 2);
        self.fill(&ids)
    }

    /// The window of at most `length - 2` ids.
    pub(super) fn fill(&self, ids: &[u32]) -> Vec<u32> {
        let s = self.special;
        let mut window = Vec::with_capacity(s.length);
        window.push(s.start);
        window.extend(ids);
        window.push(s.end);
        window.resize(s.length, s.pad);
        window
    }
}
