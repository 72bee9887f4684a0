//! What was made of a request's prompts and pictures, for many runs.

use alloc::vec::Vec;

/// Prompts and, for guidance, their negatives, as the U-Net reads them: from
/// [`TextToImage::encode_prompts`](super::TextToImage::encode_prompts).
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedPrompts {
    /// Pictures.
    pub(super) pictures: usize,
    /// Whether the negatives follow the prompts.
    pub(super) guided: bool,
    /// States of a text: 77 for each window, or as many as the longest has tokens.
    pub(super) tokens: usize,
    /// Of each text, how many of them are its own.
    pub(super) lengths: Vec<usize>,
    /// One text after the other, `(n, 1, tokens, text_width)`.
    pub(super) states: Vec<f32>,
    /// `(n, width)`; empty where no encoder pools.
    pub(super) pooled: Vec<f32>,
}

impl EncodedPrompts {
    /// States of the tokens, one text after the other, the prompts before the negatives, `(n, tokens, text_width)`.
    #[must_use]
    pub fn states(&self) -> &[f32] {
        &self.states
    }

    /// Pooled states, `(n, width)`; empty where no encoder pools.
    #[must_use]
    pub fn pooled(&self) -> &[f32] {
        &self.pooled
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.states.len() + self.pooled.len()) + size_of_val(&self.lengths[..])
    }
}

/// Starting pictures and masks as a run needs them, encoded: for many runs.
#[derive(Clone, PartialEq, Debug)]
pub struct EncodedInit {
    /// Pictures, height and width of their latents, and the first call's step.
    pub(super) made: ([usize; 3], usize),
    /// The pictures' latents, `(n, h, w, c)`; empty if all is repainted.
    pub(super) latents: Vec<f32>,
    /// For an inpainting U-Net, latents of the pictures with gray where they are repainted, and for one that changes pictures
    /// those of the pictures, `(n, h, w, c)`; the depth, `(n, h, w, 1)`; else empty.
    pub(super) known: Vec<f32>,
    /// 1 where a latent is repainted, 0 where it is kept, `(n, h, w)`, if there was a mask.
    pub(super) mask: Option<Vec<f32>>,
    /// Of a run that goes on where another stopped: the latents are under noise already.
    pub(super) continued: Option<Continued>,
}

/// What a run made that another goes on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Continued {
    /// Its calls.
    pub calls: usize,
    /// Those of them that drew noise.
    pub draws: usize,
}

impl EncodedInit {
    /// Whether the U-Net sees pictures, and perhaps a mask, beside its latents.
    pub(super) fn is_beside(&self) -> bool {
        !self.known.is_empty()
    }

    /// Whether a part is put back after every step.
    pub(super) fn is_kept(&self) -> bool {
        self.mask.is_some() && self.known.is_empty()
    }
}
