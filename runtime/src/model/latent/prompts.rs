//! What the denoiser is told of the prompts: states of their tokens, and pooled ones.

use super::TextToImage;
use super::encoded::EncodedPrompts;
use super::info::TextInfo;
use super::language::words;
use super::request::{LatentRequest, PromptSyntax};
use super::stages::Stage;
use crate::Error;
use crate::model::RequestError;
use crate::model::network::Evaluator;
use crate::model::options::in_range;
use crate::model::wait::wait;
use crate::nn::ClipText;
use crate::text::{Windows, weigh};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

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
        let nothing = (!self.info().zeros_for_empty).then_some("");
        let mut texts: Vec<Option<&str>> = request.prompts.iter().map(|prompt| Some(*prompt)).collect();
        if guided {
            texts.extend(request.negatives.iter().map(|text| text.or(nothing)));
        }
        let EncodedTexts { tokens, mut lengths, mut states, mut pooled } = self.encode_texts(&texts, request).await?;
        // Once with the picture and once without.
        for _ in 2..if guided { self.info().guided_texts() } else { 2 } {
            lengths.extend_from_within(lengths.len() / 2..);
            for values in [&mut states, &mut pooled] {
                values.extend_from_within(values.len() / 2..);
            }
        }
        Ok(EncodedPrompts { pictures: n, guided, tokens, lengths, states, pooled })
    }

    /// With weights and any number of windows; `None` as zeros.
    async fn encode_texts(&self, texts: &[Option<&str>], request: &LatentRequest<'_>) -> Result<EncodedTexts, Error> {
        let &LatentRequest { clip_skip, ref options, .. } = request;
        let windows = match request.prompt_syntax {
            PromptSyntax::Weighted => Windows::new,
            PromptSyntax::Plain => Windows::plain,
        };
        let info = self.info();
        let mut encoded: Vec<Encoded> = Vec::new();
        for (i, text) in info.texts.iter().enumerate() {
            in_range("clip_skip", clip_skip, 0, text.network.layers)?;
            let of = |prompt: &Option<&str>| windows(&text.tokenizer, prompt.unwrap_or_default());
            let mut windows: Vec<Windows> = texts.iter().map(of).collect();
            let most = windows.iter().map(|w| w.0.len()).max().unwrap_or(1);
            windows.iter_mut().for_each(|w| w.extend_to(&text.tokenizer, most));
            let evaluator = self.parts.evaluator(info, Stage::text(info, i, clip_skip)?, options)?;
            encoded.push(encode(text, evaluator, &windows).await?);
        }
        let said = |text: &Option<&str>| match request.prompt_syntax {
            // A language model that reads alone reads brackets as they are.
            PromptSyntax::Weighted if !info.texts.is_empty() => words(text.unwrap_or_default()),
            _ => text.unwrap_or_default().into(),
        };
        let said: Vec<String> = texts.iter().map(said).collect();
        let language = self.encode_language(&said, options).await?;
        if let Some(multiple) = info.denoiser.text_multiple() {
            return Ok(EncodedTexts::filled(&language, info.denoiser.text_width(), multiple));
        }
        // Of the first text's, for instance: all have as many.
        let tokens = |(e, info): (&Encoded, &TextInfo)| e.states.first().map_or(0, |s| s.len() / info.network.width);
        let tokens = encoded.iter().zip(&info.texts).map(tokens).max().unwrap_or(0);
        let (mut all, mut pooled) = (Vec::new(), Vec::new());
        for (i, text) in texts.iter().enumerate() {
            let from = all.len();
            for token in 0..tokens {
                for (Encoded { states, .. }, text) in encoded.iter().zip(&info.texts) {
                    let width = text.network.width;
                    // Encoders whose vocabularies differ may cut a text into different numbers of windows.
                    match states[i].get(token * width..(token + 1) * width) {
                        Some(row) => all.extend_from_slice(row),
                        None => all.resize(all.len() + width, 0.0),
                    }
                }
                // Narrower than the states of the third encoder that Stable Diffusion 3 may have.
                all.resize(from + (token + 1) * info.denoiser.text_width(), 0.0);
            }
            language.get(i).into_iter().for_each(|states| all.extend_from_slice(states));
            all.resize(from + (tokens + info.other_states()) * info.denoiser.text_width(), 0.0);
            let pooled_from = pooled.len();
            encoded.iter().filter_map(|e| e.pooled.get(i)).for_each(|p| pooled.extend(p));
            if text.is_none() {
                all[from..].fill(0.0);
                pooled[pooled_from..].fill(0.0);
            }
        }
        let tokens = tokens + info.other_states();
        Ok(EncodedTexts { tokens, lengths: vec![tokens; texts.len()], states: all, pooled })
    }
}

/// Texts, as a denoiser is told them: as of [`EncodedPrompts`].
struct EncodedTexts {
    tokens: usize,
    lengths: Vec<usize>,
    states: Vec<f32>,
    pooled: Vec<f32>,
}

impl EncodedTexts {
    /// Of states of texts of different lengths, filled up with zeros to the longest one's, and that to a multiple.
    fn filled(texts: &[Vec<f32>], width: usize, multiple: usize) -> Self {
        let lengths: Vec<usize> = texts.iter().map(|states| states.len() / width).collect();
        let tokens = lengths.iter().copied().max().unwrap_or(0).max(1).next_multiple_of(multiple);
        let mut states = Vec::with_capacity(texts.len() * tokens * width);
        for (i, text) in texts.iter().enumerate() {
            states.extend_from_slice(text);
            states.resize((i + 1) * tokens * width, 0.0);
        }
        Self { tokens, lengths, states, pooled: Vec::new() }
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
