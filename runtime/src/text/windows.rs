//! A prompt of any length, in windows, with a weight for each token.

use super::Tokenizer;
use super::prompt::{Part, parse};
use alloc::vec;
use alloc::vec::Vec;

/// How many tokens back a comma may lie at which a full window is cut.
const COMMA_REACH: usize = 20;

/// What the text encoder reads at once.
#[derive(Clone, PartialEq, Debug)]
pub struct Window {
    /// `[start, text, end, padding ...]`.
    pub ids: Vec<u32>,
    /// A weight for each id; 1 for those that are not text.
    pub weights: Vec<f32>,
}

/// A prompt in windows: each is encoded by itself, and the states are joined along the tokens.
#[derive(Clone, PartialEq, Debug)]
pub struct Windows(pub Vec<Window>);

impl Windows {
    /// Cuts as AUTOMATIC1111's web UI does (`sd_hijack_clip.tokenize_line`): a window is full with 75 tokens of text, or at
    /// a comma if one is among the last 20 of them, or at `BREAK`. At least one window.
    pub fn new(tokenizer: &Tokenizer, prompt: &str) -> Self {
        let mut cutter = Cutter { tokenizer, done: Vec::new(), open: Vec::new(), comma: None };
        for part in parse(prompt) {
            match part {
                Part::Break => cutter.close(cutter.open.len()),
                Part::Text { text, weight } => {
                    let ids = tokenizer.encode(&text);
                    ids.into_iter().for_each(|id| cutter.push(id, weight as f32));
                }
            }
        }
        if !cutter.open.is_empty() || cutter.done.is_empty() {
            cutter.close(cutter.open.len());
        }
        Self(cutter.done)
    }

    /// One window of the text as it is written, without weights: as diffusers reads a prompt.
    pub fn plain(tokenizer: &Tokenizer, text: &str) -> Self {
        let ids = tokenizer.window(text);
        Self(vec![Window { weights: vec![1.0; ids.len()], ids }])
    }

    /// Appends empty windows until there are `count`, so that a prompt and its negative have states of one length.
    pub fn extend_to(&mut self, tokenizer: &Tokenizer, count: usize) {
        while self.0.len() < count {
            self.0.extend(Self::plain(tokenizer, "").0);
        }
    }
}

struct Cutter<'a> {
    tokenizer: &'a Tokenizer,
    done: Vec<Window>,
    /// Ids and weights of the window that is not full.
    open: Vec<(u32, f32)>,
    /// Where the last comma stands in it.
    comma: Option<usize>,
}

impl Cutter<'_> {
    fn push(&mut self, id: u32, weight: f32) {
        let full = self.open.len() == self.tokenizer.special().length - 2;
        if Some(id) == self.tokenizer.comma() {
            if full {
                self.close(self.open.len());
            }
            self.comma = Some(self.open.len());
        } else if full {
            let comma = self.comma.filter(|comma| self.open.len() - comma <= COMMA_REACH);
            self.close(comma.map_or(self.open.len(), |comma| comma + 1));
        }
        self.open.push((id, weight));
    }

    /// Ends the window after `count` of its ids; the others begin the next.
    fn close(&mut self, count: usize) {
        let rest = self.open.split_off(count);
        let (ids, text): (Vec<u32>, Vec<f32>) = core::mem::replace(&mut self.open, rest).into_iter().unzip();
        let ids = self.tokenizer.fill(&ids);
        let mut weights = vec![1.0; ids.len()];
        weights[1..][..text.len()].copy_from_slice(&text);
        self.done.push(Window { ids, weights });
        self.comma = None;
    }
}

/// Multiplies each token's state by its weight, then all of them by one factor, so that their mean stays (AUTOMATIC1111,
/// `sd_emphasis`, "Original"). `states` are `weights.len()` rows.
pub fn weigh(states: &mut [f32], weights: &[f32]) {
    if weights.is_empty() || weights.iter().all(|w| *w == 1.0) {
        return;
    }
    let mean = |states: &[f32]| states.iter().map(|v| f64::from(*v)).sum::<f64>() / states.len() as f64;
    let (width, before) = (states.len() / weights.len(), mean(states));
    for (row, weight) in states.chunks_exact_mut(width.max(1)).zip(weights) {
        row.iter_mut().for_each(|v| *v *= weight);
    }
    let factor = before / mean(states);
    // A mean of nothing says nothing of the size.
    if factor.is_finite() && factor != 0.0 {
        states.iter_mut().for_each(|v| *v *= factor as f32);
    }
}
