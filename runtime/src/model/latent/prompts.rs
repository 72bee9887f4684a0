//! What the U-Net is told of the prompts: states of their tokens, and SDXL's pooled ones.

use super::TextToImage;
use super::info::TextInfo;
use super::request::LatentRequest;
use super::stages::Stage;
use crate::Error;
use crate::model::network::Evaluator;
use crate::model::session::in_range;
use crate::model::wait::wait;
use crate::model::{RequestError, SessionOptions};
use crate::nn::ClipText;
use crate::text::{Windows, weigh};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Prompts and, for guidance, their negatives, as the U-Net reads them: from [`TextToImage::encode_prompts`].
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedPrompts {
    /// Pictures.
    pub(super) pictures: usize,
    /// Whether the negatives follow the prompts.
    pub(super) guided: bool,
    /// States of a text: 77 for each window.
    pub(super) tokens: usize,
    /// One text after the other, `(n, 1, tokens, text_width)`.
    pub(super) states: Vec<f32>,
    /// `(n, width)`; empty where no encoder pools.
    pub(super) pooled: Vec<f32>,
}

/// A text as it is asked for.
#[derive(Clone, Copy)]
enum Text<'a> {
    /// With weights and any number of windows.
    Prompt(&'a str),
    /// As zeros.
    Nothing,
}

impl EncodedPrompts {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.states.len() + self.pooled.len())
    }

    /// Texts: one a picture, or two where it is guided.
    pub(super) fn texts(&self) -> usize {
        self.pictures * if self.guided { 2 } else { 1 }
    }
}

impl TextToImage {
    /// Encodes the prompts of a request and, where it is guided, the negatives. The encoders' memory is given back.
    ///
    /// # Errors
    /// No picture, or as many negatives as there are no prompts; more memory than the options allow; layers to skip that
    /// the encoder does not have.
    pub fn encode_prompts(&self, request: &LatentRequest<'_>) -> Result<EncodedPrompts, Error> {
        wait(self.encode_prompts_async(request))
    }

    /// [`Self::encode_prompts`], awaited.
    ///
    /// # Errors
    /// As [`Self::encode_prompts`] has.
    pub async fn encode_prompts_async(&self, request: &LatentRequest<'_>) -> Result<EncodedPrompts, Error> {
        let n = request.prompts.len();
        if request.negatives.len() != n {
            return Err(RequestError::Lengths { labels: n, seeds: request.negatives.len() }.into());
        }
        let guided = self.info().is_guided(request.guidance_scale);
        let zeros = self.info().zeros_for_empty;
        let negative = |text: &Option<_>| match *text {
            Some(text) => Text::Prompt(text),
            None if zeros => Text::Nothing,
            None => Text::Prompt(""),
        };
        let mut texts: Vec<Text<'_>> = request.prompts.iter().map(|prompt| Text::Prompt(prompt)).collect();
        if guided {
            texts.extend(request.negatives.iter().map(negative));
        }
        let (tokens, states, pooled) = self.encode_texts(&texts, request.clip_skip, &request.options).await?;
        Ok(EncodedPrompts { pictures: n, guided, tokens, states, pooled })
    }

    async fn encode_texts(
        &self,
        texts: &[Text<'_>],
        clip_skip: usize,
        options: &SessionOptions,
    ) -> Result<(usize, Vec<f32>, Vec<f32>), Error> {
        let prompt = |text: &Text<'_>| match *text {
            Text::Prompt(prompt) => prompt.to_owned(),
            Text::Nothing => String::new(),
        };
        let prompts: Vec<String> = texts.iter().map(prompt).collect();
        let info = self.info();
        let mut encoded: Vec<Encoded> = Vec::new();
        for (i, text) in info.texts.iter().enumerate() {
            in_range("clip_skip", clip_skip, 0, text.network.layers)?;
            let mut windows: Vec<Windows> = prompts.iter().map(|p| Windows::new(&text.tokenizer, p)).collect();
            let most = windows.iter().map(|w| w.0.len()).max().unwrap_or(1);
            windows.iter_mut().for_each(|w| w.extend_to(&text.tokenizer, most));
            let evaluator = self.parts.evaluator(info, Stage::text(info, i, clip_skip)?, options)?;
            encoded.push(encode(text, evaluator, &windows).await?);
        }
        // Of the first text's, for instance: all have as many.
        let tokens = |(e, info): (&Encoded, &TextInfo)| e.states.first().map_or(0, |s| s.len() / info.network.width);
        let tokens = encoded.iter().zip(&info.texts).map(tokens).max().unwrap_or(0);
        let (mut all, mut pooled) = (Vec::new(), Vec::new());
        for (i, text) in texts.iter().enumerate() {
            let from = all.len();
            for token in 0..tokens {
                for (Encoded { states, .. }, info) in encoded.iter().zip(&info.texts) {
                    let width = info.network.width;
                    // Encoders whose vocabularies differ may cut a text into different numbers of windows.
                    match states[i].get(token * width..(token + 1) * width) {
                        Some(row) => all.extend_from_slice(row),
                        None => all.resize(all.len() + width, 0.0),
                    }
                }
            }
            let pooled_from = pooled.len();
            encoded.iter().filter_map(|e| e.pooled.get(i)).for_each(|p| pooled.extend(p));
            if matches!(text, Text::Nothing) {
                all[from..].fill(0.0);
                pooled[pooled_from..].fill(0.0);
            }
        }
        Ok((tokens, all, pooled))
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

async fn encode(info: &TextInfo, mut evaluator: Evaluator, texts: &[Windows]) -> Result<Encoded, Error> {
    let end = info.states.pooled.then_some(info.tokenizer.special().end);
    let mut encoded = Encoded::default();
    for Windows(windows) in texts {
        let mut states = Vec::new();
        for (i, window) in windows.iter().enumerate() {
            evaluator.evaluate_async(0, &[], &info.network.ids(&[&window.ids], end)?).await?;
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
