//! A text encoder and the U-Net that it conditions, trained together. Rombach et al. 2022, section 3.3.
use super::clip_text::{ClipText, Config as TextConfig};
use super::sd_unet::{Config as UnetConfig, SdUnet};
use crate::error::Result;
use crate::ops::{Kit, Precision};
use crate::param::{Module, Visitor};
use crate::tensor::{T2, T4, Tp};
use nijimi_runtime::nn::TextStates;

/// The networks of a latent diffusion model that are trained with it; the autoencoder is trained before.
#[derive(Clone)]
pub struct TextToImage<D: Kit> {
    /// What takes noise away.
    pub unet: SdUnet<D>,
    /// What reads the caption.
    pub text: ClipText<D>,
}

impl<D: Kit> TextToImage<D> {
    /// Networks with random weights, keyed by seed and name.
    ///
    /// # Errors
    /// Configurations that are none, or of forms that are not trained here.
    pub fn new(device: &D, seed: u64, unet: &UnetConfig, text: &TextConfig, precision: Precision) -> Result<Self> {
        Ok(Self {
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
        let text = self.text.forward(ids, tokens, TextStates::LAST)?;
        Ok(self.unet.forward(x, time, text))
    }
}

impl<D: Kit> Module<D> for TextToImage<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.unet.visit(&format!("{prefix}unet."), v);
        self.text.visit(&format!("{prefix}text_encoder."), v);
    }
}
