//! What the U-Net is told of the prompts: states of their tokens, and SDXL's pooled ones.

use super::LatentDiffusion;
use super::info::TextInfo;
use crate::Error;
use crate::model::SessionOptions;
use crate::model::network::Network;
use crate::nn::ClipText;
use crate::text::{Windows, weigh};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The states of some texts, all of one number of tokens.
pub(super) struct Conditions {
    /// States of a text: 77 for each window.
    pub tokens: usize,
    /// One text after the other, `(n, 1, tokens, text_width)`.
    pub states: Vec<f32>,
    /// `(n, width)`; empty where no encoder pools.
    pub pooled: Vec<f32>,
}

/// A text as it is asked for.
#[derive(Clone, Copy)]
pub(super) enum Text<'a> {
    /// With weights and any number of windows.
    Prompt(&'a str),
    /// As zeros.
    Nothing,
}

impl LatentDiffusion {
    /// Encodes the texts. The encoders' memory is given back.
    pub(super) fn conditions(&self, texts: &[Text<'_>], options: &SessionOptions) -> Result<Conditions, Error> {
        let prompt = |text: &Text<'_>| match *text {
            Text::Prompt(prompt) => prompt.to_owned(),
            Text::Nothing => String::new(),
        };
        let prompts: Vec<String> = texts.iter().map(prompt).collect();
        let mut encoded: Vec<Encoded> = Vec::new();
        for (info, network) in self.info.texts.iter().zip(self.texts.iter()) {
            let mut windows: Vec<Windows> = prompts.iter().map(|p| Windows::new(&info.tokenizer, p)).collect();
            let most = windows.iter().map(|w| w.0.len()).max().unwrap_or(1);
            windows.iter_mut().for_each(|w| w.extend_to(&info.tokenizer, most));
            encoded.push(encode(info, network, &windows, options)?);
        }
        // Of the first text's, for instance: all have as many.
        let tokens = |(e, info): (&Encoded, &TextInfo)| e.states.first().map_or(0, |s| s.len() / info.network.width);
        let tokens = encoded.iter().zip(&self.info.texts).map(tokens).max().unwrap_or(0);
        let mut conditions = Conditions { tokens, states: Vec::new(), pooled: Vec::new() };
        for (i, text) in texts.iter().enumerate() {
            let from = conditions.states.len();
            for token in 0..tokens {
                for (Encoded { states, .. }, info) in encoded.iter().zip(&self.info.texts) {
                    let width = info.network.width;
                    // Encoders whose vocabularies differ may cut a text into different numbers of windows.
                    match states[i].get(token * width..(token + 1) * width) {
                        Some(row) => conditions.states.extend_from_slice(row),
                        None => conditions.states.resize(conditions.states.len() + width, 0.0),
                    }
                }
            }
            let pooled_from = conditions.pooled.len();
            encoded.iter().filter_map(|e| e.pooled.get(i)).for_each(|p| conditions.pooled.extend(p));
            if matches!(text, Text::Nothing) {
                conditions.states[from..].fill(0.0);
                conditions.pooled[pooled_from..].fill(0.0);
            }
        }
        Ok(conditions)
    }
}

/// What an encoder makes of some texts.
#[derive(Default)]
struct Encoded {
    /// Of each text, its windows joined.
    states: Vec<Vec<f32>>,
    /// Of each text's first window; empty if it is not wanted.
    pooled: Vec<Vec<f32>>,
}

fn encode(info: &TextInfo, network: &Network, texts: &[Windows], options: &SessionOptions) -> Result<Encoded, Error> {
    let length = info.network.positions;
    let graph = info.network.graph(info.prefix, [1, length], info.states)?;
    let mut evaluator = network.evaluator(vec![graph], options)?;
    let end = info.states.pooled.then_some(info.tokenizer.special().end);
    let mut encoded = Encoded::default();
    for Windows(windows) in texts {
        let mut states = Vec::new();
        for (i, window) in windows.iter().enumerate() {
            evaluator.evaluate(0, &[], &info.network.ids(&[&window.ids], end)?)?;
            let from = states.len();
            states.extend_from_slice(evaluator.output(ClipText::STATE)?);
            weigh(&mut states[from..], &window.weights);
            if end.is_some() && i == 0 {
                encoded.pooled.push(evaluator.output(ClipText::POOLED)?.to_vec());
            }
        }
        encoded.states.push(states);
    }
    Ok(encoded)
}
