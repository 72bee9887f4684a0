//! A vocabulary of one's own: byte-pair encoding trained on captions, in the spelling of CLIP's (Sennrich et al. 2016,
//! "Neural Machine Translation of Rare Words with Subword Units"; Radford et al. 2021), so that the runtime's tokenizer
//! reads it as it reads CLIP's.
use crate::error::{Error, Result};
use nijimi_runtime::raw::text::{Special, Vocabulary, normalize, pieces, visible};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

/// Bytes, bytes at the end of a word, and the two special tokens: what every vocabulary has.
pub const SMALLEST: usize = 256 + 256 + 2;
/// What tokens at the end of a word have behind them.
const END: &str = "</w>";

/// Trains a vocabulary of at most `size` tokens: 256 bytes, the same at the end of a word, one token a merge, then
/// `<|startoftext|>` and `<|endoftext|>`. The commonest pair is joined first; of equally common ones that of the lower
/// ids. Pairs that come only once are not joined, so the vocabulary may be smaller than asked for.
///
/// # Errors
/// A size below [`SMALLEST`] or above 65536.
pub fn train<S: AsRef<str>>(texts: impl IntoIterator<Item = S>, size: usize) -> Result<Vocabulary> {
    if !(SMALLEST..=1 << 16).contains(&size) {
        let what = format!("a vocabulary of {size} tokens: it must have {SMALLEST} (the bytes) to 65536");
        return Err(Error::Usage(what));
    }
    let mut counts = BTreeMap::new();
    for text in texts {
        for piece in pieces(&normalize(text.as_ref())) {
            *counts.entry(piece.to_owned()).or_insert(0u64) += 1;
        }
    }
    let order = bytes();
    let mut tokens: Vec<String> = order.iter().map(|b| visible(*b).to_string()).collect();
    tokens.extend(order.iter().map(|b| format!("{}{END}", visible(*b))));
    let mut learner = Learner::new(&order, &counts);
    let mut ids: HashMap<String, u32> = (0..).zip(&tokens).map(|(id, token)| (token.clone(), id)).collect();
    let mut merges = Vec::new();
    while tokens.len() + 2 < size
        && let Some(pair) = learner.commonest()
    {
        let [left, right] = [pair.0, pair.1].map(|id| &tokens[id as usize]);
        let joined = format!("{left}{right}");
        merges.push(format!("{left} {right}"));
        // Two pairs may make one token: a bc and ab c.
        let id = *ids.entry(joined.clone()).or_insert(tokens.len() as u32);
        if id as usize == tokens.len() {
            tokens.push(joined);
        }
        learner.join(pair, id);
    }
    tokens.extend(["<|startoftext|>", "<|endoftext|>"].map(String::from));
    Ok(Vocabulary { tokens, merges, added: Vec::new() })
}

/// The special tokens of a vocabulary that [`train`] made, with windows of `length` ids padded with the end.
#[must_use]
pub fn special(vocabulary: &Vocabulary, length: usize) -> Special {
    let end = vocabulary.tokens.len().saturating_sub(1) as u32;
    Special { start: end.saturating_sub(1), end, pad: end, length }
}

/// Bytes in the order of CLIP's vocabulary: those that can be seen, then the others.
fn bytes() -> Vec<u8> {
    let hidden = |b: &u8| u32::from(visible(*b)) != u32::from(*b);
    let (hidden, mut all): (Vec<u8>, Vec<u8>) = (0..=255).partition(hidden);
    all.extend(hidden);
    all
}

type Pair = (u32, u32);

/// The words, and how often each pair of neighbours comes in them.
struct Learner {
    words: Vec<(Vec<u32>, u64)>,
    counts: HashMap<Pair, u64>,
    /// Words in which a pair is, or was.
    places: HashMap<Pair, BTreeSet<usize>>,
    /// Every count that a pair has had; those that are no longer true are passed over.
    heap: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Learner {
    fn new(order: &[u8], words: &BTreeMap<String, u64>) -> Self {
        let mut id = [0u32; 256];
        (0..).zip(order).for_each(|(i, byte)| id[usize::from(*byte)] = i);
        let symbols = |word: &String| {
            let mut symbols: Vec<u32> = word.bytes().map(|b| id[usize::from(b)]).collect();
            // Behind the 256 bytes come the same at a word's end.
            symbols.last_mut().into_iter().for_each(|last| *last += 256);
            symbols
        };
        let words = words.iter().map(|(word, count)| (symbols(word), *count)).collect();
        let mut new = Self { words, counts: HashMap::new(), places: HashMap::new(), heap: BinaryHeap::new() };
        for word in 0..new.words.len() {
            new.add(word);
        }
        new.heap = new.counts.iter().map(|(pair, count)| (*count, Reverse(*pair))).collect();
        new
    }

    fn pairs(&self, word: usize) -> Vec<Pair> {
        self.words[word].0.windows(2).map(|w| (w[0], w[1])).collect()
    }

    fn add(&mut self, word: usize) {
        for pair in self.pairs(word) {
            *self.counts.entry(pair).or_insert(0) += self.words[word].1;
            self.places.entry(pair).or_default().insert(word);
        }
    }

    /// The pair that is to be joined next.
    fn commonest(&mut self) -> Option<Pair> {
        while let Some((count, Reverse(pair))) = self.heap.pop() {
            if count >= 2 && self.counts.get(&pair) == Some(&count) {
                return Some(pair);
            }
        }
        None
    }

    /// Makes a pair one symbol wherever it is, from the left.
    fn join(&mut self, pair: Pair, id: u32) {
        let mut changed = BTreeSet::new();
        for word in self.places.remove(&pair).unwrap_or_default() {
            let before = self.pairs(word);
            if !before.contains(&pair) {
                continue;
            }
            let count = self.words[word].1;
            for pair in &before {
                *self.counts.entry(*pair).or_insert(count) -= count;
            }
            let (old, mut new) = (std::mem::take(&mut self.words[word].0), Vec::new());
            let mut rest = &old[..];
            while let [first, after @ ..] = rest {
                let joins = after.first().is_some_and(|second| (*first, *second) == pair);
                new.push(if joins { id } else { *first });
                rest = if joins { &after[1..] } else { after };
            }
            self.words[word].0 = new;
            self.add(word);
            changed.extend(before);
            changed.extend(self.pairs(word));
        }
        for pair in changed {
            self.heap.push((self.counts[&pair], Reverse(pair)));
        }
    }
}

#[cfg(test)]
mod tests;
