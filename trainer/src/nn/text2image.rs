//! A text encoder and the U-Net that it conditions, trained together. Rombach et al. 2022, section 3.3.
use super::clip_text::{ClipText, ClipTextConfig};
use super::sd_unet::{SdUnet, SdUnetConfig};
use crate::error::Result;
use crate::ops::{Kit, Precision};
use crate::param::{Module, Visitor};
use crate::tensor::{T2, T3, T4, Tp};
use dfdx::prelude::*;
use nijimi_runtime::raw::nn::TextStates;

/// The networks of a latent diffusion model that are trained with it; the autoencoder is trained before.
#[derive(Clone)]
pub struct TextToImage<D: Kit> {
    /// What takes noise away.
    pub unet: SdUnet<D>,
    /// What reads the caption.
    pub text: ClipText<D>,
    /// Which of the text's states condition.
    pub states: TextStates,
    /// The id at which a text's state is pooled, if the U-Net is told it.
    pub end: u32,
}

impl<D: Kit> TextToImage<D> {
    /// Networks with random weights, keyed by seed and name; `states` are those of the text that condition, `end` is the id that
    /// ends a text.
    ///
    /// # Errors
    /// Configurations that are none, or of forms that are not trained here.
    pub fn new(
        device: &D,
        seed: u64,
        unet: &SdUnetConfig,
        (text, states, end): (&ClipTextConfig, TextStates, u32),
        precision: Precision,
    ) -> Result<Self> {
        Ok(Self {
            end,
            states,
            unet: SdUnet::new(device, seed, unet, precision)?,
            text: ClipText::new(device, seed, text, precision)?,
        })
    }

    /// The answer `(n, c, h, w)` to noised latents `(n, c, h, w)`, codes of time (n, time_width) and windows of `tokens` ids,
    /// one window a picture.
    ///
    /// # Errors
    /// Ids that the encoder has no rows for.
    pub fn forward<T: Tp<D>>(&self, x: T4<D, T>, time: &T2<D>, ids: &[u32], tokens: usize) -> Result<T4<D, T>> {
        let text: T3<D, T> = self.text.forward(ids, tokens, self.states)?;
        if self.unet.config().added.is_none() {
            return Ok(self.unet.forward(x, time, text, None));
        }
        // Where the text ends: the state there has seen all of it.
        let ends: Vec<usize> = ids
            .chunks(tokens)
            .enumerate()
            .map(|(i, window)| i * tokens + ClipTextConfig::end(window, self.end) as usize)
            .collect();
        let (text, tape) = text.split_tape();
        let (n, _, width) = *text.shape();
        let rows = text.retaped::<T>().reshape_like(&(n * tokens, width));
        let pooled = D::embedding(rows, &ends, (n, 1)).reshape_like(&(n, width));
        Ok(self.unet.forward(x, time, text.put_tape(tape), Some(pooled)))
    }
}

impl<D: Kit> Module<D> for TextToImage<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.unet.visit(&format!("{prefix}unet."), v);
        self.text.visit(&format!("{prefix}text_encoder."), v);
    }
}
