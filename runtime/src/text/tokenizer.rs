//! The tokenizer: special tokens, pieces, and windows of one length.

use super::bpe::Bpe;
use super::normalize::normalize;
use super::split::pieces;
use super::{TextError, Vocabulary};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

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
    /// The texts of the special tokens, which are ids wherever they stand as they are written; the longest first.
    texts: Vec<Word>,
    /// Words that were added, which are ids wherever they stand, however they are written; the longest first.
    added: Vec<Word>,
    /// Number of ids.
    tokens: usize,
    comma: Option<u32>,
}

/// What ends a word in CLIP's vocabulary.
const END: &str = "</w>";

/// A text, and the ids that stand for it.
pub(super) type Word = (String, Vec<u32>);

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
        let ids = numbered(&tokens)?;
        let mut texts = Vec::new();
        for (what, id) in [("start", special.start), ("end", special.end), ("padding", special.pad)] {
            let text = tokens.get(id as usize).filter(|text| !text.is_empty());
            let wrong = || TextError::Special { what, found: id.to_string(), tokens: tokens.len() };
            texts.push(((*text.ok_or_else(wrong)?).to_owned(), Vec::from([id])));
        }
        longest_first(&mut texts);
        let mut words = BTreeMap::new();
        for token in added {
            let id = ids.get(token).filter(|_| !token.is_empty());
            let lost = || TextError::Added { token: token.to_owned(), tokens: tokens.len() };
            words.insert(token, *id.ok_or_else(lost)?);
        }
        // A word of several vectors is several tokens, of which a text says the first (diffusers,
        // `TextualInversionLoaderMixin.maybe_convert_prompt`).
        let following =
            |word: &str| (1..).map_while(|i| words.get(part(word, i).as_str()).copied()).collect::<Vec<_>>();
        let all = |(word, id): (&&str, &u32)| (normalize(word), [&[*id], &following(word)[..]].concat());
        let mut added: Vec<Word> = words.iter().map(all).collect();
        longest_first(&mut added);
        let comma = ids.get(",</w>").copied();
        Ok(Self { bpe: Bpe::new(&ids, merges, END)?, special, texts, added, tokens: tokens.len(), comma })
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

    /// Adds a word, which stands for all of `ids`; the second token alone is called `word_1`, and so on, as diffusers has it.
    ///
    /// # Errors
    /// A word of nothing, or one that was added already.
    pub fn add(&mut self, word: &str, ids: Range<u32>) -> Result<(), TextError> {
        for (i, id) in ids.clone().enumerate() {
            let name = if i == 0 { word.to_owned() } else { part(word, i) };
            let text = normalize(&name);
            if text.trim().is_empty() {
                return Err(TextError::Added { token: word.to_owned(), tokens: self.tokens });
            }
            if let Some((_, ids)) = self.texts.iter().chain(&self.added).find(|(known, _)| *known == text) {
                let first = ids.first().map_or(0, |id| *id as usize);
                return Err(TextError::Twice { token: name, first, second: id as usize });
            }
            self.added.push((text, if i == 0 { ids.clone().collect() } else { Vec::from([id]) }));
        }
        self.tokens = self.tokens.max(ids.end as usize);
        longest_first(&mut self.added);
        Ok(())
    }

    /// The ids of a text of any length, without start and end. The texts of special and of added tokens count as those tokens,
    /// so in a model that pads with `!`, each `!` is the padding: as in transformers. Added ones count in capitals too, and
    /// inside of words.
    ///
    /// A run of a million letters takes about a second; no text is refused.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        cut(text, &self.texts, &mut out, |text, out| {
            cut(&normalize(text), &self.added, out, |text, out| {
                pieces(text).for_each(|piece| self.bpe.encode(piece, self.special.end, out));
            });
        });
        out
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

/// What the token behind the first of a word's is called.
fn part(word: &str, i: usize) -> String {
    alloc::format!("{word}_{i}")
}

/// Tokens with their ids, each once.
pub(super) fn numbered<'a>(tokens: &[&'a str]) -> Result<BTreeMap<&'a str, u32>, TextError> {
    let mut ids = BTreeMap::new();
    for (second, token) in tokens.iter().copied().enumerate() {
        if let Some(first) = ids.insert(token, second as u32) {
            return Err(TextError::Twice { token: token.to_owned(), first: first as usize, second });
        }
    }
    Ok(ids)
}

pub(super) fn longest_first(words: &mut [Word]) {
    words.sort_by_key(|(text, _)| core::cmp::Reverse(text.len()));
}

/// Appends the ids of `words` wherever they stand: the leftmost, and of those at one place the longest; and what `between`
/// makes of the text between them.
pub(super) fn cut(text: &str, words: &[Word], out: &mut Vec<u32>, mut between: impl FnMut(&str, &mut Vec<u32>)) {
    let mut from = 0;
    // Where each is next: found once for each time that it stands there.
    let mut next: Vec<Option<usize>> = words.iter().map(|(word, _)| text.find(word.as_str())).collect();
    loop {
        for ((word, _), next) in words.iter().zip(&mut next) {
            if next.is_some_and(|at| at < from) {
                *next = text[from..].find(word.as_str()).map(|at| from + at);
            }
        }
        let first = next.iter().enumerate().filter_map(|(i, at)| Some((i, (*at)?))).min_by_key(|(_, at)| *at);
        let Some((i, at)) = first else { return between(&text[from..], out) };
        between(&text[from..at], out);
        out.extend(&words[i].1);
        from = at + words[i].0.len();
    }
}
