//! Pictures that are looked at while one is drawn, as tokens beside its own (FLUX.2).

use super::TextToImage;
use super::info::LatentInfo;
use super::request::{LatentRequest, ReferenceImage};
use crate::Error;
use crate::model::RequestError;
use crate::model::ip_adapter::Given;
use crate::nn::{Denoiser, Flux2};
use alloc::vec::Vec;

/// The most of them.
const MOST: usize = 10;

impl LatentInfo {
    /// Whether pictures can be looked at.
    pub fn sees_references(&self) -> bool {
        matches!(self.denoiser, Denoiser::Flux2(_))
    }

    /// The sizes of the latents of pictures that are looked at.
    ///
    /// # Errors
    /// Pictures that the model cannot look at, or too many.
    pub(super) fn reference_sizes(&self, sizes: &[[usize; 2]]) -> Result<Vec<[usize; 2]>, RequestError> {
        if !sizes.is_empty() && !self.sees_references() {
            return Err(RequestError::NotOf { what: "references", of: "models that look at pictures (FLUX.2)" });
        }
        super::super::options::in_range("number of references", sizes.len(), 0, MOST)?;
        sizes.iter().map(|size| self.latent_size(*size)).collect()
    }
}

impl LatentRequest<'_> {
    /// The sizes of pictures that are looked at.
    pub(super) fn reference_sizes(&self) -> Vec<[usize; 2]> {
        self.references.iter().map(|reference| reference.size).collect()
    }
}

impl TextToImage {
    /// The latents of pictures that are looked at, one after the other, by the name of the denoiser's input: for one text.
    pub(super) async fn references(&self, request: &LatentRequest<'_>) -> Result<Option<Given>, Error> {
        let mut latents = Vec::new();
        for &ReferenceImage { picture, size } in &request.references {
            latents.extend(self.encode_async(picture, size, request.decoding, &request.options).await?);
        }
        Ok((!latents.is_empty()).then(|| (Flux2::REFERENCES.into(), latents)))
    }
}
